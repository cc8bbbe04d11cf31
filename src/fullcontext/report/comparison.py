"""Two runs compared item by item, and Holm's correction over everything that was compared.

Both runs answered the same questions, so what varies between questions and contexts falls out of
the difference. Its intervals and p-values count contexts, as those of one run do; McNemar's test
counts questions and holds only where questions of one context do not agree more than others.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from fullcontext.report import intervals
from fullcontext.report.moments import CONTRASTS, Counts, Floats, Moments, check, contrasts, ratio
from fullcontext.report.statistics import Curve

Key = tuple[int, int, int]
"""Length, set and position: what identifies a question of a task."""
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Answers of one run to one task; arrays of shape (items,).

    Sets of one number are one cluster, whatever their lengths.
    """

    score: Floats
    depth: Floats
    set_id: Counts
    position: Counts
    length: Counts

    def keys(self) -> list[Key]:
        """What identifies each question. Raises ValueError where one was answered twice."""
        columns = (self.length.tolist(), self.set_id.tolist(), self.position.tolist())
        found = list(zip(*columns, strict=True))
        if len(set(found)) < len(found):
            twice = next(key for key in found if found.count(key) > 1)
            raise ValueError(f"length, set and position {twice} are answered more than once")
        return found

    def take(self, rows: Counts) -> "Sample":
        """The answers of these rows, in this order."""
        return Sample(
            self.score[rows],
            self.depth[rows],
            self.set_id[rows],
            self.position[rows],
            self.length[rows],
        )


class Difference(NamedTuple):
    """What a statistic of run b is above that of run a, in 95 % of experiments, and by chance."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided, Student's over contexts: the test that belongs to the interval."""
    swap_p: float
    """Two-sided, from swapping the runs in random contexts: exact, but 2 / 2**sets at least."""


class McNemar(NamedTuple):
    """Exact test of answers that are right in one run only."""

    gained: int
    """Wrong in a, right in b."""
    lost: int
    p_value: float
    """Two-sided; 1 where nothing changed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Run b minus run a over the questions that both answered."""

    contrasts: dict[str, Difference]
    """Keys are CONTRASTS."""
    curve: Curve
    """Differences by depth bin, at the depths of a."""
    mcnemar: McNemar | None
    """None where a score is neither 0 nor 1."""
    design_effect: float
    """Variance of the average difference over that of independent questions. Well above 1, the
    questions of a context change together and McNemar's p is too small."""
    items: int
    sets: int
    only_a: tuple[Key, ...]
    only_b: tuple[Key, ...]

    @property
    def unpaired(self) -> int:
        """Questions that one run alone answered; they count for nothing."""
        return len(self.only_a) + len(self.only_b)


def compare(
    a: Sample, b: Sample, bins: int, permutations: int, rng: np.random.Generator
) -> Comparison:
    """Run b minus run a (the baseline), paired by length, set and position.

    One shared set has differences without intervals. Raises ValueError where the runs share no
    question or one answered a question twice.
    """
    at_a, at_b = ({key: row for row, key in enumerate(each.keys())} for each in (a, b))
    shared = sorted(at_a.keys() & at_b.keys())
    if not shared:
        raise ValueError(
            "the runs share no question (length, set and position); probe both with the same"
            " probe settings"
        )
    left = a.take(np.array([at_a[key] for key in shared]))
    right = b.take(np.array([at_b[key] for key in shared]))
    check(left.score, left.depth, left.set_id)
    before = Moments.of(left.score, left.depth, left.set_id, bins)
    after = Moments.of(right.score, right.depth, right.set_id, bins)
    differences, variance = _differences(before, after, permutations, rng)
    change = right.score - left.score
    independent = float(np.var(change)) / max(len(change) - 1, 1)
    return Comparison(
        contrasts=differences,
        curve=_curve(change, left, bins),
        mcnemar=mcnemar(left.score, right.score),
        design_effect=float(ratio(variance, np.asarray(independent))) if independent else np.nan,
        items=len(shared),
        sets=len(before.line),
        only_a=tuple(sorted(at_a.keys() - at_b.keys())),
        only_b=tuple(sorted(at_b.keys() - at_a.keys())),
    )


def _differences(
    before: Moments, after: Moments, permutations: int, rng: np.random.Generator
) -> tuple[dict[str, Difference], Floats]:
    """Each contrast, and the variance of the average."""
    values = [contrasts(each.total) for each in (before, after)]
    without = [contrasts(each.without) for each in (before, after)]
    share = [each.contributions for each in (before, after)]
    free = [each.freedom for each in (before, after)]
    signs = _signs(len(before.line), permutations, rng)
    found, spread = {}, {}
    for key in CONTRASTS:
        value = values[1][key] - values[0][key]
        spread[key] = intervals.variance(without[1][key] - without[0][key])
        freedom = np.minimum(free[0][key], free[1][key])
        ends = intervals.symmetric(value, spread[key], freedom)
        p_value = intervals.p_value(value, spread[key], freedom)
        swapped = _swap_p(share[1][key] - share[0][key], signs)
        found[key] = Difference(
            float(value), float(ends.low), float(ends.high), float(p_value), swapped
        )
    return found, spread["avg"]


def _signs(sets: int, permutations: int, rng: np.random.Generator) -> Floats:
    """Which contexts swap their runs, shape (ways, sets): all ways, or as many at random."""
    if 2**sets <= permutations:
        ways = np.arange(2**sets)[:, None] >> np.arange(sets) & 1
        return np.asarray(1.0 - 2.0 * ways)
    drawn = rng.integers(0, 2, (permutations, sets)) * 2.0 - 1.0
    return np.concatenate([np.ones((1, sets)), drawn])  # as observed, then at random: (k+1)/(R+1)


def _swap_p(share: Floats, signs: Floats) -> float:
    if np.isnan(share).any():
        return float("nan")
    reached = np.abs(signs @ share) >= abs(share.sum()) - 1e-12
    return float(reached.mean())


def _curve(change: Floats, sample: Sample, bins: int) -> Curve:
    moments = Moments.of(change, sample.depth, sample.set_id, bins)
    total, without = moments.total, moments.without
    means = ratio(total.bin_sum, total.bin_items)
    variance = intervals.variance(ratio(without.bin_sum, without.bin_items))
    low, high = intervals.symmetric(means, variance, moments.bin_freedom)
    return Curve(means, low, high, total.bin_items.round().astype(np.int64))


def mcnemar(a: Floats, b: Floats) -> McNemar | None:
    """McNemar's exact test of paired scores (McNemar 1947); None for scores other than 0 and 1."""
    if not np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        return None
    from scipy.special import bdtr

    gained, lost = int(np.sum(b > a)), int(np.sum(b < a))
    changed = gained + lost
    # Twice the smaller tail of a fair coin, which is symmetric: what scipy's binomtest gives, too.
    p_value = min(1.0, 2 * float(bdtr(min(gained, lost), changed, 0.5)))
    return McNemar(gained, lost, p_value)


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values (Holm 1979), same shape and order: below alpha, all hold together at alpha.

    nan, a test that could not be made, stays nan and counts for nothing.
    """
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(p_values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def adjusted(compared: Mapping[Name, Comparison]) -> dict[Name, dict[str, float]]:
    """Holm over every contrast of every comparison of a table: p by comparison and contrast."""
    cells = [(name, key) for name in compared for key in CONTRASTS]
    raw = np.array([compared[name].contrasts[key].p_value for name, key in cells])
    found: dict[Name, dict[str, float]] = {name: {} for name in compared}
    for (name, key), p_value in zip(cells, holm(raw).tolist(), strict=True):
        found[name][key] = p_value
    return found
