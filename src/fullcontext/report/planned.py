"""What a run was planned to take (plan.json) against what it took."""

from fullcontext.report.findings import Findings
from fullcontext.report.runs import Run
from fullcontext.report.sections import Json
from fullcontext.report.wording import NOTHING, number

Pair = tuple[float | None, float | None]


def against_measured(findings: Findings) -> list[Json]:
    """A row for each run with a plan: planned, measured and the plan's error, quantity by quantity;
    empty if none has one."""
    return [
        {"label": name, "index": group.index, "cells": [_cell(*pair) for pair in pairs(run)]}
        for group in findings.groups
        for run, name in _named(findings, group.runs)
        if run.plan
    ]


QUANTITIES = (
    "tokens a step",
    "FLOPs a step",
    "memory of a rank, GiB",
    "seconds a step",
    "GPU-hours",
)


def pairs(run: Run) -> list[Pair]:
    """(planned, measured) of each of QUANTITIES; None where one is not known."""
    steps, seconds = run.last("step") or run.status.step, run.last("seconds")
    done = float(steps) if steps else None
    step = run.plan.get("step") or {}
    hours = _float(run.plan, "gpu_hours")
    planned_steps = _float(run.plan, "steps")
    share = done / planned_steps if done and planned_steps else None
    return [
        (_float(step, "tokens"), _over(run.last("tokens"), done)),
        (_float(step, "flops_causal"), _flops(run)),
        (_memory(run), max((v for *_, v in run.series("peak_memory_gib")), default=None)),
        (_float(run.plan, "step_seconds"), _over(seconds, done)),
        (
            hours * share if hours is not None and share is not None else None,
            seconds * run.status.ranks / 3600 if seconds else None,
        ),
    ]


def _named(findings: Findings, indices: tuple[int, ...] | list[int]) -> list[tuple[Run, str]]:
    return [(findings.runs[at], findings.names[at]) for at in indices]


def _flops(run: Run) -> float | None:
    """Mean over the logged steps: each has its FLOP/s of a device and its examples a second."""
    size = run.config.get("batch_size")
    if not isinstance(size, int):
        return None
    found = [
        line["flops_per_s"] * run.status.ranks * size / line["examples_per_s"]
        for line in run.metrics
        if line.get("examples_per_s") and "flops_per_s" in line
    ]
    return sum(found) / len(found) if found else None


def _memory(run: Run) -> float | None:
    """On a CPU what is measured is the whole process, so what it had before counts, too."""
    tensors = _float(run.plan, "memory_gib")
    return None if tensors is None else tensors + (_float(run.plan, "process_gib") or 0.0)


def _float(tree: Json, key: str) -> float | None:
    value = tree.get(key)
    return float(value) if isinstance(value, int | float) else None


def _over(total: float | None, steps: float | None) -> float | None:
    return total / steps if total is not None and steps else None


def _cell(planned: float | None, measured: float | None) -> Json:
    error = planned / measured - 1 if planned is not None and measured else None
    return {
        "planned": number(planned, 3),
        "measured": number(measured, 3),
        "error": NOTHING if error is None else f"{100 * error:+.1f} %",
    }
