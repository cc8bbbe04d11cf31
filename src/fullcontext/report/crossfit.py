"""The gap and the worst bin without the luck of having been chosen.

The best and the worst of many bins are so partly by chance, and the more so the fewer the items.
Chosen on one half of the answers and measured on the other, a flat curve has a gap of 0 on average
and a true gap is found or understated, never inflated. There is no interval: which bins are chosen
changes from split to split.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fullcontext.report.moments import Counts, Floats, bin_index, check, ratio

By = Literal["set", "item"]


class CrossFit(NamedTuple):
    """Means over splits; nan where no bin has items in both halves."""

    gap: float
    worst: float
    """Mean of the bin that is worst in the other half."""
    by: By
    """What was split."""


def cross_fit(
    score: Floats,
    depth: Floats,
    set_id: Counts,
    bins: int,
    splits: int,
    rng: np.random.Generator,
) -> CrossFit:
    """Best minus worst bin and worst bin, chosen on one half and measured on the other.

    Each split serves twice, the halves in turn. Halves are of sets, so that what a context adds to
    a bin is not in both; with one set, or where half of the sets may lack a bin that others have,
    they are of the items of each bin.
    """
    check(score, depth, set_id)
    order = np.lexsort((score, depth, set_id))  # so that the order of rows does not matter
    score, index, set_id = score[order], bin_index(depth[order], bins), set_id[order]
    place = np.eye(bins)[index]
    by: By = "set" if _halves_hold_all_bins(set_id, place) else "item"
    first = _set_halves(set_id, splits, rng) if by == "set" else _item_halves(index, splits, rng)
    means = [ratio((half * score) @ place, half @ place) for half in (first, 1 - first)]
    known = ~np.isnan(means[0] + means[1])
    found = [_measure(np.where(known, means[one], np.nan), means[1 - one], known) for one in (0, 1)]
    some = known.any(axis=1)
    if not some.any():
        return CrossFit(float("nan"), float("nan"), by)
    gap, worst = np.mean([[each[some].mean() for each in pair] for pair in found], axis=0)
    return CrossFit(float(gap), float(worst), by)


def _measure(
    chosen: Floats, measured: Floats, known: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Gap and worst of `measured`, (splits, bins), at the best and worst bins of `chosen`."""
    values = np.where(known, measured, 0.0)
    ends = []
    for sign in (1.0, -1.0):
        height = np.where(known, sign * chosen, -np.inf)
        top = known & (height >= height.max(axis=1, keepdims=True) - 1e-12)
        ends.append(ratio((values * top).sum(axis=1), top.sum(axis=1).astype(np.float64)))
    return ends[0] - ends[1], ends[1]


def _halves_hold_all_bins(set_id: Counts, place: Floats) -> bool:
    """Whether any half of the sets has items in every bin that has any."""
    names, row = np.unique(set_id, return_inverse=True)
    holding = [len(np.unique(row[column > 0])) for column in place.T if column.any()]
    return len(names) // 2 > len(names) - min(holding)


def _set_halves(set_id: Counts, splits: int, rng: np.random.Generator) -> Floats:
    """1 for items of the first half of the sets, shape (splits, items)."""
    names, row = np.unique(set_id, return_inverse=True)
    half = np.arange(len(names)) < len(names) // 2
    return np.asarray(rng.permuted(np.tile(half, (splits, 1)), axis=1)[:, row], dtype=np.float64)


def _item_halves(index: Counts, splits: int, rng: np.random.Generator) -> Floats:
    """1 for items of the first half of each bin, shape (splits, items)."""
    half = np.zeros((splits, len(index)))
    for one in np.unique(index):
        rows = np.flatnonzero(index == one)
        spare = rng.integers(0, 2, (splits, 1))  # of an odd number, either half gets one more
        rank = np.argsort(rng.random((splits, len(rows))), axis=1)
        half[:, rows] = (rank + spare) % 2
    return half
