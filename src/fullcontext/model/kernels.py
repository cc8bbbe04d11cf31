"""Which kernel reads the block table: one table for what runs anywhere and what needs a GPU.

`flash` and `flex` have been checked on a CPU for what they are asked to compute; the GPU kernels
behind them have not been run by the tests.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullcontext.compose import ConfigError
from fullcontext.model import attention
from fullcontext.model.table import BlockTable, Kernel, Sight

TILE = 128
"""Side of flex_attention's tiles."""


def register(backend: str) -> None:
    """Makes a backend known to transformers as the `attn_implementation` of its name.

    Raises ConfigError if there is no GPU for it; preflight says so before, and what to install.
    """
    if backend != attention.NAME and not torch.cuda.is_available():
        raise ConfigError(
            f"attention={backend} needs a GPU that torch can use; choose attention=blocks"
        )
    attention.register(backend, KERNELS[backend])


def flash(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, table: BlockTable,
    call: Callable[..., Any] | None = None,
) -> Tensor:  # fmt: skip
    """flash-attn's varlen call: a sequence for each query span, aligned at its last key.

    A shared context is copied for each of its questions; `call` replaces the package's function.
    """
    sequences = varlen(table.sights, query.device)
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if sequences.keys is not None:
        key, value = (states.index_select(0, sequences.keys) for states in (key, value))
    out: Tensor = (call or _flash_attn())(
        query,
        key,
        value,
        cu_seqlens_q=sequences.query_ends,
        cu_seqlens_k=sequences.key_ends,
        max_seqlen_q=sequences.most_queries,
        max_seqlen_k=sequences.most_keys,
        softmax_scale=scaling,
        causal=True,
    )
    return out.unsqueeze(0)


def _flash_attn() -> Callable[..., Any]:
    from flash_attn import flash_attn_varlen_func

    found: Callable[..., Any] = flash_attn_varlen_func
    return found


class Varlen:
    """The spans of a table as sequences: where each ends, and which keys it takes."""

    def __init__(self, sights: tuple[Sight, ...], device: torch.device) -> None:
        queries = np.array([s.queries.length for s in sights])
        keys = np.array([s.keys for s in sights])
        self.query_ends = _ends(queries, device)
        self.key_ends = _ends(keys, device)
        self.most_queries, self.most_keys = int(queries.max()), int(keys.max())
        taken = np.concatenate([_keys(sight) for sight in sights])
        is_same = np.array_equal(taken, np.arange(sights[-1].queries.stop))
        self.keys = None if is_same else torch.from_numpy(taken).to(device)
        """Places among the keys, None where they are all keys in order."""


@lru_cache(maxsize=4)
def varlen(sights: tuple[Sight, ...], device: torch.device) -> Varlen:
    """Made once for the layers of a pass."""
    return Varlen(sights, device)


def _ends(lengths: "np.ndarray[Any, Any]", device: torch.device) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)).to(device)


def _keys(sight: Sight) -> "np.ndarray[Any, Any]":
    own = np.arange(sight.own, sight.queries.stop)
    return np.concatenate([np.arange(*sight.context), own]) if sight.context else own


def flex(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, table: BlockTable,
    call: Callable[..., Any] | None = None,
) -> Tensor:  # fmt: skip
    """torch's flex_attention over the tiles that a table touches."""
    out: Tensor = (call or _compiled())(
        query,
        key,
        value,
        block_mask=tiles(table.sights, key.shape[2], query.device),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    # A dynamic graph is an order of magnitude slower from the second length on.
    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=False)
    return compiled


@lru_cache(maxsize=4)
def tiles(sights: tuple[Sight, ...], keys: int, device: torch.device) -> Any:
    """flex_attention's BlockMask: tiles from the spans, so that nothing is length x length."""
    from torch.nn.attention.flex_attention import BlockMask

    first, last = sights[0].queries.start, sights[-1].queries.stop
    touched = np.zeros((-(-(last - first) // TILE), -(-keys // TILE)), bool)
    for sight in sights:
        rows = slice(
            (sight.queries.start - first) // TILE, -(-(sight.queries.stop - first) // TILE)
        )
        touched[rows, sight.own // TILE : -(-sight.queries.stop // TILE)] = True
        if sight.context:
            touched[rows, sight.context.start // TILE : -(-sight.context.stop // TILE)] = True
    order = np.argsort(~touched, axis=1, kind="stable").astype(np.int32)
    return BlockMask.from_kv_blocks(
        torch.from_numpy(touched.sum(1).astype(np.int32))[None, None].to(device),
        torch.from_numpy(order)[None, None].to(device),
        BLOCK_SIZE=TILE,
        mask_mod=_sees(sights, first, device),
        seq_lengths=(last - first, keys),
    )


def _sees(sights: tuple[Sight, ...], first: int, device: torch.device) -> Callable[..., Tensor]:
    """Whether query q (counted from `first`) sees key k, for flex_attention."""
    lengths = [s.queries.length for s in sights]
    bounds = [(s.own, *(s.context or (0, 0))) for s in sights]
    own, start, stop = torch.from_numpy(np.repeat(bounds, lengths, 0).T.copy()).to(device)

    def sees(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen: Tensor = ((k >= own[q]) & (k <= q + first)) | ((k >= start[q]) & (k < stop[q]))
        return seen

    return sees


KERNELS: dict[str, Kernel] = {
    attention.NAME: attention.blocks,
    "flash": partial(flash),
    "flex": partial(flex),
}
"""attention.backend -> what runs a table."""
