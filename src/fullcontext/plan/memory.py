"""What a rank has to hold at the worst moment of a step, by what it is for.

A step is followed through three moments: the turn from the forward to the backward pass, the
backward pass of every layer, and the update. plan/activations.py says what a layer keeps between
the first two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fullcontext.config import Accumulate, Strategy, TrainConfig
from fullcontext.plan.activations import Saved
from fullcontext.plan.weights import NF4_BYTES, weights
from fullcontext.plan.work import Load, recomputed_layers

GIB = 1 << 30
Parts = dict[str, float]
"""Bytes by what they are for."""
UPDATED_ALONE = 2
"""Copies of a weight while AdamW updates it, on a CPU; on a GPU torch's default updates all weights
at once, with one copy."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is: how many ranks, how many of them to a machine, and on what."""

    ranks: int
    per_machine: int
    device: str = "cuda"
    """cuda or cpu."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a rank at its worst moment."""

    moment: str
    parts: Parts
    """On the device; on a CPU there is nothing else."""
    host: Parts
    """In main memory, where the device has its own."""

    @property
    def total(self) -> float:
        """On the device."""
        return sum(self.parts.values())

    @property
    def host_total(self) -> float:
        """In main memory."""
        return sum(self.host.values())


def shards(config: TrainConfig, place: Place) -> int:
    """Ranks that share one copy of the state."""
    match config.sharding.strategy:
        case Strategy.full_shard:
            return place.ranks
        case Strategy.hybrid:
            return min(place.ranks, config.sharding.shard_size or place.per_machine)
        case _:
            return 1


def peak(config: TrainConfig, rounds: Sequence[Sequence[Load]], place: Place) -> Memory:
    """The worst moment of a step with these micro-batches, the heaviest of them last.

    A checkpoint is taken to be on its way; the first step, which has no optimizer state yet, and
    what happens outside of steps (probes, the export) are not counted.
    """
    heaviest = max((load for each in rounds for load in each), key=_weight(config))
    step = _Step(config, heaviest, len(rounds), place)
    moment, parts = max(step.moments(), key=lambda found: sum(found[1].values()))
    host = step.host()
    if place.device == "cpu":
        parts, host = parts | host, {}
    return Memory(
        moment, {k: v for k, v in parts.items() if v}, {k: v for k, v in host.items() if v}
    )


def _weight(config: TrainConfig) -> "_Weight":
    return _Weight(config)


@dataclass(frozen=True, slots=True)
class _Weight:
    """Orders micro-batches by what they hold."""

    config: TrainConfig

    def __call__(self, load: Load) -> float:
        saved = Saved(self.config, load)
        return saved.layer * self.config.model.architecture.num_layers + saved.logits


class _Step:
    """A rank's bytes through one step."""

    def __init__(self, config: TrainConfig, load: Load, rounds: int, place: Place) -> None:
        self.config, self.place, self.rounds = config, place, rounds
        self.saved = Saved(config, load)
        sizes = config.model.architecture
        self.layers, self.weights = sizes.num_layers, weights(config)
        self.shards = shards(config, place)
        self.again = recomputed_layers(config.checkpointing, self.layers)
        self.is_spread = config.sharding.strategy is not Strategy.none
        self.holds_own = not config.sharding.cpu_offload or place.device == "cpu"

    def moments(self) -> Iterator[tuple[str, Parts]]:
        """Every moment that may be the worst."""
        yield "loss", self._loss()
        yield "gradient of the head", self._head()
        for below in range(self.layers - 1, -1, -1):
            yield f"backward pass of layer {below + 1}", self._backward(below)
        yield "update", self._update()

    def host(self) -> Parts:
        """In main memory: what is kept there between uses, and a checkpoint on its way."""
        own = self.weights.trained / self.shards
        found: Parts = {}
        if not self.holds_own:
            held = 4 * self.weights.in_fp32 / self.shards
            found = {"weights": held, "gradients": 4 * own, "optimizer": 8 * own}
        if self.config.checkpoint.asynchronous:
            found["checkpoint copy"] = 12 * own
        return found

    def _loss(self) -> Parts:
        return self._turn() | {"logits": self.saved.logits}

    def _head(self) -> Parts:
        """The gradient of the logits, and that of the head in their dtype and in fp32."""
        width = self.saved.width
        logits = self.saved.labels * self.config.model.architecture.vocab_size * width
        on_way = self.weights.trained_outer * (4 if self.saved.is_fp32 else 6)
        return self._turn() | {"logits": logits, "gradients on their way": on_way}

    def _turn(self) -> Parts:
        """Between the forward and the backward pass; gradients of micro-batches before this."""
        held = self._state(self._held(0) if self.rounds > 1 else 0.0)
        return held | {"saved activations": self._layers(self.layers) + self.saved.around}

    def _backward(self, below: int) -> Parts:
        """In the layer that has so many others below it."""
        saved = self.saved
        is_again = self._is_again(below)
        return self._state(self._held(self.layers - 1 - below)) | {
            "saved activations": self._layers(below + (not is_again)) + saved.kept * is_again,
            "recompute": saved.layer * is_again,
            "activation gradients": saved.passing,
            "gradients on their way": self._unreduced(),
            "context parallel": self._exchanged(),
        }

    def _update(self) -> Parts:
        own = self.weights.trained / self.shards * self.holds_own
        held = self._state(4 * own)
        for passing in ("gathered weights", "bf16 weights", "unpacked weights"):
            held.pop(passing, None)
        copies = 4 * own
        if self.place.device == "cpu":
            copies = UPDATED_ALONE * 4 * self.weights.trained_outer / self.shards
        return held | {"update": copies}

    def _state(self, gradients: float) -> Parts:
        own = self.weights.trained / self.shards * self.holds_own
        width, given = self.saved.width, self.weights
        held = 4 * given.in_fp32 / self.shards * self.holds_own
        found: Parts = {"weights": held, "optimizer": 8 * own, "gradients": gradients}
        if self.shards > 1:
            # The root stays gathered through a pass; of the layers the one at work, the next one,
            # and the buffer that both came in.
            root = given.in_fp32 - self.layers * given.in_fp32_layer
            found["gathered weights"] = width * (root + 3 * given.in_fp32_layer)
        elif width == 2:
            sizes = self.config.model.architecture
            looked_up = sizes.vocab_size * sizes.hidden_size * (not sizes.tie_embeddings)
            found["bf16 weights"] = 2 * (given.in_fp32 - looked_up)
        if given.packed:
            found["packed weights"] = NF4_BYTES * given.packed
            found["unpacked weights"] = width * given.largest_packed
        return found

    def _held(self, done: int) -> float:
        """Gradients there are when the backward pass has gone through so many layers."""
        given = self.weights
        own = 4 * given.trained / self.shards * self.holds_own
        whole = self.config.sharding.accumulate is Accumulate.local and self.is_spread
        if self.rounds > 1:
            return 4 * given.trained if whole else own
        return own * (given.trained_outer + done * given.trained_layer) / given.trained

    def _unreduced(self) -> float:
        """Gradients of the layer at work: whole, and in fp32 on their way to other ranks."""
        if self.is_spread:
            return (self.saved.width + 4) * self.weights.trained_layer
        if self.config.adapter.is_on:
            return 0.0
        sizes = self.config.model.architecture
        return 4 * sizes.hidden_size * sizes.intermediate_size * (self.rounds > 1)

    def _is_again(self, place: int) -> bool:
        return self.again == self.layers or (self.again > 0 and place % 2 == 0)

    def _layers(self, number: int) -> float:
        """What the first layers keep."""
        again = number if self.again == self.layers else -(-number // 2) * (self.again > 0)
        return again * self.saved.kept + (number - again) * self.saved.layer

    def _exchanged(self) -> float:
        return self.saved.exchanged * (self.config.sharding.context_parallel > 1)
