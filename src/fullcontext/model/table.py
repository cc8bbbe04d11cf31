"""Which query span of a row sees which key span; every kernel reads it, none makes a mask of it.

Blocks of one shape are grouped, to run as one batched call, so many short contexts cost no more
calls than one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fullcontext.records import Block, Span


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
    places: Tensor | None = None
    """Shape (keys,): where in its document each key stands. None: one after the other from 0."""


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
        mask, places = None, None
        if context and not before:
            mask = _mask(context, lengths).to(device)
            places = _places(context, lengths).to(device)
        groups.append(Group(len(alike), own, context + before + own, mask, places))
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


def _places(context: int, questions: tuple[int, ...]) -> Tensor:
    """Every question goes on where the context ends."""
    own = [torch.arange(context, context + length) for length in questions]
    return torch.cat([torch.arange(context), *own])


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
