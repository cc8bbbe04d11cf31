"""A memory and a gate beside a self-attention (LIFT, arXiv 2502.14644 v3, "Gated Memory").

With q the query of a head before rotary positions, of width d, the head's output becomes
(1 - g) * attention + g * m, where m = SiLU(q W1) W2 and g = sigmoid(3 (SiLU(q G1) G2 - 1)), before
the output product.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class Tally:
    """The gates that one layer has set, summed."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.count = 0

    def add(self, gate: Tensor) -> None:
        """Counts gates of any shape, without waiting for the device."""
        self.total = self.total + gate.detach().sum(dtype=torch.float64)
        self.count += gate.numel()


class Memory(nn.Module):
    """The memory and the gate of one self-attention, in fp32, without biases."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        width = int(attention.head_dim)
        heads = attention.o_proj.in_features // width
        inner = math.isqrt(width)
        device = next(attention.parameters()).device

        def made(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, dtype=torch.float32, device=device))

        self.value_in = made(heads, width, 2 * width)  # W1
        self.value_out = made(heads, 2 * width, width)  # W2
        self.gate_in = made(heads, width, inner)  # G1
        self.gate_out = made(heads, inner, 1)  # G2
        # In a tuple, so that its weights keep one name: the norm of queries is the attention's.
        self._norm = (getattr(attention, "q_norm", None),)
        self._projected: Tensor | None = None
        self.is_on = True
        self.tallies: list[Tally] = []

    def see(self, module: nn.Module, args: Any, projected: Tensor) -> None:
        """Forward hook of q_proj: keeps its output, (batch, tokens, heads * width)."""
        if self.is_on:
            self._projected = projected

    def mix(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        """Forward pre-hook of o_proj: its input, (batch, tokens, heads * width), with memory."""
        if not self.is_on:
            return None
        (attended,) = args
        projected, self._projected = self._projected, None
        assert projected is not None
        mixed = self(self.query(projected), _split(attended, self.value_in.shape[0]))
        return (mixed.flatten(-2).to(attended.dtype),)

    def query(self, projected: Tensor) -> Tensor:
        """What rotary positions would turn: (batch, tokens, heads, width)."""
        heads, width, _ = self.value_in.shape
        (norm,) = self._norm
        # A norm acts on the last axis alone, so that it may run here, where the axes are known. One
        # as wide as all heads comes before they are told apart (OLMo 2).
        if norm is not None and norm.weight.numel() == heads * width and norm.weight.dim() == 1:
            return _split(norm(projected), heads)
        query = _split(projected, heads)
        normed: Tensor = query if norm is None else norm(query)
        return normed

    def forward(self, query: Tensor, attended: Tensor) -> Tensor:
        """Both, and the result, of shape (batch, tokens, heads, width)."""
        if not torch.is_autocast_enabled(query.device.type):
            query = query.to(self.value_in.dtype)
        gate = self.gate(query)
        for tally in self.tallies:
            tally.add(gate)
        value = _by_head(silu(_by_head(query, self.value_in)), self.value_out)
        return (1 - gate) * attended + gate * value

    def gate(self, query: Tensor) -> Tensor:
        """How much of each head is memory, 0-1: (batch, tokens, heads, 1)."""
        opened = _by_head(silu(_by_head(query, self.gate_in)), self.gate_out)
        # bf16 cannot tell 1 from what is 0.2 % below it, and a gate begins within that.
        wide = opened.to(torch.promote_types(opened.dtype, torch.float32))
        return torch.sigmoid(3 * (wide - 1))


def _by_head(states: Tensor, weights: Tensor) -> Tensor:
    """(batch, tokens, heads, in) by (heads, in, out), each head by its own matrix."""
    return torch.einsum("bthi,hio->btho", states, weights)


def _split(states: Tensor, heads: int) -> Tensor:
    """(batch, tokens, heads * width) -> (batch, tokens, heads, width)."""
    return states.reshape(*states.shape[:-1], heads, -1)
