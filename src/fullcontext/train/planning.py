"""The plan of a run beside its measurements: what the same arithmetic says of the real ranks."""

import json
from pathlib import Path
from typing import Any

from fullcontext.config import TrainConfig
from fullcontext.data.mixture import Mixture
from fullcontext.launch import World, place
from fullcontext.plan import costs, hardware, lengths, text
from fullcontext.plan.draft import draft
from fullcontext.plan.memory import GIB, Place
from fullcontext.store import write_aside
from fullcontext.train.limits import Limits
from fullcontext.train.watching import resident

PLAN = "plan.json"
EXAMPLES = 256
"""Examples that are looked at, so that a run does not wait for its plan."""


def write(folder: Path, config: TrainConfig, world: World, mixture: Mixture) -> None:
    """plan.json, once; a run that goes on elsewhere has the plan of where it began.

    On a CPU `process_gib` is what was resident before the first step, less the model's weights:
    the measurement there is that of the whole process.
    """
    if (folder / PLAN).exists():
        return
    where = Place(world.size, place().local_size, world.device.type)
    sampled = lengths.sample(config, mixture, EXAMPLES)
    made: dict[str, Any] = text.record(
        draft(config, where, hardware.settled(config.hardware, _profile(world)), sampled)
    )
    made["process_gib"] = None
    if world.device.type == "cpu":
        weights = 4 * config.model.architecture.num_parameters
        made["process_gib"] = max(0.0, resident() - weights) / GIB
    write_aside(folder / PLAN, json.dumps(made, indent=1))


def limits(config: TrainConfig, world: World, spent_s: float) -> Limits:
    """The run's limits, with a first guess of how long a checkpoint takes."""
    disk = hardware.settled(config.hardware, _profile(world)).disk_gbs
    size = costs.storage(config).checkpoint / world.size
    return Limits(config.budget, world.size, spent_s, size / (disk * 1e9) if disk else 0.0)


def _profile(world: World) -> str | None:
    """On a CPU a run is on a CPU, whatever GPUs the machine has."""
    return "cpu" if world.device.type == "cpu" else None
