"""plan.py: prints the plan of a run or of a whole sweep."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from fullcontext.config import Format
from fullcontext.plan import hardware, lengths, text
from fullcontext.plan.draft import CPU, Draft, draft
from fullcontext.plan.layouts import cheapest, layouts
from fullcontext.plan.lengths import Sampled
from fullcontext.plan.points import Point, place, points


def run(words: Sequence[str]) -> None:
    """Plans what `train.py WORDS` would run. Raises ConfigError for what does not compose."""
    found = points(words)
    said = _json if found[0].config.plan.format is Format.json else _table
    sys.stdout.write(said(found) + "\n")


def planned(point: Point) -> tuple[Draft, Sampled]:
    """The plan of one point, and the steps it was made from."""
    device = hardware.settled(point.config.hardware, point.profile.name)
    kind = CPU if device.name == CPU else "cuda"
    sampled = lengths.sample(point.config)
    where = place(point.config, point.profile, kind)
    return draft(point.config, where, device, sampled), sampled


def _table(found: list[Point]) -> str:
    if len(found) > 1:
        return "\n".join(_sweep([(point, planned(point)[0]) for point in found]))
    plan, sampled = planned(found[0])
    others = layouts(plan, sampled)
    best = cheapest(others)
    said = [*text.lines(plan, found[0].profile), "", *text.table(others, best)]
    return "\n".join([*said, *(f"warning: {w}" for w in text.warnings(plan, best))])


def _sweep(plans: list[tuple[Point, Draft]]) -> list[str]:
    said = [f"  {'G tokens':>9}  {'FLOPs':>9}  {'GiB':>7}  {'s a step':>8}  {'GPU-hours':>9}"]
    for point, plan in plans:
        hours, step = plan.device_hours, plan.step_seconds
        said.append(
            f"  {plan.tokens / 1e9:>9.4g}  {plan.flops:>9.3g}  {plan.memory.total / 2**30:>7.2f}"
            f"  {_known(step):>8}  {_known(hours):>9}  {' '.join(point.words)}"
        )
    total = _total([plan for _, plan in plans])
    said.append(
        f"  {total['tokens'] / 1e9:>9.4g}  {total['flops']:>9.3g}  {total['memory_gib']:>7.2f}"
        f"  {'':>8}  {_known(total['gpu_hours']):>9}  all {len(plans)} runs"
    )
    return [
        *said,
        *dict.fromkeys(f"warning: {w}" for _, p in plans for w in text.warnings(p, None)),
    ]


def _total(plans: list[Draft]) -> dict[str, Any]:
    """Sums over the runs of a sweep; parameters and memory are the largest of any."""
    hours = [plan.device_hours for plan in plans]
    known = [hour for hour in hours if hour is not None]
    together = sum(known) if len(known) == len(hours) else None
    seconds = [plan.step_seconds for plan in plans if plan.step_seconds is not None]
    return {
        "parameters": max(plan.parameters for plan in plans),
        "tokens": sum(round(plan.tokens) for plan in plans),
        "flops": sum(plan.flops for plan in plans),
        "memory_gib": max(plan.memory.total for plan in plans) / 2**30,
        "step_seconds": max(seconds, default=None),
        "gpu_days": None if together is None else together / 24,
        "gpu_hours": together,
        "runs": len(plans),
    }


def _json(found: list[Point]) -> str:
    if len(found) > 1:
        plans = [(point, planned(point)[0]) for point in found]
        rows = [{"overrides": list(point.words)} | text.record(plan) for point, plan in plans]
        return json.dumps(_total([plan for _, plan in plans]) | {"points": rows}, indent=1)
    plan, sampled = planned(found[0])
    others = layouts(plan, sampled)
    best = cheapest(others)
    made = text.record(plan) | {
        "layouts": [text.layout_record(layout) for layout in others],
        "cheapest": text.layout_record(best) if best else None,
        "warnings": list(text.warnings(plan, best)),
    }
    return json.dumps(made, indent=1)


def _known(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
