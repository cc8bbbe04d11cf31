"""Low-rank adapters on a transformers model, by peft; its own weights stay, bit for bit.

The model keeps its class and its forward: peft's layers take the place of linear modules within
it. Whatever trains, shards or saves a model finds the adapters as its only trainable weights.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fullcontext.compose import ConfigError
from fullcontext.config.adapter import AdapterConfig, Quantize
from fullcontext.model.four_bits import package, quantise, unpacked
from fullcontext.randomness import torch_seed
from fullcontext.store import write_aside

NAME = "default"
"""Of the adapters, as peft calls them."""
SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Of a folder that peft reads."""
_ATTACHED = "fullcontext_adapters"


@dataclass(frozen=True, slots=True)
class Attached:
    """What a model says of its adapters."""

    config: AdapterConfig
    base: str | None
    """Name of the model that they belong to; None of one with random weights."""
    base_sum: int
    """A sum over the bits of its weights before any quantising, by which others are noticed."""


def attached(model: Any) -> Attached | None:
    """The adapters that `attach` gave a model; None if it has none."""
    found: Attached | None = getattr(model, _ATTACHED, None)
    return found


def attach(
    model: Any,
    config: AdapterConfig,
    seed: int,
    compute: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> None:
    """Freezes a model of fp32 weights and gives it adapters, in place; their product begins at 0.

    With `quantize` the frozen products are held in four bits, on `device`, where they are to stay,
    and computed in `compute`. The adapters are drawn from the seed alone. Raises ConfigError if a
    target is not in the model, or a package is not here.
    """
    _refuse_unknown(model, config)
    peft = package("peft", "adapter.kind=lora")
    model.requires_grad_(False)
    made = Attached(config, model.config.name_or_path or None, base_sum(model))
    setattr(model, _ATTACHED, made)
    if config.quantize is Quantize.nf4:
        quantise(model, compute, device)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=list(config.targets),
        lora_dropout=0.0, bias="none",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, "adapters"))
        peft.inject_adapter_in_model(settings, model, adapter_name=NAME)


@torch.no_grad()
def redraw(model: Any, config: AdapterConfig, seed: int) -> None:
    """Gives adapters the weights that `attach` begins with: A of U(-1/sqrt(in), 1/sqrt(in)), as
    peft draws it, and B of zeros. What was trained before has no part in it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, "adapters"))
        for _, layer in adapted(model):
            down, up = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
            nn.Linear(down.shape[1], config.rank, bias=False)  # peft draws both as torch does ...
            nn.Linear(config.rank, up.shape[0], bias=False)
            drawn = nn.init.kaiming_uniform_(torch.empty(down.shape), a=math.sqrt(5))
            down.copy_(drawn)  # ... and A once more
            up.zero_()


@contextmanager
def disabled(model: Any) -> Iterator[None]:
    """Inside the block the model computes without its adapters, by its own weights alone."""
    layers = [layer for _, layer in adapted(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def trained(model: Any) -> dict[str, Any]:
    """The weights that are trained, by name: tensors, or DTensors where they are sharded."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def base_sum(model: Any) -> int:
    """Of the bit patterns of a model's fp32 weights, as integers, so that neither order nor threads
    matter; weights on the meta device have none."""
    total = 0
    for weight in model.parameters():
        if weight.device.type != "meta":
            total += int(weight.detach().view(torch.int32).sum(dtype=torch.int64))
    return total % (1 << 63)


def _refuse_unknown(model: Any, config: AdapterConfig) -> None:
    there = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    unknown = [target for target in config.targets if target not in there]
    if unknown:
        raise ConfigError(
            f"adapter.targets: the model has no linear module {', '.join(unknown)}; it has"
            f" {', '.join(sorted(there))}"
        )


@dataclass(frozen=True, slots=True)
class Merging:
    """A weight to be published with its adapter in it: base + scale * up @ down, in fp32."""

    base: Any
    """Shape (out, in): a tensor, sharded or not, or four-bit weights."""
    down: Any
    """Shape (rank, in)."""
    up: Any
    """Shape (out, rank)."""
    scale: float
    shape: torch.Size
    dtype: torch.dtype = torch.float32

    def is_floating_point(self) -> bool:
        """As a tensor says it."""
        return True

    def whole(self) -> Tensor:
        """The sum, on the device of the weights; every rank has to call this."""
        base = whole(unpacked(self.base)).to(self.dtype)
        return base + self.scale * (whole(self.up).to(self.dtype) @ whole(self.down).to(self.dtype))


def whole(weight: Any) -> Tensor:
    """A weight, gathered where it is sharded, merged where it has an adapter; every rank has to
    call this."""
    if isinstance(weight, Merging):
        return weight.whole()
    given = weight.detach()
    found: Tensor = given.full_tensor() if hasattr(given, "full_tensor") else given
    return found


def merged(model: Any) -> dict[str, Any]:
    """Weights by the names that the model has without adapters, with the adapters in them: each a
    tensor, a DTensor or a Merging, tied ones once."""
    layers = dict(adapted(model))
    inner = tuple(f"{name}." for name in layers)
    found: dict[str, Any] = {}
    for name, weight in model.named_parameters():
        if not name.startswith(inner):
            found[name] = unpacked(weight)
    for name, layer in layers.items():
        base = layer.get_base_layer()
        found[f"{name}.weight"] = Merging(
            base.weight, layer.lora_A[NAME].weight, layer.lora_B[NAME].weight,
            float(layer.scaling[NAME]), torch.Size((base.out_features, base.in_features)),
        )  # fmt: skip
        if base.bias is not None:
            found[f"{name}.bias"] = base.bias
    return found


def adapted(model: Any) -> Iterator[tuple[str, Any]]:
    """The modules that have an adapter, by name, in the order in which peft made them."""
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            yield name, module


def save(folder: Path, model: Any, write: bool = True) -> None:
    """Writes the adapters as peft reads them; every rank has to call this, and one to `write`."""
    from safetensors.torch import save as to_bytes

    made = attached(model)
    assert made is not None
    config = made.config
    found = {}
    for name, weight in trained(model).items():
        gathered = whole(weight)
        if write:
            published = f"base_model.model.{name.replace(f'.{NAME}.', '.')}"
            found[published] = gathered.cpu().contiguous()
    if not write:
        return
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": made.base,
        "r": config.rank, "lora_alpha": config.alpha, "target_modules": config.targets,
        "lora_dropout": 0.0, "bias": "none", "inference_mode": True,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / WEIGHTS, to_bytes(found, {"format": "pt"}))
    write_aside(folder / SETTINGS, json.dumps(settings, indent=1))


@torch.no_grad()
def load(model: Any, folder: Path) -> None:
    """Puts saved adapters into a model that `attach` gave adapters of the same shapes.

    Raises ConfigError if names or shapes differ.
    """
    from safetensors.torch import load_file

    there = load_file(folder / WEIGHTS)
    for name, weight in trained(model).items():
        published = f"base_model.model.{name.replace(f'.{NAME}.', '.')}"
        saved = there.pop(published, None)
        if saved is None or saved.shape != weight.shape:
            found = "is absent" if saved is None else f"has shape {tuple(saved.shape)}"
            raise ConfigError(
                f"{folder} holds other adapters: {published} {found} there and has shape"
                f" {tuple(weight.shape)} here; attach them as {folder / SETTINGS} says"
            )
        weight.copy_(saved)
    if there:
        raise ConfigError(
            f"{folder} holds adapters that the model has no place for: {', '.join(sorted(there))}"
        )
