"""Attention over rows that several ranks hold in pieces; torch's own has no CPU kernel.

A row is cut into contiguous pieces of equal length (to one token). Everything but attention works
on single tokens and so on pieces. Attention exchanges either heads (Ulysses, arXiv 2309.14509: an
all-to-all gives each rank the whole row for a part of the heads) or keys and values (all-gather:
each rank has its own queries and everybody's keys; for models with few kv heads). By heads the
work is even; by keys the last pieces, which see most, have more of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fullcontext.config import ContextParallelBy
from fullcontext.model.table import BlockTable, Kernel, table
from fullcontext.records import Block, Span


def pieces(tokens: int, number: int) -> list[Span]:
    """Contiguous spans that cover a row: 10 tokens in 4 are 0-2, 2-5, 5-7, 7-10."""
    cuts = [tokens * i // number for i in range(number + 1)]
    return [Span(start, stop) for start, stop in pairwise(cuts)]


@dataclass(frozen=True, slots=True)
class Exchange:
    """The ranks that hold pieces of one row, and what they exchange."""

    by: ContextParallelBy
    """heads or keys."""
    group: Any
    """torch's process group."""
    index: int
    size: int

    def piece(self, tokens: int) -> Span:
        """The part of a row that this rank holds."""
        return pieces(tokens, self.size)[self.index]

    def table(self, blocks: Sequence[Block], device: torch.device | str) -> BlockTable:
        """The table of this rank's queries, which runs with the exchange around it."""
        tokens = [piece.length for piece in pieces(blocks[-1].queries.stop, self.size)]
        if self.by is ContextParallelBy.heads:
            return table(blocks, device, around=_ByHeads(self, tokens))
        return table(blocks, device, self.piece(sum(tokens)), _ByKeys(self, tokens))


def exchange(by: ContextParallelBy, group: Any) -> Exchange:
    """Among the ranks of a process group."""
    import torch.distributed as dist

    return Exchange(by, group, dist.get_rank(group), dist.get_world_size(group))


@dataclass(frozen=True, slots=True)
class _ByHeads:
    """Tokens of all heads to all tokens of some heads, and back."""

    exchange: Exchange
    tokens: list[int]
    """Of each piece."""

    def __call__(
        self,
        kernel: Kernel,
        states: tuple[Tensor, Tensor, Tensor],
        scaling: float | None,
        table: BlockTable,
    ) -> Tensor:
        """(1, heads, piece, width) each -> (1, piece, heads, width)."""
        size = self.exchange.size
        # One exchange for all three: part r holds the r-th part of the heads of each.
        parts = torch.cat([each[0].reshape(size, -1, *each.shape[2:]) for each in states], 1)
        heads = [each.shape[1] // size for each in states]
        query, key, value = torch.split(self._whole(parts), heads)
        out = kernel(query[None], key[None], value[None], scaling, table)
        return self._own(out[0]).unsqueeze(0)

    def _whole(self, parts: Tensor) -> Tensor:
        """(ranks, some heads, piece, width) -> (some heads, tokens, width)."""
        _, heads, _, width = parts.shape
        sent = [parts[0].numel()] * len(parts)
        got = [heads * tokens * width for tokens in self.tokens]
        flat = _all_to_all(parts.reshape(-1), sent, got, self.exchange.group)
        return torch.cat([part.view(heads, -1, width) for part in torch.split(flat, got)], 1)

    def _own(self, out: Tensor) -> Tensor:
        """(tokens, some heads, width) -> (piece, heads, width)."""
        _, heads, width = out.shape
        sent = [tokens * heads * width for tokens in self.tokens]
        own = self.tokens[self.exchange.index]
        got = [own * heads * width] * len(self.tokens)
        flat = _all_to_all(out.reshape(-1), sent, got, self.exchange.group)
        return torch.cat([part.view(own, heads, width) for part in torch.split(flat, got)], 1)


@dataclass(frozen=True, slots=True)
class _ByKeys:
    """Own queries over everybody's keys and values."""

    exchange: Exchange
    tokens: list[int]
    """Of each piece."""

    def __call__(
        self,
        kernel: Kernel,
        states: tuple[Tensor, Tensor, Tensor],
        scaling: float | None,
        table: BlockTable,
    ) -> Tensor:
        """(1, heads, piece, width) each -> (1, piece, heads, width)."""
        query, key, value = states
        both = torch.cat([key, value], 1)[0].transpose(0, 1)
        key, value = self._gathered(both).transpose(0, 1)[None].chunk(2, 1)
        return kernel(query, key, value, scaling, table)

    def _gathered(self, own: Tensor) -> Tensor:
        """(piece, heads, width) -> (tokens, heads, width)."""
        most = max(self.tokens)
        padded = torch.nn.functional.pad(own, (0, 0, 0, 0, 0, most - len(own)))
        parts = _AllGather.apply(padded, self.exchange.group)  # type: ignore[no-untyped-call] # a Function
        return torch.cat([parts[i, :tokens] for i, tokens in enumerate(self.tokens)])


def summed(own: Tensor, group: Any) -> Tensor:
    """The sum over ranks, on each; every rank then has the gradient of its own part."""
    out: Tensor = _Sum.apply(own, group)  # type: ignore[no-untyped-call] # a Function
    return out


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Any) -> Tensor:
        import torch.distributed as dist

        out = own.clone()
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def _all_to_all(flat: Tensor, sent: list[int], got: list[int], group: Any) -> Tensor:
    out: Tensor = _AllToAll.apply(flat, sent, got, group)  # type: ignore[no-untyped-call] # a Function
    return out


class _AllToAll(torch.autograd.Function):
    """Part i to rank i; the gradients go back the same way."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, sent: list[int], got: list[int], group: Any) -> Tensor:
        import torch.distributed as dist

        ctx.way = sent, got, group
        out = flat.new_empty(sum(got))
        dist.all_to_all_single(out, flat.contiguous(), got, sent, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        import torch.distributed as dist

        sent, got, group = ctx.way
        back = gradients[0].new_empty(sum(sent))
        dist.all_to_all_single(back, gradients[0].contiguous(), sent, got, group=group)
        return back, None, None, None


class _AllGather(torch.autograd.Function):
    """(...) of every rank -> (ranks, ...) on all; gradients are summed in at least fp32."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Any) -> Tensor:
        import torch.distributed as dist

        ctx.group = group
        out = own.new_empty(dist.get_world_size(group), *own.shape)
        dist.all_gather_into_tensor(out.flatten(0, 1), own.contiguous(), group=group)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        import torch.distributed as dist

        exact = torch.promote_types(gradients[0].dtype, torch.float32)
        sums = gradients[0].to(exact).contiguous()
        own = sums.new_empty(sums.shape[1:])
        dist.reduce_scatter_tensor(own, sums.flatten(0, 1), group=ctx.group)
        return own.to(gradients[0].dtype), None
