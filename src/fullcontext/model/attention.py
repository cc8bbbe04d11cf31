"""Attention by a table of blocks: which query span sees which key span; no length x length mask.

Documents of a row cannot see each other by construction. Blocks of one shape run as one batched
scaled-dot-product call, so many short contexts cost no more calls than one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fullcontext.records import Block, Span

NAME = "blocks"
"""The `attn_implementation` that `register` makes known to transformers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of one shape. G blocks of n queries over m keys, of which the last n are their own."""

    queries: Tensor
    """Token positions, shape (G, n)."""
    keys: Tensor
    """Token positions, shape (G, m)."""
    mask: Tensor | None
    """Shape (n, m), True where a query sees a key; None is plain causal attention, n = m."""


@dataclass(frozen=True, slots=True)
class BlockTable:
    """All groups of a row, and where their outputs belong."""

    groups: tuple[Group, ...]
    order: Tensor
    """Shape (tokens,): the place of each token in the concatenation of the groups' outputs."""


def table(blocks: Sequence[Block], device: torch.device | str = "cpu") -> BlockTable:
    """Groups blocks by shape. Questions of one context run as one block with a small mask."""
    shapes: dict[tuple[int, tuple[int, ...]], list[list[Block]]] = defaultdict(list)
    for members in _by_context(blocks):
        keys = members[0].keys
        shape = (keys.stop - keys.start if keys else 0, tuple(_length(b.queries) for b in members))
        shapes[shape].append(members)
    groups = [_group(shape, alike, device) for shape, alike in shapes.items()]
    placed = torch.cat([group.queries.flatten() for group in groups])
    return BlockTable(tuple(groups), torch.argsort(placed))


def _by_context(blocks: Sequence[Block]) -> list[list[Block]]:
    together: list[list[Block]] = []
    for block in blocks:
        if block.keys and together and together[-1][0].keys == block.keys:
            together[-1].append(block)
        else:
            together.append([block])
    return together


def _length(span: Span) -> int:
    return span.stop - span.start


def _group(
    shape: tuple[int, tuple[int, ...]], alike: list[list[Block]], device: torch.device | str
) -> Group:
    context, questions = shape
    queries = [torch.arange(m[0].queries.start, m[-1].queries.stop) for m in alike]
    keys = [
        torch.cat([torch.arange(*m[0].keys), own]) if m[0].keys else own
        for m, own in zip(alike, queries, strict=True)
    ]
    mask = None
    if context:
        owner = torch.repeat_interleave(torch.arange(len(questions)), torch.tensor(questions))
        own = (owner[:, None] == owner).tril()
        mask = torch.cat([torch.ones(len(own), context, dtype=torch.bool), own], 1).to(device)
    return Group(torch.stack(queries).to(device), torch.stack(keys).to(device), mask)


def attend(  # noqa: PLR0913, PLR0917 - the signature is transformers'
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    block_table: BlockTable | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface: (1, heads, tokens, width) -> (1, tokens, heads, width).

    Without a table (generation with a cache) the queries are the last of the keys, causally.
    """
    if dropout and module.training:
        raise ValueError("attention dropout is not supported; set attention_dropout to 0")
    if block_table is None:
        return _cached(query, key, value, scaling).transpose(1, 2).contiguous(), None
    outputs = [_run(group, query, key, value, scaling) for group in block_table.groups]
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined[block_table.order].unsqueeze(0), None


def _run(group: Group, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Output of one group, shape (G * n, heads, width)."""
    out = scaled_dot_product_attention(
        _take(query, group.queries),
        _take(key, group.keys),
        _take(value, group.keys),
        attn_mask=group.mask,
        is_causal=group.mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).flatten(0, 1)


def _take(states: Tensor, index: Tensor) -> Tensor:
    """(1, heads, tokens, width) at (G, n) -> (G, heads, n, width)."""
    if index.numel() == states.shape[2] and len(index) == 1:
        return states
    return states[0][:, index].transpose(0, 1)


def _cached(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    new, all_keys = query.shape[2], key.shape[2]
    mask = None
    if 1 < new < all_keys:
        shape = (new, all_keys)
        mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril(all_keys - new)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=1 < new == all_keys, scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip


def register() -> None:
    """Makes `attn_implementation="blocks"` known to transformers; no mask is built for it."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
