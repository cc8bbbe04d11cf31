"""The plan of one run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullcontext.config import DpoConfig, HardwareConfig, TrainConfig
from fullcontext.data.mixture import Mixture
from fullcontext.data.pairs import KIND as PAIR
from fullcontext.plan import costs, lengths, memory, speed, work
from fullcontext.plan.costs import Storage, Synthesis
from fullcontext.plan.lengths import Sampled
from fullcontext.plan.memory import GIB, Memory, Place
from fullcontext.plan.speed import Pace
from fullcontext.plan.weights import weights
from fullcontext.plan.work import Executed
from fullcontext.train import flops

PACKED = 6
"""Steps whose micro-batches are formed: packing for hundreds of ranks takes its time."""
CPU = "cpu"
Packings = dict[tuple[int, int], list[list[list[work.Load]]]]
"""(shares, tokens of a row) -> the micro-batches of the sampled steps."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a run takes. Figures of a step are means over the run."""

    config: TrainConfig
    place: Place
    hardware: HardwareConfig
    source: str
    """Where the lengths are from."""
    tokens_step: float
    supervised_step: float
    work: flops.Work
    """FLOPs of a step; attention causal, and in the other convention."""
    error: float
    """Standard error of the FLOPs, relative, from having looked at some steps only."""
    executed: Executed
    """FLOPs that train.py runs in a step, mean of a few."""
    rounds: float
    """Micro-batches of a rank in a step."""
    memory: Memory
    room: float | None
    """Bytes of the device that a run can have; None where it is not known."""
    pace: Pace | None
    step_seconds: float | None
    storage: Storage
    synthesis: Synthesis

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def parameters(self) -> int:
        return self.config.model.architecture.num_parameters

    @property
    def trained(self) -> int:
        """Of the parameters; or, with adapters, those beside them."""
        return weights(self.config).trained

    @property
    def tokens(self) -> float:
        """Of the whole run."""
        return self.tokens_step * self.steps

    @property
    def flops(self) -> float:
        """Of the whole run, attention causal."""
        return float(self.work.causal) * self.steps

    @property
    def device_hours(self) -> float | None:
        """Steps alone: neither probes nor waiting for a machine."""
        if self.step_seconds is None:
            return None
        return self.step_seconds * self.steps * self.place.ranks / 3600

    @property
    def reference_hours(self) -> float | None:
        """Device-hours before the first step: DPO reads every pair once, forward alone."""
        if not isinstance(self.config.objective, DpoConfig):
            return 0.0
        if self.device_hours is None:
            return None
        pairs = self.config.data.examples.get(PAIR, 0)
        return self.device_hours / self.steps / 3 * pairs / self.config.batch_size

    @property
    def mfu(self) -> float | None:
        """What the planned time makes of the device."""
        if self.step_seconds is None or self.hardware.peak_flops is None:
            return None
        return self.work.causal / (self.step_seconds * self.place.ranks * self.hardware.peak_flops)

    @property
    def fits(self) -> bool | None:
        """Whether a rank has the memory; None where that is not known."""
        if self.room is None:
            return None
        host = self.hardware.host_gib
        in_host = host is None or self.memory.host_total <= host * GIB
        return self.memory.total <= self.room and in_host


def draft(
    config: TrainConfig,
    place: Place,
    hardware: HardwareConfig,
    sampled: Sampled | None = None,
    mixture: Mixture | None = None,
    packings: Packings | None = None,
) -> Draft:
    """Plans a run on so many devices of a kind; `sampled` spares looking at the data again, and
    `packings` forming the micro-batches again for another layout of the same steps."""
    given = sampled or lengths.sample(config, mixture)
    price = work.price(config)
    done = [flops.work(batch, price) for batch in given.batches]
    causal = np.array([each.causal for each in done], float)
    few = given.batches[:: math.ceil(len(given.batches) / PACKED)]
    key = place.ranks // config.sharding.context_parallel, config.row_tokens
    packed = packings.get(key) if packings is not None else None
    if packed is None:
        packed = [work.rounds(config, batch, place.ranks) for batch in few]
    if packings is not None:
        packings[key] = packed
    remembered = [memory.peak(config, rounds, place) for rounds in packed]
    paces = [speed.roofline(config, rounds, place, hardware) for rounds in packed]
    pace = _mean_pace([pace for pace in paces if pace])
    return Draft(
        config=config,
        place=place,
        hardware=hardware,
        source=f"{len(given.batches):,} of {given.steps:,} steps, {given.source}",
        tokens_step=_mean([sum(e.tokens for e in batch) for batch in given.batches]),
        supervised_step=_mean([sum(e.supervised for e in batch) for batch in given.batches]),
        work=_mean_work(done),
        error=_error(causal) if len(given.batches) < given.steps else 0.0,
        executed=_executed(config, packed),
        rounds=_mean([len(rounds) for rounds in packed]),
        memory=max(remembered, key=lambda each: each.total),
        room=_room(hardware),
        pace=pace,
        step_seconds=speed.step(config, float(causal.mean()), pace, place, hardware),
        storage=costs.storage(config),
        synthesis=costs.synthesis(config),
    )


def _room(hardware: HardwareConfig) -> float | None:
    if hardware.memory_gib is None:
        return None
    return (hardware.memory_gib - (hardware.reserve_gib or 0.0)) * GIB


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _error(values: Any) -> float:
    if len(values) < 2:
        return 0.0
    return float(values.std(ddof=1) / math.sqrt(len(values)) / values.mean())


def _mean_work(done: Sequence[flops.Work]) -> flops.Work:
    number = len(done)
    return flops.Work(
        sum(each.causal for each in done) // number,
        sum(each.full for each in done) // number,
        sum(each.recomputed for each in done) // number,
    )


def _executed(config: TrainConfig, packed: Sequence[Sequence[Sequence[work.Load]]]) -> Executed:
    done = [
        work.executed(config, [load for loads in rounds for load in loads]) for rounds in packed
    ]
    number = len(done)
    return Executed(
        sum(each.products for each in done) // number,
        sum(each.attention for each in done) // number,
        sum(each.head for each in done) // number,
        sum(each.recomputed for each in done) // number,
    )


def _mean_pace(paces: Sequence[Pace]) -> Pace | None:
    if not paces:
        return None
    return Pace(
        _mean([each.seconds for each in paces]),
        _mean([each.compute for each in paces]),
        _mean([each.exchange for each in paces]),
        _mean([each.evenness for each in paces]),
    )
