"""An item of a probed context: what is retrieved, and the question that asks for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

Source = TypeVar("Source")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Item:
    """One segment of a probed context.

    No other item of its context holds the mark, and no other item's text or answer would be
    scored as its answer: each task's `clash` decides that for a pair.
    """

    text: str
    mark: str
    """What the question quotes: the piece, the line, the id or the key."""
    question: str
    gold: str
    """The right answer, as one is expected to put it."""


class Query(NamedTuple):
    """What is asked of a context, once."""

    question: str
    gold: str
    position: int
    """Index of the asked item; of the pair, where two are asked for."""
    depth: float
    """Relative place of the asked item's first token among the items, 0-1; of two, their mean."""
    distance: float | None = None
    """Relative distance of the two asked items, 0-1."""


def in_turn(
    sources: Sequence[Source], find: Callable[[Source], Sequence[Found]], draw: np.random.Generator
) -> Iterator[Found]:
    """What `find` sees in the sources, one of each in turn, all in drawn order.

    A source is opened when its turn first comes: a short context reads a few dozen files.
    """
    left: list[list[Found]] = []
    for i in draw.permutation(len(sources)):
        found = find(sources[i])
        left.append([found[k] for k in draw.permutation(len(found))])
        if left[-1]:
            yield left[-1].pop()
    while left := [found for found in left if found]:
        for found in left:
            yield found.pop()
