"""Other layouts of the same run: strategies, numbers of devices, and the cheapest that fits."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fullcontext.config import Checkpointing, ShardingConfig, Strategy, TrainConfig
from fullcontext.plan.draft import Draft, Packings, draft
from fullcontext.plan.lengths import Sampled
from fullcontext.plan.memory import Place

STEPS = 2
"""Steps that each layout is planned from."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to run the same steps."""

    words: str
    """The settings that choose it."""
    plan: Draft

    @property
    def hours(self) -> float | None:
        """Device-hours of the run by the roofline, in which layouts differ."""
        pace, plan = self.plan.pace, self.plan
        return pace.seconds * plan.steps * plan.place.ranks / 3600 if pace else None


def layouts(given: Draft, sampled: Sampled) -> list[Layout]:
    """Every strategy on several numbers of devices, each with as little recomputation as fits."""
    few = replace(sampled, batches=sampled.batches[:: -(-len(sampled.batches) // STEPS)])
    found: list[Layout] = []
    packings: Packings = {}
    for ranks in _counts(given):
        place = replace(given.place, ranks=ranks, per_machine=min(ranks, given.place.per_machine))
        for words, config in _strategies(given.config, place):
            found.append(_lightest(words, config, given, place, few, packings))
    return found


def cheapest(found: list[Layout]) -> Layout | None:
    """The one that fits and takes the fewest device-hours; of equals the one on fewest devices."""
    fitting = [layout for layout in found if layout.plan.fits and layout.hours is not None]
    return min(fitting, key=lambda each: (each.hours, each.plan.place.ranks), default=None)


def _counts(given: Draft) -> list[int]:
    """Numbers of devices: those asked for, or powers of two around the run's own."""
    own = given.place.ranks
    if given.config.plan.counts:
        return sorted({*given.config.plan.counts, own})
    powers = [1 << place for place in range(12)]
    near = [power for power in powers if own / 4 <= power <= max(own * 2, 8)]
    return sorted({*near, own})


def _strategies(config: TrainConfig, place: Place) -> Iterator[tuple[str, TrainConfig]]:
    degree = config.sharding.context_parallel
    if place.ranks == 1:
        alone = replace(
            config.sharding, strategy=Strategy.none, cpu_offload=False, context_parallel=1
        )
        yield "sharding=none", _fitting(config, alone, degree)
        return
    degrees = [degree] if degree > 1 else [1, min(8, place.per_machine)]
    for strategy, offload, pieces in (
        (Strategy.ddp, False, degrees[:1]),
        (Strategy.hybrid, False, degrees),
        (Strategy.full_shard, False, degrees),
        (Strategy.full_shard, True, degrees),
    ):
        if strategy is Strategy.hybrid and place.ranks <= place.per_machine:
            continue  # one group: full_shard
        for each in pieces:
            if place.ranks % each:
                continue
            words = f"sharding={strategy.value}" + " +cpu_offload" * offload
            words += f" context_parallel={each}" * (each > 1)
            sharding = replace(
                config.sharding, strategy=strategy, cpu_offload=offload, context_parallel=each,
                shard_size=None,
            )  # fmt: skip
            yield words, _fitting(config, sharding, degree / each)


def _fitting(config: TrainConfig, sharding: ShardingConfig, factor: float) -> TrainConfig:
    """Micro-batches as large as before, all ranks of a row together."""
    tokens = max(16, -int(-config.max_tokens * factor // 1))
    return replace(config, sharding=sharding, max_tokens=tokens)


def _lightest(
    words: str, config: TrainConfig, given: Draft, place: Place, sampled: Sampled,
    packings: Packings,
) -> Layout:  # fmt: skip
    """With the least recomputation that fits; with all of it where nothing does."""
    for checkpointing in (Checkpointing.none, Checkpointing.selective, Checkpointing.full):
        tried = replace(config, checkpointing=checkpointing)
        made = draft(tried, place, given.hardware, sampled, packings=packings)
        if made.fits or made.fits is None:
            break
    usual = Checkpointing.auto.settled(config.model.architecture.num_parameters)
    recomputed = f" checkpointing={checkpointing.value}" * (checkpointing is not usual)
    return Layout(words + recomputed, made)
