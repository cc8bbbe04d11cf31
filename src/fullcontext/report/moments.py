"""Sums by set that every linear statistic of a position curve is a function of."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fullcontext.report import intervals

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CONTRASTS = ("avg", "litm", "primacy", "recency", "slope")
"""The statistics to quote, in the order of tables."""
FIFTHS = {
    "litm": (0.5, 0.0, -1.0, 0.0, 0.5),
    "primacy": (1.0, 0.0, -1.0, 0.0, 0.0),
    "recency": (0.0, 0.0, -1.0, 0.0, 1.0),
}
"""What the mean of each fifth of the context counts in a contrast."""


class Moments(NamedTuple):
    """The leading axes are sets or, weighed, resamples of sets."""

    fifth_sum: Floats  # (..., 5)
    fifth_items: Floats  # (..., 5)
    bin_sum: Floats  # (..., bins)
    bin_items: Floats  # (..., bins)
    line: Floats  # (..., 5): items and the sums of d, s, d*d, d*s, d measured from its mean

    @classmethod
    def of(cls, score: Floats, depth: Floats, set_id: Counts, bins: int) -> "Moments":
        """Sums of each set, first axis sets; sets in the order of their ids."""
        names, row = np.unique(set_id, return_inverse=True)

        def table(column: Counts, columns: int, values: Floats) -> Floats:
            cells = np.bincount(row * columns + column, values, minlength=len(names) * columns)
            return np.asarray(cells, dtype=np.float64).reshape(len(names), columns)

        fifth, place, one = bin_index(depth, 5), bin_index(depth, bins), np.ones(len(score))
        centred = depth - depth.mean()
        products = (one, centred, score, centred * centred, centred * score)
        return cls(
            table(fifth, 5, score),
            table(fifth, 5, one),
            table(place, bins, score),
            table(place, bins, one),
            np.concatenate([table(np.zeros_like(row), 1, each) for each in products], axis=1),
        )

    def weigh(self, weights: Floats) -> "Moments":
        """Sums over sets, each counted as often as the last axis of `weights` says."""
        return Moments(*(weights @ part for part in self))

    @property
    def total(self) -> "Moments":
        """Sums over all sets, without a leading axis."""
        return self.weigh(np.ones(len(self.line)))

    @property
    def without(self) -> "Moments":
        """Sums over all sets but one, first axis the one."""
        return Moments(*(part.sum(axis=0) - part for part in self))

    @property
    def contributions(self) -> dict[str, Floats]:
        """What each set adds to each contrast, shape (sets,): they sum to the contrast."""
        total = self.total
        line = np.tile(total.line, (len(self.line), 1))
        line[:, [2, 4]] = self.line[:, [2, 4]]
        return contrasts(
            Moments(self.fifth_sum, total.fifth_items, self.bin_sum, total.bin_items, line)
        )

    @property
    def freedom(self) -> dict[str, Floats]:
        """Degrees of freedom of each contrast's variance (intervals.freedom), each a scalar."""
        keys = list(FIFTHS)
        fifths = intervals.freedom(self.fifth_items, np.array([FIFTHS[key] for key in keys]))
        found = dict(zip(keys, fifths, strict=True))
        items, d, _, dd, _ = np.moveaxis(self.line, -1, 0)
        found["avg"] = intervals.freedom(items[:, None], np.ones((1, 1)))[0]
        square = max(float(dd.sum()), 1e-30)
        # Scores count their distance d, less what the fitted level and line take.
        taken = np.stack([d / np.sqrt(items.sum()), dd / np.sqrt(square)], axis=-1)
        found["slope"] = intervals.satterthwaite(dd, taken)
        return {key: found[key] for key in CONTRASTS}

    @property
    def bin_freedom(self) -> Floats:
        """Degrees of freedom of each bin's variance, shape (bins,)."""
        return intervals.freedom(self.bin_items, np.eye(self.bin_items.shape[1]))


def bin_index(depth: Floats, bins: int) -> Counts:
    """The bin of each depth, 0 to bins-1: [0, 1/bins), ... and the last one closed.

    The tolerance keeps 0.6000000000000001 = 3 * 0.2 and 0.6 in one bin.
    """
    return np.clip(np.floor(depth * bins + 1e-9), 0, bins - 1).astype(np.int64)


def contrasts(moments: Moments) -> dict[str, Floats]:
    """CONTRASTS of sums, each of the shape of their leading axes."""
    fifths = ratio(moments.fifth_sum, moments.fifth_items)
    first, middle, last = fifths[..., 0], fifths[..., 2], fifths[..., 4]
    items, d, s, dd, ds = np.moveaxis(moments.line, -1, 0)
    return {
        "avg": ratio(s, items),
        "litm": (first + last) / 2 - middle,
        "primacy": first - middle,
        "recency": last - middle,
        "slope": ratio(items * ds - d * s, items * dd - d * d),
    }


def ratio(total: Floats, items: Floats) -> Floats:
    """total / items, nan where nothing (or a line through one depth) is divided by."""
    empty = np.abs(items) < 1e-9
    return np.where(empty, np.nan, total / np.where(empty, 1.0, items))


def check(score: Floats, depth: Floats, set_id: Counts) -> None:
    """Raises ValueError for no answers and for arrays of different lengths."""
    if not len(score) == len(depth) == len(set_id):
        raise ValueError(f"{len(score)} scores, {len(depth)} depths and {len(set_id)} sets differ")
    if len(score) == 0:
        raise ValueError("there are no answers to summarise")
