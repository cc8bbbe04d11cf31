"""Attention by a table of blocks: which query span sees which key span; no length x length mask.

Documents of a row cannot see each other by construction. Blocks of one shape run as one batched
scaled-dot-product call, so many short contexts cost no more calls than one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fullcontext.records import Block, Span

NAME = "blocks"
"""The `attn_implementation` that `register` makes known to transformers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of one shape: `number` blocks of `queries` queries over `keys` keys.

    The last keys of a block are its own queries.
    """

    number: int
    queries: int
    keys: int
    mask: Tensor | None
    """Shape (queries, keys), True where a query sees a key; None is plain causal attention."""


@dataclass(frozen=True, slots=True)
class BlockTable:
    """All groups of a row, and which tokens they take, group after group."""

    groups: tuple[Group, ...]
    queries: Tensor
    """Token positions, shape (tokens,)."""
    keys: Tensor
    """Token positions, shape (sum of number * keys,)."""
    order: Tensor
    """Shape (tokens,): the place of each token in `queries`."""
    is_whole: bool
    """Whether there is one block of all tokens in order, so that nothing has to be moved."""


def table(blocks: Sequence[Block], device: torch.device | str = "cpu") -> BlockTable:
    """Groups blocks by shape. Questions of one context run as one block with a small mask."""
    shapes: dict[tuple[int, tuple[int, ...]], list[list[Block]]] = defaultdict(list)
    for members in _by_context(blocks):
        context = _length(members[0].keys) if members[0].keys else 0
        shapes[context, tuple(_length(block.queries) for block in members)].append(members)
    groups, queries, keys = [], [], []
    for (context, questions), alike in shapes.items():
        own = sum(questions)
        mask = _mask(context, questions).to(device) if context else None
        groups.append(Group(len(alike), own, context + own, mask))
        for members in alike:
            span = np.arange(members[0].queries.start, members[-1].queries.stop)
            queries.append(span)
            keys += [np.arange(*members[0].keys), span] if members[0].keys else [span]
    taken = torch.from_numpy(np.concatenate(queries))
    return BlockTable(
        groups=tuple(groups),
        queries=taken.to(device),
        keys=torch.from_numpy(np.concatenate(keys)).to(device),
        order=torch.argsort(taken).to(device),
        is_whole=len(blocks) == 1,
    )


def _mask(context: int, questions: tuple[int, ...]) -> Tensor:
    """Every question sees the context, and itself causally."""
    owner = torch.repeat_interleave(torch.arange(len(questions)), torch.tensor(questions))
    own = (owner[:, None] == owner).tril()
    return torch.cat([torch.ones(len(own), context, dtype=torch.bool), own], 1)


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
    if block_table.is_whole:
        (group,) = block_table.groups
        return _run(group, query, key, value, scaling).unsqueeze(0), None
    query_sizes = [(group.number, group.queries) for group in block_table.groups]
    key_sizes = [(group.number, group.keys) for group in block_table.groups]
    queries = _by_group(query, block_table.queries, query_sizes)
    keys = _by_group(key, block_table.keys, key_sizes)
    values = _by_group(value, block_table.keys, key_sizes)
    outputs = [
        _run(group, q, k, v, scaling)
        for group, q, k, v in zip(block_table.groups, queries, keys, values, strict=True)
    ]
    return torch.cat(outputs).index_select(0, block_table.order).unsqueeze(0), None


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


def _run(group: Group, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Output of one group, shape (number * queries, heads, width)."""
    out = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=group.mask,
        is_causal=group.mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).flatten(0, 1)


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
