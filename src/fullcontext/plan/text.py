"""A plan as JSON and as what a person reads."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from fullcontext.plan import costs, points
from fullcontext.plan.draft import Draft
from fullcontext.plan.layouts import Layout
from fullcontext.plan.memory import GIB

UNKNOWN = "unknown"


def record(plan: Draft) -> dict[str, Any]:
    """One JSON object: what a run takes in all, then what that is made of."""
    hours = plan.device_hours
    return {
        "parameters": plan.parameters,
        "trained_parameters": plan.trained,
        "tokens": round(plan.tokens),
        "flops": plan.flops,
        "memory_gib": round(plan.memory.total / GIB, 4),
        "step_seconds": plan.step_seconds,
        "gpu_days": None if hours is None else hours / 24,
        "gpu_hours": hours,
        "reference_gpu_hours": plan.reference_hours,
        "mfu": plan.mfu,
        "steps": plan.steps,
        "gpus": plan.place.ranks,
        "hardware": plan.hardware.name,
        "fits": plan.fits,
        "lengths": plan.source,
        "flops_relative_error": plan.error,
        "step": {
            "tokens": plan.tokens_step,
            "supervised_tokens": plan.supervised_step,
            "micro_batches": plan.rounds,
            "flops_causal": plan.work.causal,
            "flops_full": plan.work.full,
            "flops_executed": asdict(plan.executed),
        },
        "memory": {
            "moment": plan.memory.moment,
            "parts_gib": _gib(plan.memory.parts),
            "host_gib": _gib(plan.memory.host),
            "room_gib": None if plan.room is None else plan.room / GIB,
        },
        "roofline_seconds": None if plan.pace is None else asdict(plan.pace),
        **_beside(plan),
    }


def _beside(plan: Draft) -> dict[str, Any]:
    """Disk, questions, energy and money."""
    hours, storage, asked = plan.device_hours, plan.storage, plan.synthesis
    return {
        "storage_gib": {
            "checkpoint": storage.checkpoint / GIB,
            "checkpoints": storage.number,
            "export": storage.export / GIB,
            "total": storage.total / GIB,
        },
        "synthesis": {
            "requests": asked.requests * asked.sends,
            "questions": asked.requests,
            "tokens_in": round(asked.tokens_in),
            "tokens_out": round(asked.tokens_out),
            "money": asked.money,
        },
        "energy_kwh": None if hours is None else costs.energy_kwh(hours, plan.hardware),
        "money": None if hours is None else costs.money(hours, plan.hardware),
    }


def layout_record(layout: Layout) -> dict[str, Any]:
    """A row of the table of layouts."""
    plan = layout.plan
    return {
        "layout": layout.words,
        "gpus": plan.place.ranks,
        "memory_gib": plan.memory.total / GIB,
        "fits": plan.fits,
        "step_seconds": None if plan.pace is None else plan.pace.seconds,
        "gpu_days": None if layout.hours is None else layout.hours / 24,
    }


def lines(plan: Draft, profile: points.Profile) -> Iterator[str]:
    """Everything but the table of layouts."""
    config, step = plan.config, plan.work
    beside = f", {plan.trained:,} of adapters trained" if config.adapter.is_on else ""
    yield (
        f"model {config.model.name}: {plan.parameters:,} parameters{beside}; {plan.steps:,} steps"
        f" of {config.batch_size} examples on {plan.place.ranks} x {plan.hardware.name}"
    )
    yield f"lengths: {plan.source}"
    yield (
        f"tokens: {plan.tokens / 1e9:,.4g} G, {plan.tokens_step:,.0f} a step,"
        f" {plan.supervised_step:,.0f} of them supervised"
    )
    yield (
        f"FLOPs: {plan.flops:.3g} (attention causal; +-{plan.error:.1%}), {step.causal:.3g} a step;"
        f" {step.full:.3g} with whole squares; train.py runs {plan.executed.total:.3g}"
        f" ({plan.executed.recomputed:.3g} again), in {plan.rounds:.3g} micro-batches a rank"
    )
    yield ""
    yield f"memory of a rank, GiB, at its worst ({plan.memory.moment}):"
    yield from _memory(plan)
    yield ""
    yield from _time(plan, profile)
    yield from _rest(plan)


def _memory(plan: Draft) -> Iterator[str]:
    for name, size in sorted(plan.memory.parts.items(), key=lambda part: -part[1]):
        yield f"  {name:<24} {size / GIB:10.3f}"
    room = "" if plan.room is None else f" of {plan.room / GIB:.1f}"
    yield f"  {'together':<24} {plan.memory.total / GIB:10.3f}{room}"
    for name, size in plan.memory.host.items():
        yield f"  {'in main memory: ' + name:<24} {size / GIB:10.3f}"


def _time(plan: Draft, profile: points.Profile) -> Iterator[str]:
    hours, pace = plan.device_hours, plan.pace
    if hours is None or plan.step_seconds is None:
        yield "time: unknown; set hardware.peak_flops, and hardware.mfu or hardware.efficiency"
        return
    wall = plan.step_seconds * plan.steps / 3600
    mfu = UNKNOWN if plan.mfu is None else f"{plan.mfu:.1%}"
    yield (
        f"time: {plan.step_seconds:,.3g} s a step, {wall:,.3g} h; {hours:,.4g} GPU-hours ="
        f" {hours / 24:,.4g} GPU-days, at {mfu} MFU"
        + (" (on CPUs an hour of a process)" if plan.hardware.name == "cpu" else "")
    )
    if plan.reference_hours:
        yield f"  before the first step {plan.reference_hours:,.3g} GPU-hours for the reference"
    if pace is not None:
        yield (
            f"  roofline: {pace.seconds:,.3g} s a step (computing {pace.compute:,.3g} s at"
            f" {plan.hardware.efficiency:.0%} of the peak, exchanging {pace.exchange:,.3g} s;"
            f" ranks are busy {pace.evenness:.0%} of the computing)"
        )
    if profile.minutes and wall * 60 > profile.minutes:
        jobs = -(-wall * 60 // profile.minutes)
        yield f"  {profile.name} gives a job {profile.minutes / 60:,.3g} h: about {jobs:,.0f} jobs"


def _rest(plan: Draft) -> Iterator[str]:
    storage, asked = plan.storage, plan.synthesis
    yield (
        f"disk: {storage.number} checkpoints of {storage.checkpoint / GIB:,.3g} GiB and an export"
        f" of {storage.export / GIB:,.3g} GiB: {storage.total / GIB:,.4g} GiB"
    )
    if asked.requests:
        who = "sent to the writer" if asked.sends else "(writer=template sends none)"
        yield (
            f"questions: {asked.requests:,} requests {who}, about {asked.tokens_in / 1e6:,.0f} M"
            f" tokens in, {asked.tokens_out / 1e6:,.0f} M out; {asked.instructions:,} of them fall"
            " away with instructions from a data set"
            + ("" if asked.money is None else f"; {asked.money:,.2f} in money")
        )
    hours = plan.device_hours or 0.0
    energy, money = costs.energy_kwh(hours, plan.hardware), costs.money(hours, plan.hardware)
    if energy is not None:
        yield f"energy: {energy:,.0f} kWh at {plan.hardware.watts:g} W a device"
    if money is not None:
        yield f"money: {money:,.2f} for the devices"


def table(found: Sequence[Layout], best: Layout | None) -> Iterator[str]:
    """Strategies by numbers of devices; times are those of the roofline."""
    yield "other layouts (roofline; * the cheapest that fits):"
    yield f"    devices  {'GiB a rank':>10}  {'fits':>5}  {'s a step':>9}  {'GPU-days':>9}"
    for layout in found:
        plan = layout.plan
        fits = {True: "yes", False: "no", None: "?"}[plan.fits]
        seconds = "?" if plan.pace is None else f"{plan.pace.seconds:,.3g}"
        days = "?" if layout.hours is None else f"{layout.hours / 24:,.4g}"
        yield (
            f"  {'*' if layout is best else '':1} {plan.place.ranks:>7}"
            f"  {plan.memory.total / GIB:>10,.1f}  {fits:>5}  {seconds:>9}"
            f"  {days:>9}  {layout.words}"
        )


def warnings(plan: Draft, best: Layout | None) -> Iterator[str]:
    """What cannot be, with what helps."""
    host, sharding = plan.hardware.host_gib, plan.config.sharding
    if plan.room is not None and plan.memory.total > plan.room:
        remedy = f"choose {best.words} on {best.plan.place.ranks}" if best else "use more devices"
        yield (
            f"does not fit: a rank needs {plan.memory.total / GIB:.1f} GiB,"
            f" {plan.hardware.name} has {plan.room / GIB:.1f} for it; {remedy}, or set"
            " checkpointing=full, lower max_tokens or raise sharding.context_parallel"
        )
    if host is not None and plan.memory.host_total > host * GIB:
        yield (
            f"does not fit: a rank keeps {plan.memory.host_total / GIB:.1f} GiB in main memory,"
            f" there are {host:.0f}; use more devices, sharding.cpu_offload=false or"
            " checkpoint.asynchronous=false"
        )
    if sharding.strategy.value == "none" and plan.place.ranks > 1:
        yield f"sharding=none trains in one process, not in {plan.place.ranks}; choose another"
    if sharding.strategy.value != "none" and plan.place.ranks == 1:
        yield f"sharding={sharding.strategy.value} needs several devices; set slurm= or plan.gpus="
    if plan.place.ranks % sharding.context_parallel:
        yield f"{plan.place.ranks} ranks do not divide by sharding.context_parallel"
    shares = plan.place.ranks // sharding.context_parallel
    if shares > plan.config.batch_size:
        yield f"batch_size={plan.config.batch_size} leaves some of {shares} shares without examples"


def _gib(parts: dict[str, float]) -> dict[str, float]:
    return {name: size / GIB for name, size in parts.items()}
