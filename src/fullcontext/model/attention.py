"""Attention by a table of blocks (model/table.py); no length x length mask.

Documents of a row cannot see each other by construction. Some models see only the last tokens
(a sliding window: Gemma 2 and 3, Mistral 7B v0.1) or cap the scores (Gemma 2): `Limits`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from fullcontext.model.table import BlockTable, Group, Kernel

NAME = "blocks"
"""The `attn_implementation` that `register` makes known to transformers."""
CHUNK = 256
"""Queries of a cut, windowed or capped block that attend at once: bounds what is (CHUNK, keys)."""


class Limits(NamedTuple):
    """What a model's attention does besides softmax over all keys up to the query."""

    window: int | None = None
    """A query sees itself and so many keys, less one, before it."""
    softcap: float | None = None
    """Scores s become softcap * tanh(s / softcap)."""


NONE = Limits()


def attend(  # noqa: PLR0913, PLR0917 - the signature is transformers'
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    block_table: BlockTable | None = None,
    kernel: Kernel | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface: (1, heads, tokens, width) -> (1, tokens, heads, width).

    Without a table (generation with a cache) the queries are the last of the keys, causally.
    Raises ValueError for what the model asks for and the kernel does not do.
    """
    if dropout and module.training:
        raise ValueError("attention dropout is not supported; set attention_dropout to 0")
    if s_aux is not None:
        raise ValueError("attention sinks are not supported; choose a model without them")
    limits = Limits(sliding_window, softcap)
    if block_table is None:
        return _cached(query, key, value, scaling, limits).transpose(1, 2).contiguous(), None
    # A table without sights is a probe's, with a mask of its own.
    run = kernel if kernel and block_table.sights else blocks
    if limits != NONE:
        if run is not blocks:
            raise ValueError(f"this kernel does not do {limits}; choose attention=blocks")
        run = partial(blocks, limits=limits)
    if block_table.around is not None:
        return block_table.around(run, (query, key, value), scaling, block_table), None
    return run(query, key, value, scaling, block_table), None


def blocks(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, table: BlockTable,
    limits: Limits = NONE,
) -> Tensor:  # fmt: skip
    """The kernel that runs anywhere: a scaled-dot-product call for each group."""
    if table.is_whole:
        (group,) = table.groups
        return _run(group, (query, key, value), scaling, limits).unsqueeze(0)
    query_sizes = [(group.number, group.queries) for group in table.groups]
    key_sizes = [(group.number, group.keys) for group in table.groups]
    queries = _by_group(query, table.queries, query_sizes)
    keys = _by_group(key, table.keys, key_sizes)
    values = _by_group(value, table.keys, key_sizes)
    outputs = [
        _run(group, states, scaling, limits)
        for group, *states in zip(table.groups, queries, keys, values, strict=True)
    ]
    return torch.cat(outputs).index_select(0, table.order).unsqueeze(0)


def _by_group(states: Tensor, index: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """(1, heads, tokens, width) -> (number, heads, size, width) for each group.

    All groups are taken at once: the gradient of each taking is as large as the whole row.
    """
    heads, width = states.shape[1], states.shape[3]
    taken = states[0].transpose(0, 1).flatten(1).index_select(0, index)
    parts = torch.split(taken, [number * size for number, size in sizes])
    return [
        part.view(number, size, heads, width).transpose(1, 2)
        for part, (number, size) in zip(parts, sizes, strict=True)
    ]


def _run(group: Group, states: Sequence[Tensor], scaling: float | None, limits: Limits) -> Tensor:
    """Output of one group, shape (number * queries, heads, width)."""
    query, key, value = states
    if limits == NONE and (group.mask is not None or group.queries == group.keys):
        out = _sdpa(query, key, value, scaling, group.mask)
    else:
        out = _in_chunks(query, key, value, scaling, limits, group.mask, group.places)
    return out.transpose(1, 2).flatten(0, 1)


def _sdpa(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, mask: Tensor | None
) -> Tensor:
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _in_chunks(  # noqa: PLR0913, PLR0917 - what attend takes, and how it is cut
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, limits: Limits,
    mask: Tensor | None = None, places: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The queries are the last of the keys, causally if no mask says otherwise; shapes (number,
    heads, size, width).

    torch aligns causal attention at the first key, so a mask is needed. It is made for a chunk of
    queries at a time and made again in the backward pass: none is as large as queries x keys.
    """
    before = key.shape[2] - query.shape[2]
    outputs = []
    for start in range(0, query.shape[2], CHUNK):
        chunk = query[:, :, start : start + CHUNK]
        first, last = before + start, before + start + chunk.shape[2]
        begin = 0
        if limits.window and places is None:
            begin = max(0, first - limits.window + 1)
        seen = partial(_seen, mask, places, limits.window, (begin, first, last))
        states = (chunk, key[:, :, begin:last], value[:, :, begin:last])
        outputs.append(
            checkpoint(
                _chunk, *states, scaling, limits.softcap, seen,
                use_reentrant=False, preserve_rng_state=False,
            )
        )  # fmt: skip
    return torch.cat(outputs, 2)


def _seen(
    mask: Tensor | None, places: Tensor | None, window: int | None,
    cut: tuple[int, int, int], device: torch.device,
) -> Tensor:  # fmt: skip
    """Mask (chunk, keys) of the queries from `first` to `last` over the keys from `begin` on."""
    begin, first, last = cut
    keys = torch.arange(begin, last, device=device)
    queries = keys[first - begin :]
    if mask is None:
        seen = keys <= queries[:, None]
    else:
        before = mask.shape[1] - mask.shape[0]
        seen = mask[first - before : last - before, begin:last]
    if window is not None:
        if places is not None:
            keys, queries = places[begin:last], places[first:last]
        seen = seen & (queries[:, None] - keys < window)
    return seen


def _chunk(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, softcap: float | None,
    seen: Callable[[torch.device], Tensor],
) -> Tensor:  # fmt: skip
    mask = seen(query.device)
    if softcap is None:
        return _sdpa(query, key, value, scaling, mask)
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, 1) for states in (key, value))
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(
        -1, dtype=torch.promote_types(scores.dtype, torch.float32)
    )
    return weights.to(value.dtype) @ value


def _cached(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, limits: Limits
) -> Tensor:
    new, all_keys = query.shape[2], key.shape[2]
    if limits != NONE or 1 < new < all_keys:
        return _in_chunks(query, key, value, scaling, limits)
    return scaled_dot_product_attention(
        query, key, value, is_causal=1 < new == all_keys, scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip


def register(name: str = NAME, kernel: Kernel = blocks) -> None:
    """Makes an `attn_implementation` known to transformers; no mask is built for it."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(name, partial(attend, kernel=kernel))
    AttentionMaskInterface.register(name, lambda *args, **kwargs: None)
