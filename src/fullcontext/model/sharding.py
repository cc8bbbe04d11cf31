"""How a model is spread over ranks: FSDP2 over a mesh, fp32 master weights, sums not means.

`full_shard` splits weights, gradients and optimizer state over all ranks, `hybrid` over groups of
`shard_size` that hold the same, `ddp` is hybrid with groups of one. The ranks of one
context-parallel group work on pieces of one row: their gradients are parts of a sum like those of
any other ranks, so the mesh does not tell them apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fullcontext.compose import ConfigError
from fullcontext.config import Accumulate, Checkpointing, Precision, ShardingConfig, Strategy
from fullcontext.launch import World, place
from fullcontext.model.context_parallel import Exchange, exchange


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every step that a rank computes: that of share `index` among `number`."""

    index: int = 0
    number: int = 1
    exchange: Exchange | None = None
    """How the ranks of this share, which hold pieces of the same rows, attend to each other."""
    accumulate: Accumulate = Accumulate.local


def share(config: ShardingConfig, world: World, model: Any) -> Share:
    """This rank's share; ranks in a row (r * context_parallel and on) make one.

    Raises ConfigError if the degree does not fit the model's heads. Every rank has to call this.
    """
    degree = config.context_parallel
    given = None
    if degree > 1:
        from torch.distributed.device_mesh import init_device_mesh

        shape = (world.size // degree, degree)
        mesh = init_device_mesh(world.device.type, shape, mesh_dim_names=("share", "context"))
        heads = model.config.num_attention_heads
        kv_heads = getattr(model.config, "num_key_value_heads", None) or heads
        try:
            by = config.exchange_by(heads, kv_heads)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        given = exchange(by, mesh.get_group("context"))
    return Share(world.rank // degree, world.size // degree, given, config.accumulate)


def shard(model: Any, config: ShardingConfig, precision: Precision, world: World) -> Any:
    """Spreads a model in place and puts it on the device; every rank has to call this.

    The decoder layers are sharded one by one, what is left (embeddings, last norm, head) with the
    root. Compute is in `precision`, weights and reduction in fp32. Raises ConfigError if a weight
    is not fp32, or comes out unsharded.
    """
    _refuse_low_precision(model)
    if config.strategy is Strategy.none:
        return model.to(world.device)
    from torch.distributed.fsdp import fully_shard

    # Four bits in bytes cannot be cut or summed: each rank holds such weights whole.
    packed = {weight for weight in model.parameters() if not weight.is_floating_point()}
    options = _options(config, precision, world, packed)
    for layer in layers(model):
        fully_shard(layer, **options)
    fully_shard(model, **options)
    for module in _sharded(model):
        # The loss is divided once, by a count over all ranks: gradients are summed, not averaged.
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    _refuse_unsharded(model, config)
    _begin(model, world)
    return model


def _options(
    config: ShardingConfig, precision: Precision, world: World, packed: set[nn.Parameter]
) -> dict[str, Any]:
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

    options: dict[str, Any] = {"mesh": _mesh(config, world)}
    if packed:
        options["ignored_params"] = packed
    if precision is Precision.bf16 and config.splits_weights:
        # ddp keeps whole weights and runs under autocast, as one process does.
        options["mp_policy"] = MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    if config.cpu_offload:
        options["offload_policy"] = CPUOffloadPolicy(pin_memory=world.device.type != "cpu")
    return options


def _mesh(config: ShardingConfig, world: World) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    if config.strategy is Strategy.full_shard:
        return init_device_mesh(world.device.type, (world.size,), mesh_dim_names=("shard",))
    group = 1
    if config.strategy is Strategy.hybrid:
        group = config.shard_size or place().local_size
    shape = (world.size // group, group)
    return init_device_mesh(world.device.type, shape, mesh_dim_names=("replicate", "shard"))


def layers(model: Any) -> list[nn.Module]:
    """The decoder layers of a transformers model, in order."""
    return list(model.get_decoder().layers)


def _sharded(model: Any) -> list[Any]:
    from torch.distributed.fsdp import FSDPModule

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _refuse_low_precision(model: Any) -> None:
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.dtype is not torch.float32:
            raise ConfigError(
                f"the weight {name} is {str(weight.dtype).removeprefix('torch.')}: an update of"
                " 1e-6 is below the spacing of bf16 and would be lost; train with fp32 weights"
                " (precision=bf16 computes in bf16 and keeps them)"
            )


def _refuse_unsharded(model: Any, config: ShardingConfig) -> None:
    """Other trainers fall back to whole weights in silence."""
    from torch.distributed.tensor import DTensor

    whole = [
        name
        for name, weight in model.named_parameters()
        if not isinstance(weight, DTensor) and weight.is_floating_point()
    ]
    if whole:
        raise ConfigError(
            f"sharding={config.strategy.value} left {len(whole)} weights unsharded (the first is"
            f" {whole[0]}); choose a model whose layers are model.get_decoder().layers, or"
            " sharding=none"
        )


@torch.no_grad()
def _begin(model: Any, world: World) -> None:
    """One token forward: FSDP takes the module that runs first for its root, and a probe would
    start at the decoder."""
    token = torch.zeros((1, 1), dtype=torch.long, device=world.device)
    model(input_ids=token, use_cache=False)
    model.reshard()  # else an optimizer made now would hold the root's gathered weights


def sync(model: Any, at: Share, is_last: bool) -> None:
    """Says before a backward pass whether gradients are reduced after it.

    Accumulated locally they are reduced once a step; `sharded` reduces them after every
    micro-batch and so keeps only a rank's own part.
    """
    for module in _sharded(model)[:1]:  # the root passes it on
        if at.accumulate is Accumulate.local:
            module.set_requires_gradient_sync(is_last)
        else:
            module.set_requires_all_reduce(is_last)


def clip(model: Any, norm: float) -> float:
    """Clips the gradients by their norm over all ranks, and returns what it was."""
    found = torch.nn.utils.clip_grad_norm_(model.parameters(), norm)
    if hasattr(found, "full_tensor"):
        found = found.full_tensor()
    return float(found)


@contextmanager
def gathered(model: Any) -> Iterator[Any]:
    """Inside the block every rank holds all weights, and may run the model on its own."""
    modules = _sharded(model)
    for module in modules:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield model
    finally:
        for module in modules:
            module.reshard()
            # FSDP's own choice: the root stays gathered, the backward pass starts with it.
            module.set_reshard_after_forward(module is not model, recurse=False)


def recompute(model: Any, checkpointing: Checkpointing) -> None:
    """Activations of all layers, or of every other one, are computed again in the backward pass."""
    every = {Checkpointing.full: 1, Checkpointing.selective: 2}.get(checkpointing)
    if every is not None:
        model.activation_checkpointing_enable({"use_reentrant": False}, every_n_layers=every)
