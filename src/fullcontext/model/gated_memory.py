"""Gated memory (LIFT, arXiv 2502.14644 v3) as an adapter: attached, drawn, saved, switched off.

Hooks put it into every self-attention (model/gated_attention.py): the model keeps its class, its
forward and any attention backend, and its own weights stay, bit for bit. Beside the output head are
low-rank matrices, by peft.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullcontext.compose import ConfigError
from fullcontext.config.adapter import Adapter, AdapterConfig, MemoryInit, Quantize
from fullcontext.model import lora
from fullcontext.model.four_bits import package, quantise
from fullcontext.model.gated_attention import Memory, Tally
from fullcontext.randomness import torch_seed
from fullcontext.store import write_aside

SETTINGS, WEIGHTS = "gated_memory.json", "gated_memory.safetensors"
"""Of a saved folder."""
_ATTACHED = "fullcontext_gated_memory"


def is_attached(model: Any) -> bool:
    """Whether `attach` gave the model gated memory."""
    return hasattr(model, _ATTACHED)


def memories(model: Any) -> list[Memory]:
    """Of the layers, in order; empty where there are none."""
    return [module for module in model.modules() if isinstance(module, Memory)]


def attach(
    model: Any, config: AdapterConfig, seed: int, compute: torch.dtype = torch.float32
) -> None:
    """Freezes a model of fp32 weights and gives it gated memory, in place, where the model is.

    With `quantize` the frozen products are held in four bits and computed in `compute`. The new
    weights are drawn from the seed alone. Raises ConfigError if a layer has no self-attention with
    q_proj and o_proj of one width, the model has the adapter already, or a package is not here.
    """
    if is_attached(model):
        raise ConfigError(
            "the model has gated memory already, and a second one would add to it; give the one it"
            " has fresh weights with redraw"
        )
    attentions = [_attention(i, layer) for i, layer in enumerate(model.get_decoder().layers)]
    model.requires_grad_(False)
    made = lora.Attached(config, model.config.name_or_path or None, lora.base_sum(model))
    if config.quantize is Quantize.nf4:
        quantise(model, compute, next(model.parameters()).device)
    if config.head_rank:
        _adapt_head(model, config)
    for attention in attentions:
        memory = attention.memory = Memory(attention)
        attention.q_proj.register_forward_hook(memory.see)
        attention.o_proj.register_forward_pre_hook(memory.mix)
    setattr(model, _ATTACHED, made)
    redraw(model, config, seed)


def _attention(number: int, layer: Any) -> Any:
    """The self-attention of a decoder layer."""
    found = [m for m in layer.modules() if hasattr(m, "q_proj") and hasattr(m, "o_proj")]
    if len(found) != 1:
        raise ConfigError(
            f"adapter.kind=gated_memory: layer {number} has {len(found)} modules with q_proj and"
            " o_proj, not one self-attention; choose adapter=lora, or a model with one (Llama,"
            " Mistral, Qwen 2 and 3, Gemma 2 and 3)"
        )
    queries, attended = found[0].q_proj.out_features, found[0].o_proj.in_features
    if queries != attended or attended % found[0].head_dim:
        raise ConfigError(
            f"adapter.kind=gated_memory: q_proj of layer {number} gives {queries} values and o_proj"
            f" takes {attended}, in heads of {found[0].head_dim}; they have to be one query a head;"
            " choose adapter=lora"
        )
    return found[0]


def _adapt_head(model: Any, config: AdapterConfig) -> None:
    """Low-rank matrices beside the output head; what is tied to it stays tied, and as it is."""
    peft = package("peft", "adapter.kind=gated_memory with adapter.head_rank above 0")
    head = model.get_output_embeddings()
    name = next(name for name, module in model.named_modules() if module is head)
    settings = peft.LoraConfig(
        r=config.head_rank, lora_alpha=config.head_alpha, target_modules=[name],
        lora_dropout=0.0, bias="none",
    )  # fmt: skip
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # peft warns that tied weights would part if the adapter were merged; it never is.
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings")
        peft.inject_adapter_in_model(settings, model, adapter_name=lora.NAME)


@torch.no_grad()
def redraw(model: Any, config: AdapterConfig, seed: int) -> None:
    """Fresh weights, on the CPU whatever the device, from the seed alone: nothing of what was
    trained before is left. The matrices beside the output head begin as peft begins them: A of
    U(-1/sqrt(in), 1/sqrt(in)), B of zeros."""
    for layer, memory in enumerate(memories(model)):
        for number, weight in enumerate(memory.parameters()):
            fan = weight.shape[1]
            if config.memory_init is MemoryInit.reference:
                fan *= weight.shape[2]
            _uniform(weight, fan, torch_seed(seed, "gated memory", layer, number))
    for _, head in lora.adapted(model):
        down = head.lora_A[lora.NAME].weight
        _uniform(down, down.shape[1], torch_seed(seed, "gated memory's output head"))
        head.lora_B[lora.NAME].weight.zero_()


def _uniform(weight: Tensor, fan: int, seed: int) -> None:
    if weight.device.type == "meta":
        return
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(fan)
    weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))


@contextmanager
def disabled(model: Any) -> Iterator[None]:
    """Inside the block the model computes without memory and adapter, as it did before `attach`."""
    found = memories(model)
    for memory in found:
        memory.is_on = False
    try:
        with lora.disabled(model):
            yield
    finally:
        for memory in found:
            memory.is_on = True


@contextmanager
def gates(model: Any) -> Iterator[Callable[[], list[float]]]:
    """Inside the block gates are counted; what it gives says, then or later, the mean of each
    layer over heads and tokens, NaN where none ran. Checkpointing counts a token twice, and alike.
    """
    found = memories(model)
    tallies = [Tally() for _ in found]
    for memory, tally in zip(found, tallies, strict=True):
        memory.tallies.append(tally)
    try:
        yield lambda: [float(t.total) / t.count if t.count else math.nan for t in tallies]
    finally:
        for memory, tally in zip(found, tallies, strict=True):
            memory.tallies.remove(tally)


def num_parameters(sizes: Any, config: AdapterConfig) -> int:
    """Trained weights beside a model of which `sizes` is transformers' config (of its text)."""
    heads = sizes.num_attention_heads
    width = getattr(sizes, "head_dim", None) or sizes.hidden_size // heads
    inner = math.isqrt(width)
    layer = heads * (2 * width * 2 * width + width * inner + inner)
    return int(
        sizes.num_hidden_layers * layer + config.head_rank * (sizes.hidden_size + sizes.vocab_size)
    )


def _made(model: Any) -> lora.Attached:
    found: lora.Attached | None = getattr(model, _ATTACHED, None)
    assert found is not None, "attach comes first"
    return found


def _settings(model: Any) -> dict[str, Any]:
    made, found = _made(model), memories(model)
    heads, width, _ = found[0].value_in.shape
    return {
        "kind": Adapter.gated_memory.value, "layers": len(found), "heads": heads,
        "head_dim": width, "head_rank": made.config.head_rank,
        "head_alpha": made.config.head_alpha, "base_sum": made.base_sum,
        "memory_init": made.config.memory_init.value, "quantize": made.config.quantize.value,
        "base_model_name_or_path": made.base,
    }  # fmt: skip


_HAVE_TO_AGREE = ("kind", "layers", "heads", "head_dim", "head_rank", "head_alpha", "base_sum")


def save(folder: Path, model: Any) -> None:
    """Writes the trained weights, and of what shape and beside which base they are."""
    from safetensors.torch import save as to_bytes

    found = {_published(n): w.cpu().contiguous() for n, w in lora.trained(model).items()}
    write_aside(folder / WEIGHTS, to_bytes(found, {"format": "pt"}))
    write_aside(folder / SETTINGS, json.dumps(_settings(model), indent=1))


def _published(name: str) -> str:
    """Without peft's name of the adapter, as `lora.save` has it."""
    return name.replace(f".{lora.NAME}.", ".")


@torch.no_grad()
def load(model: Any, folder: Path) -> None:
    """Puts saved weights into a model that `attach` gave gated memory.

    Raises ConfigError if the folder holds none, or those of another shape or another base.
    """
    from safetensors.torch import load_file

    if not (folder / SETTINGS).exists():
        raise ConfigError(f"{folder} holds no gated memory ({SETTINGS} is absent); name one of it")
    theirs, ours = json.loads((folder / SETTINGS).read_text()), _settings(model)
    for key in _HAVE_TO_AGREE:
        if theirs.get(key) != ours[key]:
            raise ConfigError(
                f"{folder} holds an adapter with {key}={theirs.get(key)} beside the model"
                f" {theirs.get('base_model_name_or_path')}, here it is {ours[key]} beside"
                f" {ours['base_model_name_or_path']}; attach what {folder / SETTINGS} says"
            )
    there = load_file(folder / WEIGHTS)
    for name, weight in lora.trained(model).items():
        weight.copy_(there[_published(name)])
