"""Published figures beside what was obtained: `expected` of a run's configuration."""

import math
from dataclasses import dataclass
from typing import Any

from fullcontext.config.expected import ALL
from fullcontext.config.probing import VAL
from fullcontext.report.curves import Outcome, Subject
from fullcontext.report.findings import Findings
from fullcontext.report.groups import Group, spread
from fullcontext.report.statistics import Interval
from fullcontext.report.wording import interval, plus_minus, points

UNMEASURED = "not measured"
NO_END = math.nan


@dataclass(frozen=True, slots=True)
class Figure:
    """One published figure of one group; scores in 0-1."""

    group: Group
    metric: str
    expected: float
    obtained: Interval | None
    """At the last probed step, without ends where there is no interval; None if not measured."""
    spread: float
    """Standard deviation over seeds; nan where it is not known."""

    @property
    def difference(self) -> float | None:
        """Obtained minus expected; None if not measured."""
        return None if self.obtained is None else self.obtained.value - self.expected

    @property
    def task(self) -> str:
        """`document` of probe/document/32768/avg."""
        return self.metric.split("/")[1]

    @property
    def length(self) -> str:
        """Its length in tokens; empty where the name has none."""
        parts = self.metric.split("/")
        return parts[2] if len(parts) == 4 else ""

    @property
    def statistic(self) -> str:
        """`avg` of probe/document/32768/avg."""
        return self.metric.split("/")[-1]


def figures(findings: Findings) -> list[Figure]:
    """The figures of each group in the order of its configuration; empty where none expects any."""
    return [
        Figure(group, str(metric), value / 100, *_obtained(findings, group, str(metric)))
        for group in findings.groups
        for metric, value in _given(findings, group).items()
        if isinstance(value, int | float)
    ]


def obtained(figure: Figure) -> str:
    """`81.3 [78.0, 84.2] ± 1.1`, or that it was not measured."""
    if figure.obtained is None:
        return UNMEASURED
    ends = f" {interval(figure.obtained)}" if math.isfinite(figure.obtained.low) else ""
    return f"{points(figure.obtained.value)}{ends}{plus_minus(figure.spread)}"


def difference(figure: Figure) -> str:
    """The difference in points, with its sign."""
    if figure.difference is None:
        return UNMEASURED
    text = points(figure.difference)
    return f"+{text}" if figure.difference > 0 and text != "0.0" else text


def _given(findings: Findings, group: Group) -> dict[str, Any]:
    given = findings.members(group)[0].config.get("expected")
    return given if isinstance(given, dict) else {}


def _obtained(findings: Findings, group: Group, metric: str) -> tuple[Interval | None, float]:
    """What a group showed of a metric, and its spread over seeds."""
    match metric.split("/"):
        case ["eval", task, name]:
            return _evaluated(findings, group, f"{task}/{name}")
        case ["probe", task, *length, statistic]:
            last = findings.last(group)
            parts = [_probed(last, each, length) for each in (VAL if task == ALL else (task,))]
            found = [each for each in parts if each is not None]
            if len(found) < len(parts):
                return None, math.nan
            values = [_statistic(each, statistic) for each in found]
            if len(values) == 1:
                return values[0], found[0].spread(statistic) if _spreads(statistic) else math.nan
            known = [each.value for each in values if each is not None]
            if len(known) < len(values):
                return None, math.nan
            return Interval(sum(known) / len(known), NO_END, NO_END), math.nan
    return None, math.nan


def _spreads(statistic: str) -> bool:
    return statistic in ("avg", "litm", "strict")


def _probed(last: dict[Subject, Outcome], task: str, length: list[str]) -> Outcome | None:
    """The outcome of a task at a length, or at the only one."""
    fitting = [
        outcome
        for subject, outcome in last.items()
        if subject.task == task and (not length or subject.length == int(length[0]))
    ]
    return fitting[0] if len(fitting) == 1 else None


def _statistic(outcome: Outcome, name: str) -> Interval | None:
    match name:
        case "gap":
            return Interval(outcome.flat.gap, NO_END, NO_END)
        case "worst":
            return Interval(outcome.worst, NO_END, NO_END)
        case "strict":
            strict = outcome.strict.contrasts["avg"] if outcome.strict else None
            return Interval(strict.value, strict.low, strict.high) if strict else None
        case _:
            given = outcome.score.contrasts[name]
            return Interval(given.value, given.low, given.high)


def _evaluated(findings: Findings, group: Group, name: str) -> tuple[Interval | None, float]:
    """A score of evaluate.py: the mean over the group's folders that have it."""
    members = findings.members(group)
    known = [run.evaluated[name] for run in members if name in run.evaluated]
    if not known:
        return None, math.nan
    return Interval(sum(known) / len(known), NO_END, NO_END), spread(known)
