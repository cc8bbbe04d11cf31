"""Statistics of position curves: numpy only, pure, randomness passed in.

Linear contrasts of the curve (average, litm, primacy, recency, slope) have intervals that hold:
a percentile bootstrap by set covers them 93-96 % of the time. The raw gap (best minus worst bin)
does not: a flat curve of 50 items a bin shows a gap near 0.2, and a bootstrap interval of it
covers the truth 0-27 % of the time. So the gap comes with the gap of a flat curve instead.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FEW_ITEMS = 50
"""Items a bin below which a curve is flagged."""
FEW_SETS = 4
"""Sets below which an interval is flagged; below 2 there is none."""
CONTRASTS = ("avg", "litm", "primacy", "recency", "slope")
"""The statistics to quote, in the order of tables."""


class Interval(NamedTuple):
    """A statistic and its 95 % interval; the ends are nan where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Means by depth bin, each of shape (bins,); nan where a bin is empty."""

    mean: Floats
    low: Floats
    high: Floats
    items: Counts


@dataclass(frozen=True, slots=True)
class Estimate:
    """Everything that can be said about one sample with an interval."""

    curve: Curve
    contrasts: dict[str, Interval]
    """Keys are CONTRASTS."""
    items: int
    sets: int


class FlatGap(NamedTuple):
    """The raw gap beside what a model without any position effect shows at the same size."""

    gap: float
    expected: float
    """Mean gap after permuting the scores over the positions within each set."""
    percentile95: float
    p_value: float
    """(k + 1) / (R + 1), k of R permutations having at least the observed gap."""


class _Moments(NamedTuple):
    """Sums that every statistic is a function of; leading axes are sets or resamples."""

    fifth_sum: Floats  # (..., 5)
    fifth_items: Floats  # (..., 5)
    bin_sum: Floats  # (..., bins)
    bin_items: Floats  # (..., bins)
    line: Floats  # (..., 5): items and the sums of d, s, d*d, d*s, d measured from its mean

    def weigh(self, weights: Floats) -> "_Moments":
        return _Moments(*(weights @ part for part in self))


def bin_index(depth: Floats, bins: int) -> Counts:
    """The bin of each depth, 0 to bins-1: [0, 1/bins), ... and the last one closed.

    The tolerance keeps 0.6000000000000001 = 3 * 0.2 and 0.6 in one bin.
    """
    return np.clip(np.floor(depth * bins + 1e-9), 0, bins - 1).astype(np.int64)


def bin_means(score: Floats, depth: Floats, bins: int) -> tuple[Floats, Counts]:
    """Mean score and number of items of each depth bin; nan in empty bins."""
    index = bin_index(depth, bins)
    items = np.bincount(index, minlength=bins)
    total = np.asarray(np.bincount(index, score, minlength=bins), dtype=np.float64)
    return _ratio(total, items.astype(np.float64)), items


def litm(score: Floats, depth: Floats) -> float:
    """(mean of the first 20 % + mean of the last 20 %) / 2 - mean of the middle 20 %.

    Positive for a U: "lost in the middle". nan where one of the three regions is empty.
    """
    fifths, _ = bin_means(score, depth, 5)
    return float((fifths[0] + fifths[4]) / 2 - fifths[2])


def gap(score: Floats, depth: Floats, bins: int) -> float:
    """Best minus worst bin (IN2, section 3): only comparable at equal items per bin."""
    means, _ = bin_means(score, depth, bins)
    return float(np.nanmax(means) - np.nanmin(means))


def summary(score: Floats, depth: Floats, set_id: Counts, bins: int) -> dict[str, float]:
    """The scalars a probe logs: avg, litm, gap, worst (bin) and n; no resampling.

    Arrays have the shape (items,). `litm` is nan where one of its three regions holds no item.
    """
    _check(score, depth, set_id)
    means, _ = bin_means(score, depth, bins)
    return {
        "avg": float(np.mean(score)),
        "litm": litm(score, depth),
        "gap": float(np.nanmax(means) - np.nanmin(means)),
        "worst": float(np.nanmin(means)),
        "n": float(len(score)),
    }


def estimate(
    score: Floats,
    depth: Floats,
    set_id: Counts,
    bins: int,
    resamples: int,
    rng: np.random.Generator,
) -> Estimate:
    """Curve and contrasts with 95 % percentile intervals from a cluster bootstrap by set.

    Questions of one set share a context, so sets are drawn, not questions. With one set there is
    nothing to draw from and every interval is nan; so it is where all scores are equal, since 0
    right of 20 is no proof of 0.
    """
    _check(score, depth, set_id)
    moments = _moments(score, depth, set_id, bins)
    sets = len(moments.line)
    total = moments.weigh(np.ones(sets))
    values = _contrasts(total)
    means = _ratio(total.bin_sum, total.bin_items)
    if sets > 1 and np.ptp(score) > 0:
        draws = rng.multinomial(sets, np.full(sets, 1 / sets), size=resamples).astype(np.float64)
        drawn = moments.weigh(draws)
        spread = {
            key: _percentiles(values[key], sample) for key, sample in _contrasts(drawn).items()
        }
        low, high = _percentiles(means, _ratio(drawn.bin_sum, drawn.bin_items))
    else:
        nothing = np.asarray(np.nan)
        spread = dict.fromkeys(CONTRASTS, (nothing, nothing))
        low = high = np.full(bins, np.nan)
    return Estimate(
        curve=Curve(means, low, high, total.bin_items.round().astype(np.int64)),
        contrasts={
            key: Interval(float(values[key]), float(spread[key][0]), float(spread[key][1]))
            for key in CONTRASTS
        },
        items=len(score),
        sets=sets,
    )


def flat_gap(
    score: Floats,
    depth: Floats,
    set_id: Counts,
    bins: int,
    permutations: int,
    rng: np.random.Generator,
) -> FlatGap:
    """The raw gap and its null: the same scores permuted over the positions within each set."""
    _check(score, depth, set_id)
    order = np.lexsort((score, depth, set_id))  # so that the order of rows does not matter
    score, depth, set_id = score[order], depth[order], set_id[order]
    index = bin_index(depth, bins)
    items = np.bincount(index, minlength=bins)
    sums = np.zeros((permutations, bins))
    for one in np.unique(set_id):
        rows = set_id == one
        shuffled = rng.permuted(np.tile(score[rows], (permutations, 1)), axis=1)
        sums += shuffled @ np.eye(bins)[index[rows]]
    filled = items > 0
    means = sums[:, filled] / items[filled]
    null = means.max(axis=1) - means.min(axis=1)
    observed = gap(score, depth, bins)
    reached = int(np.sum(null >= observed - 1e-12))
    return FlatGap(
        gap=observed,
        expected=float(null.mean()),
        percentile95=float(np.percentile(null, 95)),
        p_value=(reached + 1) / (permutations + 1),
    )


def cautions(items: Counts, sets: int) -> list[str]:
    """What a reader must know before quoting a curve of so many items a bin and sets."""
    found = []
    fewest = int(items.min())
    if fewest < FEW_ITEMS:
        found.append(f"fewest items in a bin: {fewest}, below {FEW_ITEMS}")
    if sets == 1:
        found.append("one context, so no interval")
    elif sets < FEW_SETS:
        found.append(f"the interval rests on too few contexts ({sets})")
    return found


def _check(score: Floats, depth: Floats, set_id: Counts) -> None:
    if not len(score) == len(depth) == len(set_id):
        raise ValueError(f"{len(score)} scores, {len(depth)} depths and {len(set_id)} sets differ")
    if len(score) == 0:
        raise ValueError("there are no answers to summarise")


def _moments(score: Floats, depth: Floats, set_id: Counts, bins: int) -> _Moments:
    """Sums of each set, first axis sets."""
    names, row = np.unique(set_id, return_inverse=True)

    def table(column: Counts, columns: int, values: Floats) -> Floats:
        cells = np.bincount(row * columns + column, values, minlength=len(names) * columns)
        return np.asarray(cells, dtype=np.float64).reshape(len(names), columns)

    fifth, place, one = bin_index(depth, 5), bin_index(depth, bins), np.ones(len(score))
    centred = depth - depth.mean()
    products = (one, centred, score, centred * centred, centred * score)
    return _Moments(
        table(fifth, 5, score),
        table(fifth, 5, one),
        table(place, bins, score),
        table(place, bins, one),
        np.concatenate([table(np.zeros_like(row), 1, each) for each in products], axis=1),
    )


def _contrasts(moments: _Moments) -> dict[str, Floats]:
    fifths = _ratio(moments.fifth_sum, moments.fifth_items)
    first, middle, last = fifths[..., 0], fifths[..., 2], fifths[..., 4]
    items, d, s, dd, ds = np.moveaxis(moments.line, -1, 0)
    return {
        "avg": _ratio(s, items),
        "litm": (first + last) / 2 - middle,
        "primacy": first - middle,
        "recency": last - middle,
        "slope": _ratio(items * ds - d * s, items * dd - d * d),
    }


def _ratio(total: Floats, items: Floats) -> Floats:
    """total / items, nan where nothing (or a line through one depth) is divided by."""
    empty = np.abs(items) < 1e-9
    return np.where(empty, np.nan, total / np.where(empty, 1.0, items))


def _percentiles(value: Floats, sample: Floats) -> tuple[Floats, Floats]:
    """95 % interval over the first axis of `sample`, widened where it would miss `value`."""
    ends = np.full((2, *np.shape(value)), np.nan)
    some = ~np.all(np.isnan(sample), axis=0) & ~np.isnan(value)
    if np.any(some):
        ends[:, some] = np.nanpercentile(sample[:, some], [2.5, 97.5], axis=0)
    return np.fmin(ends[0], value), np.fmax(ends[1], value)
