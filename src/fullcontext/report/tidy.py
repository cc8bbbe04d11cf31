"""The findings as one tidy CSV: a statistic of a run, a group or an effect in each line."""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from fullcontext.report import expected, statistics
from fullcontext.report.curves import Outcome
from fullcontext.report.findings import Findings
from fullcontext.report.groups import Group
from fullcontext.report.moments import CONTRASTS

START = ("group", "run", "seed")
END = ("task", "length", "step", "statistic", "value", "low", "high", "n", "p")
Row = dict[str, Any]


def write(findings: Findings) -> str:
    """Lines of single runs have a run and a seed; those of a group, over its seeds, have neither.

    Scores are in 0-1; low and high are the ends of the 95 % interval, empty where there is none;
    n counts questions, of a spread the runs. `p` of an effect is the one after Holm.
    """
    text = io.StringIO()
    columns = [*START, *findings.keys, *END]
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for group in findings.groups:
        for row in _rows(findings, group):
            writer.writerow({"group": group.label, **group.settings, **row})
    return text.getvalue()


def _rows(findings: Findings, group: Group) -> Iterator[Row]:
    outcomes = [each for each in findings.outcomes if each.index == group.index]
    for at in group.runs:
        run = {"run": findings.names[at], "seed": findings.seed(at)}
        loss = findings.runs[at].last("loss")
        if loss is not None:
            yield {**run, "statistic": "final train loss", "value": _number(loss)}
        for outcome in outcomes:
            if at in outcome.seeds:
                yield from ({**run, **row} for row in _alone(findings, outcome, at))
    for outcome in outcomes:
        yield from _together(outcome)
    for figure in expected.figures(findings):
        if figure.group.index == group.index:
            yield from _expected(figure)
    yield from _against_baseline(findings, group)


def _against_baseline(findings: Findings, group: Group) -> Iterator[Row]:
    for effect in findings.effects:
        if effect.group.index == group.index and effect.found is not None:
            where = {"task": effect.subject.task, "length": effect.subject.length or ""}
            for key, p in effect.adjusted.items():
                statistic = f"{key} minus {findings.baseline.label}"
                given = effect.found.contrasts[key]
                row = _statistic(statistic, given, effect.found.items)
                yield {**where, **row, "p": _number(p)}


def _alone(findings: Findings, outcome: Outcome, at: int) -> Iterator[Row]:
    """The statistics of one run of a group."""
    found = outcome.score
    if len(outcome.seeds) > 1:
        where = (outcome.subject.task, outcome.subject.length, outcome.step)
        probed = next(
            each
            for each in findings.runs[at].probed
            if (each.task, each.length, each.step) == where
        )
        found = statistics.estimate(probed.score, probed.depth, probed.set_id, findings.bins)
    for key in CONTRASTS:
        yield _where(outcome) | _statistic(key, found.contrasts[key], found.items)
    if math.isfinite(outcome.seeds[at]["strict"]):
        strict = {"statistic": "strict avg", "value": _number(outcome.seeds[at]["strict"])}
        yield _where(outcome) | strict | {"n": found.items}


def _together(outcome: Outcome) -> Iterator[Row]:
    """The statistics of a group, over its seeds."""
    where, n = _where(outcome), outcome.score.items
    for key in CONTRASTS:
        yield where | _statistic(key, outcome.score.contrasts[key], n)
    if outcome.strict is not None:
        yield where | _statistic(
            "strict avg", outcome.strict.contrasts["avg"], outcome.strict.items
        )
    for key in ("avg", "litm"):
        if math.isfinite(outcome.spread(key)):
            spread = {"statistic": f"sd of {key} over seeds", "value": _number(outcome.spread(key))}
            yield where | spread | {"n": len(outcome.seeds)}
    plain = {
        "gap": (outcome.flat.gap, outcome.flat.p_value),
        "gap of a flat curve": (outcome.flat.expected, math.nan),
        "cross-fit gap": (outcome.cross.gap, math.nan),
        "cross-fit worst": (outcome.cross.worst, math.nan),
    }
    for name, (value, p) in plain.items():
        yield where | {"statistic": name, "value": _number(value), "n": n, "p": _number(p)}
    for key, given in outcome.change.items():
        yield where | _statistic(f"change of {key}", given, n)
    curve = outcome.score.curve
    for at, mean in enumerate(curve.mean):
        name = f"depth bin {at + 1} of {len(curve.mean)}"
        ends = statistics.Interval(float(mean), float(curve.low[at]), float(curve.high[at]))
        yield where | _statistic(name, ends, int(curve.items[at]))


def _expected(figure: expected.Figure) -> Iterator[Row]:
    """A published figure, and what was obtained minus it."""
    where = {"task": figure.task, "length": figure.length}
    yield where | {
        "statistic": f"expected {figure.statistic}",
        "value": _number(figure.expected),
    }
    missing = figure.difference is None
    difference = expected.UNMEASURED if missing else _number(figure.difference or 0.0)
    yield where | {"statistic": f"{figure.statistic} minus expected", "value": difference}


def _where(outcome: Outcome) -> Row:
    subject = outcome.subject
    return {"task": subject.task, "length": subject.length or "", "step": outcome.step}


def _statistic(name: str, given: Any, n: int) -> Row:
    ends = {"low": _number(given.low), "high": _number(given.high)}
    return {"statistic": name, "value": _number(given.value), **ends, "n": n}


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
