"""How a model is spread over ranks, what it keeps for the backward pass, and what attends."""

from dataclasses import dataclass
from enum import StrEnum

from fullcontext.config import check


class Strategy(StrEnum):
    """How weights, gradients and optimizer state are spread over ranks."""

    none = "none"
    ddp = "ddp"
    full_shard = "full_shard"
    hybrid = "hybrid"


LARGE = 1_000_000_000
"""Parameters from which a model is not one for a CPU, nor for whole activations of long rows."""


class Checkpointing(StrEnum):
    """Which activations are computed again in the backward pass, not kept."""

    none = "none"
    full = "full"
    """Those inside every decoder layer."""
    selective = "selective"
    """Those inside every other decoder layer."""
    auto = "auto"
    """`full` for a model of `LARGE` parameters or more, whose long rows would not fit, else
    `none`; a run never has it."""

    def settled(self, parameters: int) -> "Checkpointing":
        """What `auto` is for a model of so many parameters; the others are what they are."""
        if self is not Checkpointing.auto:
            return self
        return Checkpointing.full if parameters >= LARGE else Checkpointing.none


class ContextParallelBy(StrEnum):
    """What the ranks that hold pieces of one row exchange so that attention sees all of it."""

    auto = "auto"
    """`heads` where the degree divides heads and kv heads, else `keys`."""
    heads = "heads"
    """Each rank attends with a part of the heads over the whole row (Ulysses)."""
    keys = "keys"
    """Each rank attends with its queries over the gathered keys and values, for few kv heads."""


class Accumulate(StrEnum):
    """When gradients of a step's micro-batches are reduced over ranks."""

    local = "local"
    """Once, after the last one; costs 4 bytes a parameter on every rank."""
    sharded = "sharded"
    """After each one, so that a rank holds only its own part; more communication."""


@dataclass(kw_only=True)
class AttentionConfig:
    """Which kernel reads the block table."""

    backend: str = "blocks"
    """`blocks`: one scaled-dot-product call for all blocks of a shape; exact on any device.
    `flash`: flash-attn's varlen call, `flex`: torch's flex_attention; both on GPUs only."""

    def __post_init__(self) -> None:
        check.one_of("attention.backend", self.backend, ("blocks", "flash", "flex"))


@dataclass(kw_only=True)
class ShardingConfig:
    """How a model is spread over ranks."""

    strategy: Strategy = Strategy.none
    cpu_offload: bool = False
    """Keeps weights, gradients and optimizer state in main memory between uses."""
    shard_size: int | None = None
    """For `hybrid`: ranks that share one copy; null takes the ranks of a machine."""
    accumulate: Accumulate = Accumulate.local
    context_parallel: int = 1
    """Ranks that hold pieces of the same rows."""
    context_parallel_by: ContextParallelBy = ContextParallelBy.auto
    timeout_s: int = 600
    """How long a rank waits for another before it names it and stops."""

    def __post_init__(self) -> None:
        check.within("sharding.shard_size", self.shard_size, 1)
        check.within("sharding.context_parallel", self.context_parallel, 1)
        check.within("sharding.timeout_s", self.timeout_s, 1)
        alone = self.strategy is Strategy.none
        if alone and (self.context_parallel > 1 or self.cpu_offload):
            key = "context_parallel" if self.context_parallel > 1 else "cpu_offload"
            raise ValueError(
                f"sharding.{key}={getattr(self, key)} needs a model that is spread over processes;"
                " choose sharding=full_shard, hybrid or ddp"
            )

    @property
    def splits_weights(self) -> bool:
        """Whether a rank holds only a part of the weights."""
        return self.strategy in (Strategy.full_shard, Strategy.hybrid)

    def exchange_by(self, heads: int, kv_heads: int) -> ContextParallelBy:
        """`heads` or `keys`, for a model. Raises ValueError if the degree does not fit."""
        degree, by = self.context_parallel, self.context_parallel_by
        fits = heads % degree == 0 and kv_heads % degree == 0
        if by is ContextParallelBy.heads and not fits:
            raise ValueError(
                f"sharding.context_parallel={degree} by heads gives each rank 1/{degree} of"
                f" {heads} heads and {kv_heads} kv heads, which must divide; choose"
                " sharding.context_parallel_by=keys or another degree"
            )
        if by is ContextParallelBy.auto:
            return ContextParallelBy.heads if fits else ContextParallelBy.keys
        return by
