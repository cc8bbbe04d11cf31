"""What the runs consumed, as text: realised data against requested, and cost."""

import json
from typing import Any

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
            "dropped": _flat(mapping(group["data"], "dropped")),
            "segments": _flat(mapping(group["data"], "segments")),
        }
        for group in groups.values()
    ]


def mapping(tree: Json, key: str) -> Json:
    """A part of data.json, empty where it is missing or no object."""
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def fit(p: Any) -> str:
    """A goodness-of-fit p-value in words."""
    if not isinstance(p, int | float):
        return "no test recorded"
    verdict = "departs from what was requested" if p < 0.01 else "no sign of a departure"
    return f"p {p_value(p)}: {verdict}"


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
