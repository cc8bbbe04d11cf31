"""Answers of groups of runs -> the outcome of each on each task, length and step."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullcontext.config import TASKS
from fullcontext.report import comparison, statistics
from fullcontext.report.answers import Probed
from fullcontext.report.crossfit import CrossFit, cross_fit
from fullcontext.report.groups import Group, spread
from fullcontext.report.runs import Run
from fullcontext.report.statistics import Counts
from fullcontext.report.wording import tokens

DEFAULT_BINS = 10
"""Depth bins where no run says how many."""
SPLITS = 200
"""Halvings behind a cross-fit gap."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scored: a task at one length. Lengths are never pooled."""

    task: str
    length: int
    """Tokens that were asked for; 0 where the answers do not say."""
    alone: bool
    """The task was probed at this length only."""

    @property
    def title(self) -> str:
        """The task, and its length where there are several."""
        return self.task if self.alone else f"{self.task} at {tokens(self.length)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one group showed on one task at one length and step; scores in 0-1.

    Several seeds enter as the mean score of each question that they share.
    """

    group: Group
    subject: Subject
    step: int
    before: bool
    """The first of two probed steps."""
    score: statistics.Estimate
    strict: statistics.Estimate | None
    """Of the strict score; None where it was not scored."""
    flat: statistics.FlatGap
    cross: CrossFit
    """Gap and worst bin without the luck of having been chosen."""
    worst: float
    logp: statistics.Estimate | None
    """Mean gold log-probability, a diagnostic; None where it was not written."""
    change: dict[str, comparison.Difference]
    """Contrasts of this minus the first probed step, paired by item; empty for the first."""
    seeds: dict[int, dict[str, float]]
    """Run -> avg, litm and strict avg of the run alone."""
    items: Probed
    """The answers behind it."""

    @property
    def label(self) -> str:
        return self.group.label

    @property
    def index(self) -> int:
        return self.group.index

    @property
    def context_tokens(self) -> int:
        """Longest probed context."""
        return int(self.items.context_tokens.max())

    @property
    def cautions(self) -> list[str]:
        found = statistics.cautions(self.score.curve.items, self.score.sets)
        if len(self.seeds) < self.group.seeds:
            found.append(f"{len(self.seeds)} of {self.group.seeds} runs were probed at this step")
        return found

    def spread(self, key: str) -> float:
        """Standard deviation over the seeds of "avg", "litm" or "strict"; nan for one."""
        return spread([each[key] for each in self.seeds.values()])


def common_bins(runs: list[Run]) -> int:
    """Depth bins of the page: the fewest that any run asks for, so that none is spread thinner."""
    asked = [_probe(run).get("bins") for run in runs if run.probed]
    given = [bins for bins in asked if isinstance(bins, int) and bins >= 3]
    return min(given, default=DEFAULT_BINS)


def _probe(run: Run) -> dict[str, Any]:
    probe = run.config.get("probe")
    return probe if isinstance(probe, dict) else {}


def measure(
    runs: list[Run], groups: list[Group], bins: int, permutations: int, seed: int
) -> list[Outcome]:
    """First and last probed step of every group, by task (as in TASKS), length, group and step.

    Randomness depends on the seed and the task alone: the numbers of a group are the same whatever
    else is on the page.
    """
    measured = _Measure(bins, permutations, seed)
    found: list[Outcome] = []
    for subject in subjects(runs):
        for group in groups:
            ends = _ends(runs, group, subject)
            for step, probed in ends.items():
                first = None if len(ends) == 1 else next(iter(ends.values()))
                found.append(measured.outcome(group, subject, step, probed, first))
    return found


def subjects(runs: list[Run]) -> list[Subject]:
    """The tasks and lengths that were probed, tasks as in TASKS, lengths rising."""
    lengths: dict[str, set[int]] = {}
    for run in runs:
        for probed in run.probed:
            lengths.setdefault(probed.task, set()).add(probed.length)
    tasks = [task for task in TASKS if task in lengths] + sorted(set(lengths).difference(TASKS))
    return [
        Subject(task, length, len(lengths[task]) == 1)
        for task in tasks
        for length in sorted(lengths[task])
    ]


Seeds = dict[int, Probed]
"""Run -> its answers at one step."""


def _ends(runs: list[Run], group: Group, subject: Subject) -> dict[int, Seeds]:
    """First and last step that any run of the group was probed at, with those that were."""
    given: dict[int, Seeds] = {}
    for at in group.runs:
        for probed in runs[at].probed:
            if (probed.task, probed.length) == (subject.task, subject.length):
                given.setdefault(probed.step, {})[at] = probed
    return {step: given[step] for step in sorted({min(given), max(given)})} if given else {}


@dataclass(frozen=True, slots=True)
class _Measure:
    """How everything on a page is measured."""

    bins: int
    permutations: int
    seed: int

    def outcome(
        self, group: Group, subject: Subject, step: int, seeds: Seeds, first: Seeds | None
    ) -> Outcome:
        probed = pooled(list(seeds.values()))
        before = first is seeds
        arrays = (probed.score, probed.depth, probed.set_id)
        return Outcome(
            group=group,
            subject=subject,
            step=step,
            before=before,
            score=statistics.estimate(*arrays, self.bins),
            strict=_known(probed, "strict", self.bins),
            flat=statistics.flat_gap(*arrays, self.bins, self.permutations, self._rng(subject)),
            cross=cross_fit(*arrays, self.bins, SPLITS, self._rng(subject)),
            worst=statistics.summary(*arrays, self.bins)["worst"],
            logp=_known(probed, "mean_logp", self.bins),
            change=self._change(pooled(list(first.values())), probed, subject)
            if first and not before
            else {},
            seeds={run: self._alone(each) for run, each in seeds.items()},
            items=probed,
        )

    def _alone(self, probed: Probed) -> dict[str, float]:
        found = statistics.summary(probed.score, probed.depth, probed.set_id, self.bins)
        strict = probed.strict[np.isfinite(probed.strict)]
        return {
            "avg": found["avg"],
            "litm": found["litm"],
            "strict": float(strict.mean()) if len(strict) else np.nan,
        }

    def _change(
        self, first: Probed, last: Probed, subject: Subject
    ) -> dict[str, comparison.Difference]:
        found = compare(first, last, self.bins, self.permutations, self._rng(subject))
        return found.contrasts if found else {}

    def _rng(self, subject: Subject) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(subject.task.encode())])


def _known(probed: Probed, key: str, bins: int) -> statistics.Estimate | None:
    """The estimate of another column than the score, of the answers that have it."""
    values = getattr(probed, key)
    known = np.isfinite(values)
    if not known.any():
        return None
    return statistics.estimate(values[known], probed.depth[known], probed.set_id[known], bins)


def pooled(seeds: list[Probed]) -> Probed:
    """Runs of one group: the mean of each question that they share, contexts numbered anew.

    Seeds that were asked other questions add contexts instead of answers to the same ones.
    """
    if len(seeds) == 1:
        return seeds[0]
    joined = Probed(
        **{
            name: np.concatenate([getattr(each, name) for each in seeds])
            for name in ("score", "strict", "depth", "distance", "set_id", "position", "question")
        },
        context=np.concatenate([each.context for each in seeds]),
        mean_logp=np.concatenate([each.mean_logp for each in seeds]),
        context_tokens=np.concatenate([each.context_tokens for each in seeds]),
        task=seeds[0].task,
        length=seeds[0].length,
        step=seeds[0].step,
        window=max(each.window for each in seeds),
    )
    _, first, item, times = np.unique(
        _identity(joined), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    kept = joined.kept(first)
    for name in ("score", "strict", "mean_logp"):
        getattr(kept, name)[:] = np.bincount(item.ravel(), getattr(joined, name)) / times
    kept.set_id[:] = np.unique(kept.context, return_inverse=True)[1]
    return kept


def compare(
    one: Probed, other: Probed, bins: int, permutations: int, rng: np.random.Generator
) -> comparison.Comparison | None:
    """The other minus the one over the questions that both answered; None if there are none.

    The same set and position hold other questions in other seeds: the question itself counts.
    """
    at = {tuple(key): row for row, key in enumerate(_identity(one).tolist())}
    shared = [
        (at[tuple(key)], row)
        for row, key in enumerate(_identity(other).tolist())
        if tuple(key) in at
    ]
    if not shared:
        return None
    samples = [
        comparison.Sample(
            score=probed.score[rows],
            depth=probed.depth[rows],
            set_id=probed.context[rows],
            position=np.arange(len(rows)),
            length=np.full(len(rows), probed.length),
        )
        for probed, rows in zip((one, other), np.array(shared).T, strict=True)
    ]
    return comparison.compare(samples[0], samples[1], bins, permutations, rng)


def _identity(probed: Probed) -> Counts:
    """What makes a question the same in two runs, shape (items, 3)."""
    return np.stack([probed.context, probed.position, probed.question], axis=1)
