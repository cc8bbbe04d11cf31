"""Weights held in four bits (nf4, quantised twice), by bitsandbytes: QLoRA, arXiv 2305.14314."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from fullcontext.compose import ConfigError

BLOCK = 64
"""Weights that share a scale."""


def package(name: str, asked: str) -> Any:
    """The module of an optional package. Raises ConfigError, naming what `asked` for it."""
    from importlib import import_module

    # On a CPU it asks at every import, peft's too, for a package that only generation would use.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{asked} needs the package {name} ({error}); pip install 'fullcontext[adapters]'"
        ) from error


def quantise(model: Any, compute: torch.dtype, device: torch.device | str) -> None:
    """Puts modules of four-bit weights in place of the layers' linear ones, on `device`.

    They compute in `compute`. Raises ConfigError if bitsandbytes is not here, or a width is no
    multiple of BLOCK.
    """
    bnb = package("bitsandbytes", "adapter.quantize=nf4")
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if not isinstance(module, nn.Linear) or module is head:
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


def unpacked(weight: Any) -> Any:
    """Four-bit weights in fp32, others as they are."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.detach().as_subclass(Tensor), state).float()
