"""Attention by a table of blocks: which query span sees which key span; no length x length mask.

Documents of a row cannot see each other by construction. Blocks of one shape run as one batched
scaled-dot-product call, so many short contexts cost no more calls than one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from fullcontext.records import Block, Span

NAME = "blocks"
"""The `attn_implementation` that `register` makes known to transformers."""
CHUNK = 256
"""Queries of a cut block that attend at once: bounds their mask, (CHUNK, keys)."""


class Sight(NamedTuple):
    """What a query span sees: all of `context`, and the tokens from `own` on causally.

    `own` is the start of `queries` but for a block that is cut between ranks.
    """

    queries: Span
    context: Span | None
    own: int

    @property
    def keys(self) -> int:
        """How many keys the last query sees."""
        seen = self.context.length if self.context else 0
        return seen + self.queries.stop - self.own


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of one shape: `number` blocks of `queries` queries over `keys` keys.

    The last keys of a block are its own queries.
    """

    number: int
    queries: int
    keys: int
    mask: Tensor | None
    """Shape (queries, keys), True where a query sees a key. None: each query sees all keys up to
    itself."""


class Kernel(Protocol):
    """Runs a table over states of shape (1, heads, tokens, width)."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, table: "BlockTable"
    ) -> Tensor:
        """Output, shape (1, tokens, heads, width)."""


class Around(Protocol):
    """What ranks that hold pieces of one row do before and after a kernel runs."""

    def __call__(
        self,
        kernel: Kernel,
        states: tuple[Tensor, Tensor, Tensor],
        scaling: float | None,
        table: "BlockTable",
    ) -> Tensor:
        """Output for this rank's queries."""


@dataclass(frozen=True, slots=True)
class BlockTable:
    """All groups of a row, and which tokens they take, group after group."""

    groups: tuple[Group, ...]
    queries: Tensor
    """Places among the query states, shape (query tokens,)."""
    keys: Tensor
    """Places among the key states, shape (sum of number * keys,)."""
    order: Tensor
    """Shape (query tokens,): the place of each token in `queries`."""
    is_whole: bool
    """Whether there is one block of all tokens in order, so that nothing has to be moved."""
    sights: tuple[Sight, ...] = ()
    """What the groups were made from, in the row's tokens; empty where a mask was given."""
    around: Around | None = None
    """Set where ranks hold pieces of the row."""


def sights(blocks: Sequence[Block], piece: Span | None = None) -> tuple[Sight, ...]:
    """What the queries of a row see, or those in a piece of it: blocks are cut at its ends."""
    found = []
    for block in blocks:
        start, stop = block.queries
        if piece is not None:
            start, stop = max(start, piece.start), min(stop, piece.stop)
        if start < stop:
            found.append(Sight(Span(start, stop), block.keys, block.queries.start))
    return tuple(found)


def table(
    blocks: Sequence[Block],
    device: torch.device | str = "cpu",
    piece: Span | None = None,
    around: Around | None = None,
) -> BlockTable:
    """Groups blocks by shape. Questions of one context run as one block with a small mask.

    With a `piece`, the queries are those of the piece and the keys those of the whole row.
    """
    seen = sights(blocks, piece)
    first = 0 if piece is None else piece.start
    shapes: dict[tuple[int, int, tuple[int, ...]], list[list[Sight]]] = defaultdict(list)
    for members in _by_context(seen):
        own = members[0].queries.start - members[0].own
        lengths = tuple(sight.queries.length for sight in members)
        shapes[members[0].keys - lengths[0] - own, own, lengths].append(members)
    groups, queries, keys = [], [], []
    for (context, before, lengths), alike in shapes.items():
        own = sum(lengths)
        mask = _mask(context, lengths).to(device) if context and not before else None
        groups.append(Group(len(alike), own, context + before + own, mask))
        for members in alike:
            queries.append(np.arange(members[0].queries.start, members[-1].queries.stop))
            keys.append(_keys(members))
    taken = torch.from_numpy(np.concatenate(queries) - first)
    return BlockTable(
        groups=tuple(groups),
        queries=taken.to(device),
        keys=torch.from_numpy(np.concatenate(keys)).to(device),
        order=torch.argsort(taken).to(device),
        is_whole=len(blocks) == 1 and len(taken) == blocks[0].queries.stop,
        sights=seen,
        around=around,
    )


def _keys(members: Sequence[Sight]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    own = np.arange(members[0].own, members[-1].queries.stop)
    context = members[0].context
    return np.concatenate([np.arange(*context), own]) if context else own


def _mask(context: int, questions: tuple[int, ...]) -> Tensor:
    """Every question sees the context, and itself causally."""
    owner = torch.repeat_interleave(torch.arange(len(questions)), torch.tensor(questions))
    own = (owner[:, None] == owner).tril()
    return torch.cat([torch.ones(len(own), context, dtype=torch.bool), own], 1)


def _by_context(seen: Sequence[Sight]) -> list[list[Sight]]:
    """Questions of one context together; one that is cut runs alone."""
    together: list[list[Sight]] = []
    for sight in seen:
        last = together[-1][-1] if together else None
        is_next = last and last.context == sight.context and last.own == last.queries.start
        if sight.context and is_next and sight.own == sight.queries.start:
            together[-1].append(sight)
        else:
            together.append([sight])
    return together


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
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface: (1, heads, tokens, width) -> (1, tokens, heads, width).

    Without a table (generation with a cache) the queries are the last of the keys, causally.
    """
    if dropout and module.training:
        raise ValueError("attention dropout is not supported; set attention_dropout to 0")
    if block_table is None:
        return _cached(query, key, value, scaling).transpose(1, 2).contiguous(), None
    # A table without sights is a probe's, with a mask of its own.
    run = kernel if kernel and block_table.sights else blocks
    if block_table.around is not None:
        return block_table.around(run, (query, key, value), scaling, block_table), None
    return run(query, key, value, scaling, block_table), None


def blocks(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, table: BlockTable
) -> Tensor:
    """The kernel that runs anywhere: a scaled-dot-product call for each group."""
    if table.is_whole:
        (group,) = table.groups
        return _run(group, query, key, value, scaling).unsqueeze(0)
    query_sizes = [(group.number, group.queries) for group in table.groups]
    key_sizes = [(group.number, group.keys) for group in table.groups]
    queries = _by_group(query, table.queries, query_sizes)
    keys = _by_group(key, table.keys, key_sizes)
    values = _by_group(value, table.keys, key_sizes)
    outputs = [
        _run(group, q, k, v, scaling)
        for group, q, k, v in zip(table.groups, queries, keys, values, strict=True)
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


def _run(group: Group, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Output of one group, shape (number * queries, heads, width)."""
    if group.mask is None and group.queries < group.keys:
        out = _lower_right(query, key, value, scaling)
    else:
        out = _sdpa(query, key, value, scaling, group.mask)
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


def _lower_right(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """The queries are the last of the keys, causally; shapes (number, heads, size, width).

    torch aligns causal attention at the first key, so a mask is needed. It is made for a chunk of
    queries at a time and made again in the backward pass: none is as large as queries x keys.
    """
    before = key.shape[2] - query.shape[2]
    outputs = []
    for start in range(0, query.shape[2], CHUNK):
        chunk = query[:, :, start : start + CHUNK]
        seen = before + start + chunk.shape[2]
        states = (chunk, key[:, :, :seen], value[:, :, :seen])
        outputs.append(
            checkpoint(_chunk, *states, scaling, use_reentrant=False, preserve_rng_state=False)
        )
    return torch.cat(outputs, 2)


def _chunk(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    shape = (query.shape[2], key.shape[2])
    mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril(shape[1] - shape[0])
    return _sdpa(query, key, value, scaling, mask)


def _cached(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    new, all_keys = query.shape[2], key.shape[2]
    if 1 < new < all_keys:
        return _lower_right(query, key, value, scaling)
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
