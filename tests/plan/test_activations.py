"""What a layer is planned to keep for the backward pass against what autograd keeps."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from fullcontext.config import Adapter, AdapterConfig, Normalise
from fullcontext.data.packing import pack
from fullcontext.model import gated_memory, load, lora
from fullcontext.objective import sft
from fullcontext.plan import work
from fullcontext.plan.activations import Saved
from fullcontext.records import Asked, Example

SIZES = {
    "hidden_size": 64, "intermediate_size": 172, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16,
    "vocab_size": 300, "max_positions": 1024,
}  # fmt: skip
WORDS = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "checkpointing=none",
    "model.architecture.tie_embeddings=false",
    *(f"model.architecture.{key}={value}" for key, value in SIZES.items()),
]  # fmt: skip
TOKENS = 257
"""A prime, so that no activation is of a weight's size."""


def example(context: int) -> Example:
    def take(n):
        return np.arange(n, dtype=np.int32)

    asked = Asked("0", "x", take(TOKENS - context - 20), take(20))
    return Example(0, take(context), (asked,))


def kept(config, given: Example, layers: int) -> int:
    """Bytes of every storage that autograd keeps of a forward pass, without weights and casts of
    weights."""
    architecture = replace(config.model.architecture, num_layers=layers)
    net = load.load(replace(config.model, architecture=architecture), config.positions).train()
    match config.adapter.kind:
        case Adapter.gated_memory:
            gated_memory.attach(net, config.adapter, 0)
        case Adapter.lora:
            lora.attach(net, config.adapter, 0)
    sizes = {weight.numel() for weight in net.parameters()}
    own = {weight.untyped_storage().data_ptr() for weight in net.parameters()}
    found: dict[int, torch.Tensor] = {}

    def seen(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    is_bf16 = config.precision == "bf16"
    computing = torch.autocast("cpu", dtype=torch.bfloat16) if is_bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor), computing:
        sft.loss(net, sft.batch(pack([given]), Normalise.token))
    storages = [t.untyped_storage() for at, t in found.items() if at not in own]
    casts = [s for s in storages if is_bf16 and s.nbytes() // 2 in sizes]
    return sum(s.nbytes() for s in storages) - sum(s.nbytes() for s in casts)


@pytest.mark.parametrize("context", [0, 100])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", list(Adapter))
def test_a_layer_keeps_what_is_planned(
    train_config, kind: Adapter, precision: str, context: int
) -> None:
    config = train_config(*WORDS, f"precision={precision}")
    config.adapter = AdapterConfig(kind=kind, rank=8)
    given = example(context)
    # Below the first adapter nothing has a gradient, so the first layer keeps less than others.
    layer = (kept(config, given, 4) - kept(config, given, 2)) / 2
    assert Saved(config, work.load([given])).layer == pytest.approx(layer, rel=1e-3)
