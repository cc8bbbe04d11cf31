"""How long a step takes: the roofline of a layout, or a utilisation that was measured elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from fullcontext.config import (
    Accumulate,
    ContextParallelBy,
    HardwareConfig,
    Precision,
    Speed,
    Strategy,
    TrainConfig,
)
from fullcontext.plan import memory, work
from fullcontext.plan.memory import Place
from fullcontext.plan.weights import weights
from fullcontext.plan.work import Load

GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a step, and what they are made of; None where the hardware says too little."""

    seconds: float
    compute: float
    """Of the ranks that have most to compute in each round, one round after the other."""
    exchange: float
    """Of weights, gradients and pieces of rows, with other ranks and with main memory."""
    evenness: float
    """Mean over dearest FLOPs of what runs at the same time: 1 where no rank waits for another."""


def needed(config: TrainConfig, load: Load) -> float:
    """FLOPs of a micro-batch, attention counted causally, with what is computed again."""
    sizes = config.model.architecture
    price = work.price(config)
    layers = price.token * load.tokens + price.pair * load.pairs
    again = work.recomputed_layers(config.checkpointing, sizes.num_layers) / sizes.num_layers
    spared = price.frozen * load.tokens + price.frozen_label * load.labels
    return (3 + again) * layers + 3 * price.label * load.labels - spared


def roofline(
    config: TrainConfig, rounds: Sequence[Sequence[Load]], place: Place, hardware: HardwareConfig
) -> Pace | None:
    """Round by round the slower of computing and exchanging, then what waits for the last round."""
    if hardware.peak_flops is None:
        return None
    rate = hardware.peak_flops * hardware.efficiency * config.sharding.context_parallel
    overhead = hardware.overhead_ms / 1000 * config.model.architecture.num_layers
    seconds = computing = exchanging = 0.0
    dearest = mean = 0.0
    links = _Links(config, place, hardware)
    for number, loads in enumerate(rounds, 1):
        costs = [needed(config, load) for load in loads]
        dearest += max(costs)
        mean += sum(costs) / len(costs)
        compute = max(costs) / rate + overhead
        exchange = links.round(max(load.tokens for load in loads), number == len(rounds))
        computing, exchanging = computing + compute, exchanging + exchange
        seconds += max(compute, exchange)
    last = links.update()
    return Pace(seconds + last, computing, exchanging + last, mean / dearest)


def step(
    config: TrainConfig, causal: float, pace: Pace | None, place: Place, hardware: HardwareConfig
) -> float | None:
    """Seconds of a step of so many FLOPs (attention causal), by `plan.speed`; None if unknown."""
    by_mfu = config.plan.speed is Speed.mfu or (config.plan.speed is Speed.auto and hardware.mfu)
    if by_mfu and hardware.mfu and hardware.peak_flops:
        return causal / (place.ranks * hardware.peak_flops * hardware.mfu)
    if config.plan.speed is Speed.mfu:
        return None
    return pace.seconds if pace else None


class _Links:
    """Seconds of what ranks send each other. A rate that is not known takes no time."""

    def __init__(self, config: TrainConfig, place: Place, hardware: HardwareConfig) -> None:
        self.config, self.place, self.hardware = config, place, hardware
        self.weights = weights(config)
        self.width = 4 if config.precision is Precision.fp32 else 2
        self.shards = memory.shards(config, place)

    def round(self, tokens: int, is_last: bool) -> float:
        """Of a micro-batch: weights are gathered twice, gradients reduced, rows exchanged."""
        found = self._pieces(tokens)
        if self.shards == 1:
            return found
        sharding = self.config.sharding
        share = (self.shards - 1) / self.shards
        link = self._link(self.shards)
        found += _over(2 * self.width * self.weights.in_fp32 * share, link)
        if is_last or sharding.accumulate is Accumulate.sharded:
            found += _over(4 * self.weights.trained * share, link)
        if sharding.cpu_offload:
            found += _over(2 * 4 * self.weights.in_fp32 / self.shards, self.hardware.host_gbs)
        return found

    def update(self) -> float:
        """After the last round: copies of the model agree, and offloaded weights are updated."""
        found = 0.0
        copies = self.place.ranks // self.shards
        if self.config.sharding.strategy is not Strategy.none and copies > 1:
            sent = 2 * 4 * self.weights.trained / self.shards * (copies - 1) / copies
            found += _over(sent, self._link(self.place.ranks))
        if self.config.sharding.cpu_offload:
            # Gradients come down, and AdamW on the CPU reads and writes weights and moments.
            found += _over((4 + 28) * self.weights.trained / self.shards, self.hardware.host_gbs)
        return found

    def _pieces(self, tokens: int) -> float:
        """Queries, keys, values and outputs of every layer, forward, backward, and once more where
        layers are computed again."""
        sharding, sizes = self.config.sharding, self.config.model.architecture
        degree = sharding.context_parallel
        if degree == 1:
            return 0.0
        keys, queries = (2 * n * sizes.head_dim for n in (sizes.num_kv_heads, sizes.num_heads))
        by = sharding.exchange_by(sizes.num_heads, sizes.num_kv_heads)
        values = (keys + queries) * tokens / degree
        if by is ContextParallelBy.keys:
            values = keys * tokens
        layers = sizes.num_layers
        passes = 2 * layers + work.recomputed_layers(self.config.checkpointing, layers)
        sent = self.width * values * (degree - 1) / degree
        return _over(passes * sent, self._link(degree))

    def _link(self, ranks: int) -> float | None:
        inside = ranks <= self.place.per_machine
        return self.hardware.machine_gbs if inside else self.hardware.network_gbs


def _over(size: float, rate: float | None) -> float:
    return size / (rate * GIGA) if rate else 0.0
