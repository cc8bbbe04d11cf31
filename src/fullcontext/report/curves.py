"""Answers of runs -> the outcome of each run, task and step, with its statistics."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullcontext.config import TASKS
from fullcontext.report import statistics
from fullcontext.report.runs import Probed, Run

DEFAULT_BINS = 10
"""Depth bins where no run says how many."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run showed on one task at one probed step; scores in 0-1."""

    run: int
    """Index of the run on the page."""
    label: str
    task: str
    step: int
    before: bool
    """The first of two probed steps."""
    score: statistics.Estimate
    flat: statistics.FlatGap
    worst: float
    logp: statistics.Estimate | None
    """Mean gold log-probability, a diagnostic; None where it was not written."""
    change: dict[str, statistics.Interval]
    """Contrasts of this minus the first probed step, paired by item; empty for the first."""
    context_tokens: int
    """Longest probed context."""

    @property
    def cautions(self) -> list[str]:
        return statistics.cautions(self.score.curve.items, self.score.sets)


def common_bins(runs: list[Run]) -> int:
    """Depth bins of the page: the fewest that any run asks for, so that none is spread thinner."""
    asked = [_probe(run).get("bins") for run in runs if run.probed]
    given = [bins for bins in asked if isinstance(bins, int) and bins >= 3]
    return min(given, default=DEFAULT_BINS)


def _probe(run: Run) -> dict[str, Any]:
    probe = run.config.get("probe")
    return probe if isinstance(probe, dict) else {}


def measure(
    runs: list[Run], labels: list[str], bins: int, resamples: int, seed: int
) -> list[Outcome]:
    """First and last probed step of every task of every run, by task (as in TASKS), run and step.

    Randomness depends on the seed and the task alone: a run's intervals are the same whatever
    else is on the page.
    """
    found = {probed.task for run in runs for probed in run.probed}
    tasks = [task for task in TASKS if task in found] + sorted(found.difference(TASKS))
    return [
        _outcome(index, labels[index], ends, probed, bins, resamples, seed)
        for task in tasks
        for index, run in enumerate(runs)
        for ends in [run.first_and_last(task)]
        for probed in ends
    ]


def _outcome(  # noqa: PLR0913, PLR0917 - what identifies an outcome and how it is measured
    index: int,
    label: str,
    ends: list[Probed],
    probed: Probed,
    bins: int,
    resamples: int,
    seed: int,
) -> Outcome:
    def rng() -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32(probed.task.encode())])

    arrays = (probed.score, probed.depth, probed.set_id)
    last = len(ends) == 2 and probed is ends[1]
    return Outcome(
        run=index,
        label=label,
        task=probed.task,
        step=probed.step,
        before=len(ends) == 2 and not last,
        score=statistics.estimate(*arrays, bins),
        flat=statistics.flat_gap(*arrays, bins, resamples, rng()),
        worst=statistics.summary(*arrays, bins)["worst"],
        logp=_diagnostic(probed, bins),
        change=_change(ends[0], probed, bins) if last else {},
        context_tokens=int(probed.context_tokens.max()),
    )


def _diagnostic(probed: Probed, bins: int) -> statistics.Estimate | None:
    known = np.isfinite(probed.mean_logp)
    if not known.any():
        return None
    return statistics.estimate(
        probed.mean_logp[known], probed.depth[known], probed.set_id[known], bins
    )


def _change(first: Probed, last: Probed, bins: int) -> dict[str, statistics.Interval]:
    """Contrasts are linear, so those of the item-wise differences are the differences of both."""
    at = {key: row for row, key in enumerate(_items(first))}
    rows = [(at[key], row) for row, key in enumerate(_items(last)) if key in at]
    if not rows:
        return {}
    before, after = np.array(rows).T
    return statistics.estimate(
        last.score[after] - first.score[before],
        last.depth[after],
        last.set_id[after],
        bins,
    ).contrasts


def _items(probed: Probed) -> list[tuple[int, int]]:
    return list(zip(probed.set_id.tolist(), probed.position.tolist(), strict=True))
