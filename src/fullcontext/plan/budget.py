"""What a run or a sweep may spend, held against its plan before anything is launched."""

from collections.abc import Sequence

from fullcontext.compose import ConfigError
from fullcontext.plan.draft import Draft
from fullcontext.plan.points import points
from fullcontext.plan.run import planned

REMEDIES = (
    "lower max_steps, epochs or data.context_range, raise data.questions_per_context, or raise"
    " {key}; if the devices are faster than conf/hardware/ says, set hardware.mfu"
)


def refuse_run(plan: Draft) -> None:
    """Raises ConfigError if a run is going to take more than `budget.gpu_hours`."""
    allowed, hours = plan.config.budget.gpu_hours, plan.device_hours
    if allowed is None or hours is None or hours <= allowed:
        return
    raise ConfigError(
        f"budget: the run needs about {_hours(hours)} GPU-hours ({_how(plan)}), and"
        f" budget.gpu_hours={allowed:g}; {REMEDIES.format(key='budget.gpu_hours')}"
    )


def refuse(words: Sequence[str]) -> None:
    """Raises ConfigError if a run of a command line is going to take more than `budget.gpu_hours`,
    or all of them more than `budget.sweep_gpu_hours`: before Hydra launches the first.

    What does not compose, and what goes on with `resume=`, is left to train.py itself.
    """
    named = ("sweeps=", "experiments=", "budget.", "+budget.")
    if not any(word.startswith(named) for word in words):
        return
    if any(word.startswith(("resume=", "--cfg", "--help", "--info")) for word in words):
        return
    try:
        found = points(words, takes_trials=True)
    except ConfigError:
        return
    settings = found[0].config.budget
    if settings.gpu_hours is None and settings.sweep_gpu_hours is None:
        return
    plans = [planned(point)[0] for point in found]
    for plan in plans:
        refuse_run(plan)
    hours, allowed = sum(plan.device_hours or 0.0 for plan in plans), settings.sweep_gpu_hours
    if allowed is not None and hours > allowed:
        raise ConfigError(
            f"budget: the {len(plans)} runs need about {_hours(hours)} GPU-hours together"
            f" ({_how(plans[0])}), and budget.sweep_gpu_hours={allowed:g}; leave out points,"
            f" {REMEDIES.format(key='budget.sweep_gpu_hours')}"
        )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _how(plan: Draft) -> str:
    step = plan.step_seconds or 0.0
    return (
        f"{plan.steps:,} steps of {step:,.3g} s on {plan.place.ranks} x {plan.hardware.name}, see"
        " plan.py; on CPUs an hour of a process counts"
    )
