"""The rows of the page as text: what the template shows, without a mark-up of its own."""

from collections import Counter
from typing import Any

from fullcontext.report.curves import Outcome
from fullcontext.report.runs import Run
from fullcontext.report.statistics import CONTRASTS, Interval
from fullcontext.report.table import (
    CELL_LENGTH,
    NOTHING,
    differing,
    few,
    interval,
    last_outcomes,
    listed,
    number,
    points,
    shorten,
    tasks_of,
)

KEY_COLUMNS = 6
"""Differing keys in the summary table; the others follow in a table of their own."""
COMPACT = 8
"""Runs above which the summary table leaves the scores before training to the statistics."""
Json = dict[str, Any]


def lead(runs: list[Run], outcomes: list[Outcome]) -> str:
    """What was compared, in two sentences."""
    verbs = Counter(run.status.verb for run in runs)
    said = {"train": "trained", "probe": "probed only", "unknown": "without a status"}
    order = [verb for verb in said if verb in verbs] + sorted(set(verbs).difference(said))
    kinds = ", ".join(f"{verbs[verb]} {said.get(verb, verb)}" for verb in order)
    tasks = tasks_of(outcomes)
    probed = f", probed on {listed(tasks)}" if tasks else ", without any probe"
    keys = list(differing(runs))
    if len(runs) == 1:
        return f"One run ({said.get(runs[0].status.verb, runs[0].status.verb)}){probed}."
    shown = [*keys[:4], *([f"{len(keys) - 4} more"] if len(keys) > 4 else [])]
    difference = (
        f"They differ in {listed(shown)}." if keys else "Their configurations are the same."
    )
    return f"{len(runs)} runs ({kinds}){probed}. {difference}"


def troubles(runs: list[Run], labels: list[str]) -> list[Json]:
    """Runs that failed or did not finish."""
    return [
        {
            "label": label,
            "state": run.status.state,
            "where": f"step {run.status.step} of {run.status.steps}" if run.status.steps else "",
            "error": run.status.error or "",
        }
        for run, label in zip(runs, labels, strict=True)
        if not run.status.finished
    ]


def summary(runs: list[Run], labels: list[str], outcomes: list[Outcome]) -> Json:
    """The first table: one row a run."""
    tasks = tasks_of(outcomes)
    keys = differing(runs)
    shown, rest = list(keys)[:KEY_COLUMNS], list(keys)[KEY_COLUMNS:]
    rows = []
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        found, first = last_outcomes(outcomes, index), _first_outcomes(outcomes, index)
        rows.append(
            {
                "run": index,
                "label": label,
                "name": run.name,
                "state": run.status.state,
                "finished": run.status.finished,
                "settings": [_setting(keys[key][index]) for key in shown],
                "rest": [_setting(keys[key][index]) for key in rest],
                "loss": number(run.last("loss"), 4),
                "tasks": [_scores(found.get(task), first.get(task)) for task in tasks],
            }
        )
    return {
        "columns": shown,
        "rest": rest,
        "tasks": tasks,
        "n": [_common_n(outcomes, task) for task in tasks],
        "compact": len(runs) > COMPACT,
        "rows": rows,
    }


def claims(runs: list[Run], labels: list[str], outcomes: list[Outcome]) -> list[Json]:
    """What each run was expected to show, beside what was obtained."""
    return [
        {
            "run": index,
            "label": label,
            "claim": str(run.config["claim"]),
            "obtained": _obtained(run, outcomes, index),
        }
        for index, (run, label) in enumerate(zip(runs, labels, strict=True))
        if run.config.get("claim")
    ]


def statistics(outcomes: list[Outcome]) -> list[Json]:
    """All statistics of one task, a row for each run and step and one for each change."""
    rows: list[Json] = []
    for each in outcomes:
        rows.append(
            {
                "run": each.run,
                "label": each.label,
                "step": f"{each.step:,}",
                "items": f"{each.score.items:,} in {each.score.sets}",
                "contrasts": [_interval(each.score.contrasts[key]) for key in CONTRASTS],
                "worst": points(each.worst),
                "gap": points(each.flat.gap),
                "flat": points(each.flat.expected),
                "flat95": points(each.flat.percentile95),
                "p": p_value(each.flat.p_value),
            }
        )
        if each.change:
            changes = [_interval(each.change[key], signed=True) for key in CONTRASTS]
            rows.append({"run": each.run, "label": each.label, "change": changes})
    return rows


def curves(outcomes: list[Outcome]) -> Json:
    """The numbers behind the depth figures of one task."""
    bins = len(outcomes[0].score.curve.mean)
    edges = [f"{bin_ / bins:.2g}–{(bin_ + 1) / bins:.2g}" for bin_ in range(bins)]
    rows = []
    for each in outcomes:
        curve, logp = each.score.curve, each.logp
        cells = [
            {
                "score": points(curve.mean[bin_]),
                "interval": interval(Interval(curve.mean[bin_], curve.low[bin_], curve.high[bin_])),
                "n": int(curve.items[bin_]),
                "logp": number(float(logp.curve.mean[bin_])) if logp else NOTHING,
            }
            for bin_ in range(bins)
        ]
        rows.append({"run": each.run, "label": each.label, "step": each.step, "cells": cells})
    return {"edges": edges, "rows": rows}


def cautions(outcomes: list[Outcome]) -> list[str]:
    """Each caution once, with the curves it holds for."""
    holders: dict[str, list[str]] = {}
    for each in outcomes:
        for caution in each.cautions:
            holders.setdefault(caution, []).append(f"{each.label} at step {each.step}")
    return [
        f"{caution} ({'every curve' if len(names) == len(outcomes) else few(names)})"
        for caution, names in holders.items()
    ]


def p_value(p: float) -> str:
    """A p-value with two digits, never rounded to zero."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _setting(value: str) -> Json:
    return {"short": shorten(value, CELL_LENGTH), "full": value}


def _first_outcomes(outcomes: list[Outcome], run: int) -> dict[str, Outcome]:
    return {each.task: each for each in outcomes if each.run == run and each.before}


def _scores(last: Outcome | None, first: Outcome | None) -> Json | None:
    if last is None:
        return None
    return {
        "avg": _interval(last.score.contrasts["avg"]),
        "litm": _interval(last.score.contrasts["litm"]),
        "before": {key: points(first.score.contrasts[key].value) for key in ("avg", "litm")}
        if first
        else None,
        "gap": points(last.flat.gap),
        "flat": points(last.flat.expected),
        "p": p_value(last.flat.p_value),
        "n": f"{last.score.items:,}",
    }


def _common_n(outcomes: list[Outcome], task: str) -> str:
    """The number of questions where all runs were asked as many."""
    counts = {each.score.items for each in outcomes if each.task == task and not each.before}
    return f"{counts.pop():,}" if len(counts) == 1 else ""


def _interval(given: Interval, *, signed: bool = False) -> Json:
    value = points(given.value)
    sign = "+" if signed and given.value > 0 and value not in ("0.0", NOTHING) else ""
    return {"value": sign + value, "interval": interval(given)}


def _obtained(run: Run, outcomes: list[Outcome], index: int) -> list[Json]:
    found = []
    for task, last in last_outcomes(outcomes, index).items():
        said = []
        for key in ("avg", "litm"):
            given = last.score.contrasts[key]
            text = f"{key} {points(given.value)} {interval(given)}"
            if key in last.change:
                change = _interval(last.change[key], signed=True)
                text += f", changed by {change['value']} {change['interval']}"
            said.append(text)
        found.append({"task": task, "text": "; ".join(said)})
    loss = number(run.last("loss"), 4)
    return found or [{"task": "", "text": f"not probed; final training loss {loss}"}]
