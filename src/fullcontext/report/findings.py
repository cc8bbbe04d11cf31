"""All that a report says, before it is written as a page or a table."""

import math
from dataclasses import dataclass

from fullcontext.report import curves, effects, groups
from fullcontext.report.curves import Outcome, Subject
from fullcontext.report.effects import Effect
from fullcontext.report.groups import Group
from fullcontext.report.runs import Run
from fullcontext.report.wording import LABEL_LENGTH, shorten


@dataclass(frozen=True, slots=True)
class Findings:
    """Runs in groups, what they showed, and against which of them."""

    runs: list[Run]
    names: list[str]
    """A short and unique name for each run."""
    groups: list[Group]
    baseline: Group
    bins: int
    outcomes: list[Outcome]
    """By task, length, group and step."""
    effects: list[Effect]

    @property
    def subjects(self) -> list[Subject]:
        """The tasks and lengths, in their order on the page."""
        return list(dict.fromkeys(each.subject for each in self.outcomes))

    @property
    def tasks(self) -> list[str]:
        """The tasks, in their order on the page."""
        return list(dict.fromkeys(each.task for each in self.subjects))

    @property
    def keys(self) -> list[str]:
        """The config keys that differ between groups."""
        return list(self.groups[0].settings)

    def of(self, subject: Subject) -> list[Outcome]:
        """The outcomes on a task at a length."""
        return [each for each in self.outcomes if each.subject == subject]

    def last(self, group: Group) -> dict[Subject, Outcome]:
        """What a group showed when it was last probed."""
        return {
            each.subject: each
            for each in self.outcomes
            if each.index == group.index and not each.before
        }

    def first(self, group: Group) -> dict[Subject, Outcome]:
        """What a group showed at the first of two probed steps."""
        return {
            each.subject: each
            for each in self.outcomes
            if each.index == group.index and each.before
        }

    def members(self, group: Group) -> list[Run]:
        """The runs of a group."""
        return [self.runs[at] for at in group.runs]

    def final(self, group: Group, key: str) -> tuple[float, float, int]:
        """Mean of a metric's last value over the runs of a group, its spread, and their number."""
        values = [each for run in self.members(group) if (each := run.last(key)) is not None]
        mean = sum(values) / len(values) if values else math.nan
        return mean, groups.spread(values), len(values)

    def seed(self, run: int) -> str:
        """The seed of a run; empty where it has none."""
        seed = self.runs[run].config.get("seed")
        return "" if seed is None else str(seed)


def find(
    runs: list[Run], *, baseline: str | None, permutations: int, seed: int, by_value: bool = False
) -> Findings:
    """Groups the runs, measures them and compares them with the baseline.

    Raises ConfigError where `baseline` is none of them.
    """
    found = groups.group(runs, by_value=by_value)
    chosen = groups.find(found, runs, baseline)
    bins = curves.common_bins(runs)
    outcomes = curves.measure(runs, found, bins, permutations, seed)
    return Findings(
        runs=runs,
        names=groups.unique([shorten(run.name, LABEL_LENGTH) for run in runs]),
        groups=found,
        baseline=chosen,
        bins=bins,
        outcomes=outcomes,
        effects=effects.measure(outcomes, chosen, bins, permutations, seed),
    )
