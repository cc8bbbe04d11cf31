"""The rows of the page as text: what the template shows, without a mark-up of its own."""

from collections import Counter
from typing import Any

from fullcontext.report.curves import Outcome, Subject
from fullcontext.report.effects import COMPARED, Effect
from fullcontext.report.findings import Findings
from fullcontext.report.groups import Group, short_key
from fullcontext.report.moments import CONTRASTS
from fullcontext.report.statistics import Interval
from fullcontext.report.table import has_strict, loss, state
from fullcontext.report.wording import (
    CELL_LENGTH,
    NOTHING,
    few,
    interval,
    listed,
    number,
    p_value,
    plus_minus,
    points,
    shorten,
    signed,
)

KEY_COLUMNS = 6
"""Differing keys in the summary table; the others follow in a table of their own."""
COMPACT = 8
"""Groups above which the summary table leaves scores before training to the statistics."""
Json = dict[str, Any]


def lead(findings: Findings) -> str:
    """What was compared, in two sentences."""
    runs = findings.runs
    verbs = Counter(run.status.verb for run in runs)
    said = {"train": "trained", "probe": "probed only", "unknown": "without a status"}
    order = [verb for verb in said if verb in verbs] + sorted(set(verbs).difference(said))
    kinds = ", ".join(f"{verbs[verb]} {said.get(verb, verb)}" for verb in order)
    tasks = findings.tasks
    probed = f", probed on {listed(tasks)}" if tasks else ", without any probe"
    if len(runs) == 1:
        return f"One run ({said.get(runs[0].status.verb, runs[0].status.verb)}){probed}."
    count = len(findings.groups)
    alike = f" in {count} groups, each of one configuration" * (count < len(runs))
    if count == 1:
        return f"{len(runs)} runs ({kinds}){probed}. They differ in their seed alone."
    keys = findings.keys
    shown = [*keys[:4], *([f"{len(keys) - 4} more"] if len(keys) > 4 else [])]
    who = "The groups" if alike else "They"
    same = "Their configurations are the same."
    difference = f"{who} differ in {listed(shown)}." if keys else same
    return f"{len(runs)} runs ({kinds}){alike}{probed}. {difference}"


def troubles(findings: Findings) -> list[Json]:
    """Runs that failed or did not finish."""
    return [
        {
            "label": name,
            "state": run.status.state,
            "where": f"step {run.status.step} of {run.status.steps}" if run.status.steps else "",
            "error": run.status.error or "",
        }
        for run, name in zip(findings.runs, findings.names, strict=True)
        if not run.status.finished
    ]


def summary(findings: Findings) -> Json:
    """The first table: one row a group."""
    subjects, keys = findings.subjects, findings.keys
    strict = {each: has_strict(findings, each) for each in subjects}
    rows = []
    for group in findings.groups:
        found, first = findings.last(group), findings.first(group)
        settings = [_setting(value) for value in group.settings.values()]
        rows.append(
            {
                "index": group.index,
                "label": group.label,
                "baseline": len(findings.groups) > 1 and group.index == findings.baseline.index,
                "names": few(sorted({run.name for run in findings.members(group)}), 6),
                "state": state(findings, group),
                "finished": all(run.status.finished for run in findings.members(group)),
                "runs": len(group.runs),
                "settings": settings[:KEY_COLUMNS],
                "rest": settings[KEY_COLUMNS:],
                "loss": loss(findings, group),
                "cells": [_scores(found.get(each), first.get(each)) for each in subjects],
            }
        )
    return {
        "columns": [{"short": short_key(key, keys), "full": key} for key in keys[:KEY_COLUMNS]],
        "rest": keys[KEY_COLUMNS:],
        "subjects": [
            {"title": each.title, "n": _common_n(findings, each), "strict": strict[each]}
            for each in subjects
        ],
        "seeds": len(findings.runs) > len(findings.groups),
        "compact": len(findings.groups) > COMPACT,
        "rows": rows,
    }


def claims(findings: Findings) -> list[Json]:
    """What each group was expected to show, beside what was obtained."""
    found = []
    for group in findings.groups:
        claim = findings.members(group)[0].config.get("claim")
        if claim:
            obtained = _obtained(findings, group)
            given = {"index": group.index, "label": group.label, "claim": str(claim)}
            found.append({**given, "obtained": obtained})
    return found


def effects(findings: Findings) -> Json | None:
    """Each group minus the baseline; None where nothing could be compared."""
    if not findings.effects:
        return None
    subjects = list(dict.fromkeys(each.subject for each in findings.effects))
    rows = []
    for group in findings.groups:
        found = {each.subject: each for each in findings.effects if each.group is group}
        if found:
            cells = [cell for each in subjects for cell in _effect(found.get(each))]
            rows.append({"index": group.index, "label": group.label, "cells": cells})
    return {
        "baseline": findings.baseline.label,
        "subjects": [each.title for each in subjects],
        "tests": sum(len(COMPARED) for each in findings.effects if each.found is not None),
        "contexts": _range([each.found.sets for each in findings.effects if each.found]),
        "rows": rows,
    }


def statistics(outcomes: list[Outcome]) -> list[Json]:
    """All statistics of one subject, a row for each group and step and one for each change."""
    rows: list[Json] = []
    for each in outcomes:
        strict = each.strict.contrasts["avg"] if each.strict else None
        rows.append(
            {
                "index": each.index,
                "label": each.label,
                "step": f"{each.step:,}",
                "items": f"{each.score.items:,} in {each.score.sets}",
                "contrasts": [_interval(each.score.contrasts[key]) for key in CONTRASTS],
                "strict": _interval(strict) if strict else None,
                "worst": points(each.worst),
                "gap": points(each.flat.gap),
                "cross": points(each.cross.gap),
                "flat": points(each.flat.expected),
                "flat95": points(each.flat.percentile95),
                "p": p_value(each.flat.p_value),
            }
        )
        if each.change:
            changes = [
                {"value": signed(each.change[key]), "interval": interval(each.change[key])}
                for key in CONTRASTS
            ]
            rows.append({"index": each.index, "label": each.label, "change": changes})
    return rows


def curves(outcomes: list[Outcome]) -> Json:
    """The numbers behind the depth figures of one subject."""
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
        rows.append({"index": each.index, "label": each.label, "step": each.step, "cells": cells})
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


def logged(findings: Findings) -> Json | None:
    """Probe scores as they were logged, of groups without answers; None where all have some."""
    bare = [group for group in findings.groups if not findings.last(group)]
    keys = sorted(
        {
            key
            for group in bare
            for run in findings.members(group)
            for key in (run.metrics[-1] if run.metrics else {})
            if key.startswith(("probe/", "eval/")) and not key.endswith(("/n", "/gap", "/worst"))
        }
    )
    if not keys:
        return None
    rows = [
        {
            "index": group.index,
            "label": group.label,
            "cells": [_logged(findings, group, key) for key in keys],
        }
        for group in bare
    ]
    return {"keys": keys, "rows": rows}


def _logged(findings: Findings, group: Group, key: str) -> str:
    mean, spread, _ = findings.final(group, key)
    return number(mean, 4) + plus_minus(spread, 2)


def _setting(value: str) -> Json:
    return {"short": shorten(value, CELL_LENGTH), "full": value}


def _scores(last: Outcome | None, first: Outcome | None) -> Json | None:
    if last is None:
        return None
    before = None
    if first:
        before = {key: points(first.score.contrasts[key].value) for key in ("avg", "litm")}
    found = {
        key: _interval(last.score.contrasts[key]) | {"spread": plus_minus(last.spread(key))}
        for key in ("avg", "litm")
    }
    strict = last.strict.contrasts["avg"] if last.strict else None
    if strict is not None:
        found["strict"] = _interval(strict) | {"spread": plus_minus(last.spread("strict"))}
    return {
        **found,
        "before": before,
        "gap": points(last.flat.gap),
        "flat": points(last.flat.expected),
        "p": p_value(last.flat.p_value),
        "n": f"{last.score.items:,}",
    }


def _common_n(findings: Findings, subject: Subject) -> str:
    """The number of questions where all groups were asked as many."""
    counts = {each.score.items for each in findings.of(subject) if not each.before}
    return f"{counts.pop():,}" if len(counts) == 1 else ""


def _interval(given: Interval) -> Json:
    return {"value": points(given.value), "interval": interval(given)}


def _effect(effect: Effect | None) -> list[Json | None]:
    if effect is None or effect.found is None:
        return [None] * len(COMPARED)
    return [
        {
            "value": signed(effect.found.contrasts[key]),
            "interval": interval(effect.found.contrasts[key]),
            "p": p_value(effect.adjusted[key]),
            "below": effect.adjusted[key] < 0.05,
        }
        for key in COMPARED
    ]


def _range(values: list[int]) -> str:
    ends = dict.fromkeys((min(values), max(values))) if values else {}
    return "–".join(str(each) for each in ends)


def _obtained(findings: Findings, group: Group) -> list[Json]:
    found = []
    for subject, last in findings.last(group).items():
        said = []
        for key in ("avg", "litm"):
            given = last.score.contrasts[key]
            text = f"{key} {points(given.value)} {interval(given)}"
            if key in last.change:
                change = last.change[key]
                text += f", changed by {signed(change)} {interval(change)}"
            said.append(text)
        found.append({"task": subject.title, "text": "; ".join(said)})
    text = f"not probed; final training loss {loss(findings, group)}"
    return found or [{"task": "", "text": text}]
