"""Low-rank adapters on a transformers model, by peft; its own weights stay, bit for bit.

The model keeps its class and its forward: peft's layers take the place of linear modules within
it. Whatever trains, shards or saves a model finds the adapters as its only trainable weights.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fullcontext.compose import ConfigError
from fullcontext.config.adapter import AdapterConfig, Quantize
from fullcontext.randomness import torch_seed
from fullcontext.store import write_aside

NAME = "default"
"""Of the adapters, as peft calls them."""
SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Of a folder that peft reads."""
BLOCK = 64
"""Weights that share a scale in four bits."""
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
    peft = _package("peft", "adapter.kind=lora")
    model.requires_grad_(False)
    made = Attached(config, model.config.name_or_path or None, _sum(model))
    setattr(model, _ATTACHED, made)
    if config.quantize is Quantize.nf4:
        _quantise(model, config, compute, device)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=list(config.targets),
        lora_dropout=0.0, bias="none",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, "adapters"))
        peft.inject_adapter_in_model(settings, model, adapter_name=NAME)


def trained(model: Any) -> dict[str, Any]:
    """The weights that are trained, by name: tensors, or DTensors where they are sharded."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def _sum(model: Any) -> int:
    """Over the bit patterns as integers, so that neither order nor threads matter."""
    total = 0
    for weight in model.parameters():
        if weight.device.type != "meta":
            total += int(weight.detach().view(torch.int32).sum(dtype=torch.int64))
    return total % (1 << 63)


def _refuse_unknown(model: Any, config: AdapterConfig) -> None:
    there = {
        name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module)
    }
    unknown = [target for target in config.targets if target not in there]
    if unknown:
        raise ConfigError(
            f"adapter.targets: the model has no linear module {', '.join(unknown)}; it has"
            f" {', '.join(sorted(there))}"
        )


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def _package(name: str, asked: str) -> Any:
    from importlib import import_module

    # On a CPU it asks at every import, peft's too, for a package that only generation would use.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{asked} needs the package {name} ({error}); pip install 'fullcontext[adapters]'"
        ) from error


def _quantise(
    model: Any, config: AdapterConfig, compute: torch.dtype, device: torch.device | str
) -> None:
    """Puts modules of four-bit weights in place of the layers' linear ones."""
    bnb = _package("bitsandbytes", f"adapter.quantize={config.quantize.value}")
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if not _is_linear(module) or module is head:
                continue
            _refuse_width(name, module)
            made = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=module.bias is not None,
                compute_dtype=compute, compress_statistics=True, quant_type="nf4", device="meta",
            )  # fmt: skip
            made.weight = bnb.nn.Params4bit(
                module.weight.detach(), requires_grad=False, compress_statistics=True,
                quant_type="nf4", module=made,
            )  # fmt: skip
            made.bias = module.bias
            setattr(parent, name, made.to(device))  # moving them is what quantises them
    model.is_loaded_in_4bit = True  # by which peft chooses its layers


def _refuse_width(name: str, module: Any) -> None:
    """bitsandbytes 0.50 on a CPU gives other rows wrong weights: errors of 20 %, not of 9 %."""
    if module.in_features % BLOCK:
        raise ConfigError(
            f"adapter.quantize=nf4: {name} takes {module.in_features} inputs, which is no multiple"
            f" of {BLOCK}, the block of weights that are quantised together; choose"
            " adapter.quantize=none"
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


def unpacked(weight: Any) -> Any:
    """Four-bit weights in fp32, others as they are."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.detach().as_subclass(Tensor), state).float()


def merged(model: Any) -> dict[str, Any]:
    """Weights by the names that the model has without adapters, with the adapters in them: each a
    tensor, a DTensor or a Merging, tied ones once."""
    adapted = dict(_adapted(model))
    inner = tuple(f"{name}." for name in adapted)
    found: dict[str, Any] = {}
    for name, weight in model.named_parameters():
        if not name.startswith(inner):
            found[name] = unpacked(weight)
    for name, layer in adapted.items():
        base = layer.get_base_layer()
        found[f"{name}.weight"] = Merging(
            base.weight, layer.lora_A[NAME].weight, layer.lora_B[NAME].weight,
            float(layer.scaling[NAME]), torch.Size((base.out_features, base.in_features)),
        )  # fmt: skip
        if base.bias is not None:
            found[f"{name}.bias"] = base.bias
    return found


def _adapted(model: Any) -> Iterator[tuple[str, Any]]:
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
