"""The figures of VaL's release from answer rows, to its last quirk (VaLProbing, plot.py)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.records import Answer

BIN = 50
"""Positions of a bin."""


class Film(NamedTuple):
    """What the release prints and draws; 0-1."""

    avg: float
    """Mean over bins."""
    gap: float
    """Best minus worst bin."""
    bins: list[float]
    """Mean over sets of each set's mean."""
    std: list[float]
    """Population standard deviation over the sets, its error bar."""


def figures(answers: Sequence[Answer], bin_items: int = BIN) -> Film:
    """Bins of 50 positions of which the last is left out (its `range` ends one early).

    The number of bins is that of whole bins in the largest set. Raises ConfigError where a set
    has no answer in a bin, since the release divides by the number of them.
    """
    items = max(answer.items for answer in answers)
    scores: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        at, place = divmod(answer.position, bin_items)
        of = scores[answer.set]
        if place < bin_items - 1:
            of[at].append(answer.score)
    bins = items // bin_items
    if not bins:
        raise ConfigError(f"{items} positions fill no bin of {bin_items}; lower probe.bin_items")
    for number, of in sorted(scores.items()):
        empty = [at for at in range(bins) if not of[at]]
        if empty:
            raise ConfigError(
                f"set {number} has no answer in bin {empty[0]} of {bin_items} positions; the"
                " figures of the release need one of every set in every bin"
            )
    means = np.array([[np.mean(of[at]) for at in range(bins)] for of in scores.values()])
    curve = means.mean(axis=0)
    return Film(
        avg=float(curve.mean()),
        gap=float(curve.max() - curve.min()),
        bins=[float(each) for each in curve],
        std=[float(each) for each in means.std(axis=0)],
    )
