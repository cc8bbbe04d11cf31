"""Two entities that are needed together, their place and distance controlled.

Where the curves of single pieces of evidence are flat, models were found to lose pieces that lie
far apart (LongPiBench, arXiv 2410.14641). The items are those of the database probe; a question
asks for the labels of two of them, in an order drawn at random.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fullcontext.probe import database
from fullcontext.probe.items import Item, Query
from fullcontext.randomness import rng

MOST_PAIRS = 55
"""Pairs of a context where nothing else is said: those of 10 places, and each with a neighbour."""
QUESTION = (
    "In above context , what are the labels for the two queries where the ids are {one} and"
    " {other} ?"
)
_GOLD = "label: {one}; label: {other}"
_BETWEEN = "; label: "


class _Pair(NamedTuple):
    first: int
    second: int


def candidates(items: Iterator[Item]) -> Iterator[Item]:
    """Items of the database as they stand here: question and gold name an entity twice.

    A pair's question is then no longer than that of the longer one of the two.
    """
    for item in items:
        label, _ = database.parts(item.gold)
        if ";" not in label:
            question = QUESTION.format(one=item.mark, other=item.mark)
            yield Item(item.text, item.mark, question, _GOLD.format(one=label, other=label))


def clash(one: Item, other: Item) -> bool:
    """Whether `other` holds the id of `one`, or its label."""
    label = parts(one.gold)[0]
    return one.mark in other.text or label.lower() in other.text.lower()


def parts(gold: str) -> tuple[str, str]:
    """The two labels of a gold answer."""
    one, other = gold.removeprefix("label: ").split(_BETWEEN, 1)
    return one, other


def queries(
    items: Sequence[Item], depths: Sequence[float], most: int | None, seed: int, index: int
) -> list[Query]:
    """Pairs of k evenly spaced items, and of each with its neighbour: k (k + 1) / 2 at most.

    `depths` are the relative places of the items; k is the largest for which no more than `most`
    are asked. All places and distances that there are come up, far pairs as often as they can.
    """
    draw = rng(seed, "spread probe, order", index)
    found = []
    for position, (first, second) in enumerate(_pairs(len(items), most or MOST_PAIRS)):
        asked = [first, second] if draw.random() < 0.5 else [second, first]
        ids = [items[i].mark for i in asked]
        labels = [parts(items[i].gold)[0] for i in asked]
        found.append(
            Query(
                QUESTION.format(one=ids[0], other=ids[1]),
                _GOLD.format(one=labels[0], other=labels[1]),
                position,
                (depths[first] + depths[second]) / 2,
                depths[second] - depths[first],
            )
        )
    return found


def _pairs(items: int, most: int) -> list[_Pair]:
    """Rising by distance, then by place; each pair once."""
    k = min(items, max(2, int((np.sqrt(8 * most + 1) - 1) / 2)))
    places = sorted({int(i) for i in np.linspace(0, items - 1, k).round()})
    near = {_Pair(i, i + 1) if i + 1 < items else _Pair(i - 1, i) for i in places}
    far = {_Pair(*pair) for pair in combinations(places, 2)}
    return sorted(near | far, key=lambda pair: (pair.second - pair.first, pair.first))
