"""What the runs consumed, as text: realised data against requested, and cost."""

import json

from fullcontext.report.runs import Run
from fullcontext.report.sections import Json, p_value
from fullcontext.report.table import CELL_LENGTH, NOTHING, few, number, shorten


def cost(runs: list[Run], labels: list[str]) -> list[Json]:
    """What each run took; totals at its last logged step, rates as medians of the logged ones."""
    rows = []
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        seconds = run.status.seconds or run.last("seconds")
        rows.append(
            {
                "run": index,
                "label": label,
                "steps": f"{run.status.step:,} of {run.status.steps:,}",
                "examples": number(run.last("examples"), 9),
                "tokens": number(run.last("tokens"), 12),
                "supervised": number(run.last("supervised_tokens"), 12),
                "wall": duration(seconds),
                "rate": _rate(run, "tokens_per_s", "tokens", seconds),
                "supervised_rate": _rate(run, "supervised_per_s", "supervised_tokens", seconds),
            }
        )
    return rows


def data_groups(runs: list[Run], labels: list[str]) -> list[Json]:
    """data.json of the runs, runs with the same data together."""
    groups: dict[str, Json] = {}
    for run, label in zip(runs, labels, strict=True):
        if run.data:
            key = json.dumps(run.data, sort_keys=True)
            groups.setdefault(key, {"labels": [], "data": run.data})["labels"].append(label)
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


def _rate(run: Run, key: str, total: str, seconds: float | None) -> str:
    values = sorted(value for _, _, value in run.series(key))
    if values:
        return number(values[len(values) // 2], 4)
    amount = run.last(total)
    return number(amount / seconds, 4) if amount and seconds else NOTHING


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
