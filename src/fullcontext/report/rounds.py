"""What rounds of improve.py found: how often answers were right, and where lengths go."""

import math
from typing import Any

from fullcontext.report.findings import Findings
from fullcontext.report.runs import Run
from fullcontext.report.wording import NOTHING, points

RIGHT = ("greedy", "random", "chosen", "rejected")
"""Whose share of right answers is shown; `random` is the mean over all drawn ones."""
GAPS = ("chosen_minus_random", "chosen_minus_rejected")


def table(findings: Findings) -> list[dict[str, Any]]:
    """A row for each round of each run of improve.py; empty where there is none."""
    return [
        _row(name, line)
        for run, name in zip(findings.runs, findings.names, strict=True)
        for line in _rounds(run)
    ]


def _rounds(run: Run) -> list[dict[str, float]]:
    if run.status.verb != "improve":
        return []
    return [line for line in run.metrics if "pairs" in line]


def _row(name: str, line: dict[str, float]) -> dict[str, Any]:
    tokens = line.get("tokens/greedy", line.get("tokens/outputs"))
    return {
        "name": name,
        "round": int(line["step"]),
        "pairs": f"{line['pairs']:,.0f}",
        "dropped": f"{line['dropped']:,.0f}",
        "right": [points(line.get(f"right/{key}", math.nan)) for key in RIGHT],
        "gaps": [_gap(line, f"gap/{key}") for key in GAPS],
        "tokens": NOTHING if tokens is None else f"{tokens:,.1f}",
        "longer": f"{line['length/chosen']:+.1%}" if "length/chosen" in line else NOTHING,
    }


def _gap(line: dict[str, float], key: str) -> dict[str, str]:
    if key not in line:
        return {"value": NOTHING, "interval": ""}
    low, high = (f"{100 * line[f'{key}/{end}']:+.1f}" for end in ("low", "high"))
    return {"value": f"{100 * line[key]:+.1f}", "interval": f"{low}, {high}"}
