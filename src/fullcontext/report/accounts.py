"""What the runs consumed, as text: realised data against requested, and cost."""

import json
from collections.abc import Sequence

from fullcontext.report.findings import Findings
from fullcontext.report.runs import Run
from fullcontext.report.sections import Json
from fullcontext.report.wording import CELL_LENGTH, NOTHING, few, number, p_value, shorten


def cost(findings: Findings) -> Json:
    """What each group took, a mean of its runs; hours are sums, with a row for all."""
    rows = [_cost(findings.members(group)) for group in findings.groups]
    named = [
        {"index": group.index, "label": group.label, "runs": len(group.runs), **row}
        for group, row in zip(findings.groups, rows, strict=True)
    ]
    utilised = any(row["mfu"] != NOTHING for row in rows)
    return {"rows": named, "mfu": utilised, "total": device_hours(findings.runs)}


def _cost(runs: list[Run]) -> Json:
    seconds = [run.status.seconds or run.last("seconds") or 0.0 for run in runs]
    steps = sorted({f"{run.status.step:,} of {run.status.steps:,}" for run in runs})
    return {
        "steps": steps[0] if len(steps) == 1 else f"{len(steps)} different",
        "examples": number(_mean([run.last("examples") for run in runs]), 9),
        "tokens": number(_mean([run.last("tokens") for run in runs]), 12),
        "supervised": number(_mean([run.last("supervised_tokens") for run in runs]), 12),
        "wall": duration(_mean(seconds)),
        "hours": device_hours(runs),
        "rate": number(_mean([_rate(run, "tokens_per_s", "tokens") for run in runs]), 4),
        "supervised_rate": number(
            _mean([_rate(run, "supervised_per_s", "supervised_tokens") for run in runs]), 4
        ),
        "mfu": _percent(_mean([_median(run, "mfu") for run in runs])),
    }


def device_hours(runs: list[Run]) -> str:
    """Seconds times ranks, in hours, by what the ranks computed on."""
    hours: dict[str, float] = {}
    for run in runs:
        seconds = run.status.seconds or run.last("seconds") or 0.0
        unit = {"cuda": "GPU", "cpu": "CPU"}.get(run.status.device, "device")
        hours[unit] = hours.get(unit, 0.0) + seconds * run.status.ranks / 3600
    known = [f"{number(amount, 3)} {unit}-h" for unit, amount in hours.items() if amount]
    return " + ".join(known) or NOTHING


SHOWN_DATA = 4
"""Groups whose data are shown."""


def data_groups(findings: Findings) -> list[Json]:
    """data.json of the first run of each group, those with the same data together."""
    groups: dict[str, Json] = {}
    for group in findings.groups:
        data = next((run.data for run in findings.members(group) if run.data), None)
        if data:
            key = json.dumps(data, sort_keys=True)
            groups.setdefault(key, {"labels": [], "data": data})["labels"].append(group.label)
    return [
        {
            "labels": few(group["labels"], 6),
            "data": group["data"],
            "sources": _sources(mapping(group["data"], "sources")),
            "amounts": _amounts(group["data"]),
            "dropped": _flat(mapping(group["data"], "dropped")),
            "segments": _flat(mapping(group["data"], "segments")),
        }
        for group in groups.values()
    ]


def mapping(tree: Json, key: str) -> Json:
    """A part of data.json, empty where it is missing or no object."""
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


ANSWERS = "The line is a random sample of the questions there are; bins grow with the length."


def fits(given: Json, law: str) -> str:
    """The law of "length" or "depth" of data.json, and its goodness-of-fit tests in words."""
    known = {
        name: given[key]
        for key, name in (("p_value", "chi-square"), ("ks_p_value", "Kolmogorov-Smirnov"))
        if isinstance(given.get(key), int | float)
    }
    found = f"{law} {given.get(law, 'unknown')}. "
    if not known:
        return found + "No test recorded."
    departs = min(known.values()) < 0.01
    verdict = "departs from what was requested" if departs else "no sign of a departure"
    return found + ", ".join(f"{n}: p {p_value(p)}" for n, p in known.items()) + f": {verdict}."


def duration(seconds: float | None) -> str:
    """Wall time in the unit a person would choose."""
    if not seconds:
        return NOTHING
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _rate(run: Run, key: str, total: str) -> float | None:
    seconds, amount = run.status.seconds or run.last("seconds"), run.last(total)
    return _median(run, key) or (amount / seconds if amount and seconds else None)


def _median(run: Run, key: str) -> float | None:
    values = sorted(value for _, _, value in run.series(key))
    return values[len(values) // 2] if values else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _sources(sources: Json) -> list[Json]:
    """One row a kind of question: requested against realised shares and amounts."""
    rows = {kind: source for kind, source in sources.items() if isinstance(source, dict)}
    totals = {
        key: sum(_amount(source, key) for source in rows.values())
        for key in ("ratio_requested", "examples", "tokens", "supervised_tokens")
    }
    found = []
    for kind, source in rows.items():
        examples = _amount(source, "examples")
        asked = _share(source, "ratio_requested", totals)
        found.append(
            {
                "kind": kind.replace("_", " "),
                "requested": f"{asked * totals['examples']:,.0f}",
                "requested_share": f"{100 * asked:.1f} %",
                "examples": f"{examples:,.0f}",
                "examples_share": f"{100 * _share(source, 'examples', totals):.1f} %",
                "tokens": f"{_amount(source, 'tokens'):,.0f}",
                "tokens_share": f"{100 * _share(source, 'tokens', totals):.1f} %",
                "supervised": f"{_amount(source, 'supervised_tokens'):,.0f}",
                "supervised_share": f"{100 * _share(source, 'supervised_tokens', totals):.1f} %",
                "pool": number(_amount(source, "pool") if "pool" in source else None, 12),
                "passes": number(_amount(source, "passes") if "passes" in source else None),
            }
        )
    return found


SHOWN = 12
"""Sources in the table of sources; the others are added up."""
_TABLES = {
    "by_length": ("By length of the context", "tokens"),
    "by_depth": ("By depth of the evidence", "depth"),
    "by_evidence": ("By evidence segments", "segments"),
    "by_source": ("By source of the text", "source"),
}
_COLUMNS = ("examples", "tokens", "supervised_tokens")


def _amounts(data: Json) -> list[Json]:
    """A table for each way in which data.json divides what was trained on, if it divides it."""
    found = []
    for key, (title, column) in _TABLES.items():
        given = {n: each for n, each in mapping(data, key).items() if isinstance(each, dict)}
        if len(given) < 2:
            continue
        totals = {name: sum(_amount(each, name) for each in given.values()) for name in _COLUMNS}
        shown = dict(list(given.items())[:SHOWN])
        note = ""
        if len(given) > len(shown):
            rest = [each for name, each in given.items() if name not in shown]
            shown["others"] = {n: sum(_amount(each, n) for each in rest) for n in _COLUMNS}
            note = f" The {SHOWN} largest of {len(given)}; data.json has them all."
        rows = [
            {
                "name": name,
                "cells": [
                    {
                        "value": f"{_amount(each, column_):,.0f}",
                        "share": f"{100 * _share(each, column_, totals):.1f} %",
                    }
                    for column_ in _COLUMNS
                ],
            }
            for name, each in shown.items()
        ]
        found.append({"title": title, "column": column, "note": note, "rows": rows})
    return found


def _amount(source: Json, key: str) -> float:
    value = source.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _share(source: Json, key: str, totals: dict[str, float]) -> float:
    return _amount(source, key) / totals[key] if totals[key] else 0.0


def _flat(tree: Json, prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, dict):
            found += _flat(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((name, f"{value:,}" if isinstance(value, int) else number(value, 4)))
        else:
            found.append((name, shorten(str(value), CELL_LENGTH)))
    return found
