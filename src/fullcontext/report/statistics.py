"""Statistics of position curves: pure, randomness passed in.

Linear contrasts of the curve (average, litm, primacy, recency, slope) have intervals that hold
from 4 contexts on (report/intervals.py; benchmarks/coverage.py). The raw gap (best minus worst
bin) has none: a flat curve of 50 items a bin shows a gap near 0.2, and a bootstrap interval of it
covers the truth 0-27 % of the time. So the gap comes with that of a flat curve instead
(report/permutation.py), and with one that is chosen and measured on different answers
(report/crossfit.py).
"""

from dataclasses import dataclass

import numpy as np

from fullcontext.report import intervals
from fullcontext.report.intervals import Interval as Interval
from fullcontext.report.moments import CONTRASTS as CONTRASTS
from fullcontext.report.moments import Counts as Counts
from fullcontext.report.moments import Floats as Floats
from fullcontext.report.moments import Moments, check, contrasts, ratio
from fullcontext.report.moments import bin_index as bin_index
from fullcontext.report.permutation import FlatGap as FlatGap
from fullcontext.report.permutation import flat_gap as flat_gap

FEW_ITEMS = 50
"""Items a bin below which a curve is flagged."""
FEW_SETS = 4
"""Sets below which an interval is flagged; below 2 there is none."""


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


def bin_means(score: Floats, depth: Floats, bins: int) -> tuple[Floats, Counts]:
    """Mean score and number of items of each depth bin; nan in empty bins."""
    index = bin_index(depth, bins)
    items = np.bincount(index, minlength=bins)
    total = np.asarray(np.bincount(index, score, minlength=bins), dtype=np.float64)
    return ratio(total, items.astype(np.float64)), items


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
    check(score, depth, set_id)
    means, _ = bin_means(score, depth, bins)
    return {
        "avg": float(np.mean(score)),
        "litm": litm(score, depth),
        "gap": float(np.nanmax(means) - np.nanmin(means)),
        "worst": float(np.nanmin(means)),
        "n": float(len(score)),
    }


def estimate(score: Floats, depth: Floats, set_id: Counts, bins: int) -> Estimate:
    """Curve and contrasts with 95 % intervals that hold for answers clustered in sets.

    Questions of one set share a context, so sets count, not questions (report/intervals.py). With
    one set every interval is nan; so is that of a contrast on which all sets agree to the last
    digit. Scores within 0-1 keep the intervals of their means within 0-1. For the difference of
    two runs see report/comparison.py.
    """
    check(score, depth, set_id)
    moments = Moments.of(score, depth, set_id, bins)
    sets = len(moments.line)
    total = moments.total
    items = np.array([len(score), *total.bin_items])
    values, means = contrasts(total), ratio(total.bin_sum, total.bin_items)
    without, free = moments.without, moments.freedom
    ends = {
        key: intervals.symmetric(values[key], intervals.variance(deleted), free[key])
        for key, deleted in contrasts(without).items()
    }
    average_and_bins = np.concatenate(
        [contrasts(without)["avg"][:, None], ratio(without.bin_sum, without.bin_items)], axis=1
    )
    spread = intervals.variance(average_and_bins)
    centre = np.array([values["avg"], *means])
    free_means = np.array([free["avg"], *moments.bin_freedom])
    if sets == 1:
        low = high = np.full(bins + 1, np.nan)
    elif score.min() >= 0 and score.max() <= 1:
        low, high = intervals.proportion(centre, spread, free_means, items)
    else:
        low, high = intervals.symmetric(centre, spread, free_means)
    ends["avg"] = intervals.Ends(low[0], high[0])
    return Estimate(
        curve=Curve(means, low[1:], high[1:], total.bin_items.round().astype(np.int64)),
        contrasts={
            key: Interval(float(values[key]), float(ends[key].low), float(ends[key].high))
            for key in CONTRASTS
        },
        items=len(score),
        sets=sets,
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
