"""Loss and gradients of one optimizer step in a layout, by the training loop itself."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from fullcontext import launch
from fullcontext.config import AttentionConfig, ModelConfig, TrainConfig
from fullcontext.data.mixture import Mixture
from fullcontext.model import kernels, lora, sharding
from fullcontext.model.load import mistral_config
from fullcontext.randomness import torch_seed
from fullcontext.records import Example
from fullcontext.train import preparation
from fullcontext.train.loop import Loop
from fullcontext.verify.layouts import VOCABULARY, Layout, separated

_TIMEOUT_S = 120
_IMPORTED = [
    "fullcontext.verify.measure",
    "transformers.models.mistral.modeling_mistral",
    "torch.distributed.fsdp",
]
"""What the processes need, imported once by the server from which they are forked."""
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "head_dim": 16,
    "max_position_embeddings": 512,
}
_WINDOW = 9
"""Tokens that a sliding window sees, where the composed model has one: fewer than the contexts."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a layout gave."""

    loss: float
    gradients: dict[str, Tensor]
    """By name of the weight; whole, on the CPU."""


def tiny(config: TrainConfig, backend: str) -> Any:
    """A small fp32 model of the composed architecture: its family, its kind of heads."""
    from transformers import AutoModelForCausalLM

    kernels.register(backend)
    settings = _settings(config.model)
    sizes = config.model.architecture
    grouped = sizes.num_kv_heads < sizes.num_heads
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2 if grouped else 4}
    for name, value in {**_SIZES, **heads, "tie_word_embeddings": sizes.tie_embeddings}.items():
        setattr(settings, name, value)
    kinds = list(dict.fromkeys(getattr(settings, "layer_types", None) or []))
    if kinds:
        number = int(_SIZES["num_hidden_layers"])
        settings.layer_types = [kinds[i % len(kinds)] for i in range(number)]
    if getattr(settings, "sliding_window", None):
        settings.sliding_window = _WINDOW
    settings.use_cache = False
    settings.pad_token_id = None
    torch.manual_seed(torch_seed(config.seed, "verify"))
    model = AutoModelForCausalLM.from_config(
        settings, attn_implementation=backend, dtype=torch.float32
    )
    for weight in model.parameters():  # far from zero, so that a wrong mask cannot hide
        torch.nn.init.normal_(weight, std=0.15) if weight.ndim > 1 else None
    return model.train()


def adapted(model: Any, config: TrainConfig) -> Any:
    """The model with the adapters of the config, none of which is at zero."""
    if config.adapter.is_on:
        preparation.attach(model, config, "cpu")
        torch.manual_seed(torch_seed(config.seed, "verify adapters"))
        for weight in lora.trained(model).values():
            torch.nn.init.normal_(weight, std=0.15)
    return model


def _settings(model: ModelConfig) -> Any:
    """transformers' config of the weights, where they are on this machine; else Mistral's."""
    from transformers import AutoConfig

    if model.path is not None:
        try:
            return AutoConfig.from_pretrained(model.path, local_files_only=True)
        except OSError:
            pass  # not here: its sizes are known from the config, and its family is Mistral's
    return mistral_config(model.architecture)


def on_gpu(config: TrainConfig, plain: TrainConfig) -> list[Layout]:
    """flex_attention, where there is a GPU for it; flash-attn has no fp32 to be compared in."""
    limited = ("sliding_window", "attn_logit_softcapping")
    settings = _settings(config.model)
    if not torch.cuda.is_available() or any(getattr(settings, key, None) for key in limited):
        return []
    return [Layout("attention by flex", replace(plain, attention=AttentionConfig(backend="flex")))]


def loop_of(layout: Layout, world: launch.World) -> Loop:
    """The training loop of a layout around a new tiny model."""
    config = layout.config
    model = adapted(tiny(config, config.attention.backend), config)
    sharding.recompute(model, config.checkpointing)
    model = sharding.shard(model, config.sharding, config.precision, world)
    share = sharding.share(config.sharding, world, model)
    return Loop(config, model, cast(Mixture, None), world.device, share)


def step(layout: Layout, given: Sequence[Example], world: launch.World) -> Measured:
    """Loss and gradients of one step; every rank has to call this and gets the same."""
    loop = loop_of(layout, world)
    examples = separated(given) if layout.separate else list(given)
    loss = loop.gradients(examples)
    gradients = {
        name: _whole(weight.grad).detach().cpu().clone()
        for name, weight in loop.model.named_parameters()
        if weight.grad is not None
    }
    return Measured(loss, gradients)


def _whole(value: Any) -> Tensor:
    return cast(Tensor, value.full_tensor() if hasattr(value, "full_tensor") else value)


def in_ranks(layout: Layout, given: Sequence[Example], folder: Path) -> Measured:
    """`step` in as many processes as the layout asks for; they meet over gloo on this machine."""
    from multiprocessing import set_forkserver_preload

    from safetensors.torch import load_file
    from torch.multiprocessing.spawn import start_processes

    if layout.ranks == 1:
        with launch.world() as world:
            return step(layout, given, world)
    file = folder / "gradients.safetensors"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    set_forkserver_preload(_IMPORTED)
    start_processes(
        _rank, (layout, list(given), file, port), layout.ranks, start_method="forkserver"
    )
    found = load_file(file)
    return Measured(float(found.pop("loss")), found)


def _rank(rank: int, layout: Layout, given: list[Example], file: Path, port: int) -> None:
    from safetensors.torch import save_file

    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(layout.ranks),
        "LOCAL_WORLD_SIZE": str(layout.ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    with launch.world(timeout_s=_TIMEOUT_S) as world:
        found = step(layout, given, world)
        if world.is_main:
            whole = {name: value.contiguous() for name, value in found.gradients.items()}
            save_file({**whole, "loss": torch.tensor(found.loss, dtype=torch.float64)}, file)
        launch.barrier()
