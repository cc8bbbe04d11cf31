"""What a model without any position effect would show: scores shuffled over the positions.

Two shuffles within each set. Items, which is right where questions of a context are independent
but for how hard the context is as a whole; and whole bins, which stays right where a context is
hard in one place (its questions there agree): then shuffled items call up to 69 of 100 flat models
bent, shuffled bins 3 to 5 (benchmarks/coverage.py).
"""

from typing import NamedTuple

import numpy as np

from fullcontext.report.moments import Counts, Floats, bin_index, check


class FlatGap(NamedTuple):
    """The raw gap beside that of a flat model of the same size, and tests of any position effect.

    Every p is (k + 1) / (R + 1), k of R shuffles having at least what was observed.
    """

    gap: float
    expected: float
    """Mean gap after shuffling the items of each set."""
    percentile95: float
    p_value: float
    """Of any position effect, to quote: `bin_p` if it is known, else `item_p`."""
    item_p: float
    """Of the bins' variance, neighbours taken together, after shuffling the items of each set."""
    bin_p: float
    """The same after shuffling the bins of each set; nan for one set or where a set lacks a bin."""
    gap_p: float
    """Of the gap, after shuffling the items of each set: the weakest of the three."""


def flat_gap(
    score: Floats,
    depth: Floats,
    set_id: Counts,
    bins: int,
    permutations: int,
    rng: np.random.Generator,
) -> FlatGap:
    """The raw gap, its null, and whether scores depend on the position; arrays are (items,)."""
    check(score, depth, set_id)
    order = np.lexsort((score, depth, set_id))  # so that the order of rows does not matter
    score, depth, set_id = score[order], depth[order], set_id[order]
    filled, index = np.unique(bin_index(depth, bins), return_inverse=True)
    names, row = np.unique(set_id, return_inverse=True)
    place = np.eye(len(filled))[index]
    sums, items = np.zeros((permutations, len(filled))), place.sum(axis=0)
    level = np.bincount(row, score) / np.bincount(row)
    for one in range(len(names)):
        rows = row == one
        sums += rng.permuted(np.tile(score[rows], (permutations, 1)), axis=1) @ place[rows]
    null, observed = sums / items, score @ place / items
    expected = level[row] @ place / items  # of the levels of the sets alone
    gaps, gap = np.ptp(null, axis=1), float(np.ptp(observed))
    bend = _bend(observed - expected, items)
    item_p = _reached(_bend(null - expected, items), bend)
    shape, cell = (len(names), len(filled)), row * len(filled) + index
    size = np.bincount(cell, minlength=len(names) * len(filled)).reshape(shape)
    rest = np.bincount(cell, score - level[row], minlength=size.size).reshape(shape)
    bin_p = float("nan")
    if len(names) > 1 and size.min() > 0:
        shuffled = np.tile(rest / size, (permutations, 1, 1))
        moved = (rng.permuted(shuffled, axis=2) * size).sum(axis=1) / items
        bin_p = _reached(_bend(moved, items), bend)
    return FlatGap(
        gap=gap,
        expected=float(gaps.mean()),
        percentile95=float(np.percentile(gaps, 95)),
        p_value=item_p if np.isnan(bin_p) else bin_p,
        item_p=item_p,
        bin_p=bin_p,
        gap_p=_reached(gaps, gap),
    )


def _bend(means: Floats, items: Floats) -> Floats:
    """Sum of squares of bins (last axis) and of products of neighbours: large for smooth curves."""
    scaled = means * np.sqrt(items)
    return np.asarray(
        (scaled * scaled).sum(axis=-1) + (scaled[..., 1:] * scaled[..., :-1]).sum(axis=-1)
    )


def _reached(null: Floats, observed: Floats | float) -> float:
    return (int(np.sum(null >= observed - 1e-12)) + 1) / (len(null) + 1)
