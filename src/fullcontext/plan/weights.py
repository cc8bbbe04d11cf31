"""Which weights a run trains, and what those take that stay as they are."""

import math
from dataclasses import dataclass

from fullcontext.config import Adapter, AdapterConfig, ArchitectureConfig, Quantize, TrainConfig

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in four bits: a byte of scale for 64 of them, and four for 256 of those scales."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a model by whether they are trained."""

    trained: int
    trained_layer: int
    """Of `trained`, those of a decoder layer."""
    trained_outer: int
    """Of `trained`, those of the output head."""
    in_fp32: int
    """Those that ranks share: trained ones, and frozen ones that are not in four bits."""
    in_fp32_layer: int
    packed: int
    """Those in four bits, which every rank holds."""
    largest_packed: int
    """Of a module: what is unpacked at once."""


def layer_parameters(sizes: ArchitectureConfig) -> int:
    """Weights of a decoder layer."""
    outer = sizes.vocab_size * sizes.hidden_size * (1 if sizes.tie_embeddings else 2)
    return (sizes.num_parameters - outer - sizes.hidden_size) // sizes.num_layers


def products(sizes: ArchitectureConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of every matrix product of a layer."""
    hidden, inner = sizes.hidden_size, sizes.intermediate_size
    queries, keys = sizes.num_heads * sizes.head_dim, sizes.num_kv_heads * sizes.head_dim
    return {
        "q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys),
        "o_proj": (queries, hidden), "gate_proj": (hidden, inner), "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }  # fmt: skip


def of_adapters(sizes: ArchitectureConfig, adapter: AdapterConfig) -> int:
    """Weights of the adapters of one layer; none where there are none."""
    if not adapter.is_on:
        return 0
    if adapter.kind is Adapter.gated_memory:
        width, gate = sizes.head_dim, math.isqrt(sizes.head_dim)
        return sizes.num_heads * (4 * width * width + width * gate + gate)
    named = products(sizes)
    return sum(adapter.rank * sum(named[each]) for each in adapter.targets if each in named)


def beside_head(sizes: ArchitectureConfig, adapter: AdapterConfig) -> int:
    """Weights of the low-rank matrices beside the output head, which gated memory alone has."""
    if adapter.kind is not Adapter.gated_memory:
        return 0
    return adapter.head_rank * (sizes.hidden_size + sizes.vocab_size)


def weights(config: TrainConfig) -> Weights:
    """The weights of a run."""
    sizes, adapter = config.model.architecture, config.adapter
    all_, layer = sizes.num_parameters, layer_parameters(sizes)
    if not adapter.is_on:
        outer = sizes.vocab_size * sizes.hidden_size
        return Weights(all_, layer, outer, all_, layer, 0, 0)
    beside = of_adapters(sizes, adapter)
    outer = beside_head(sizes, adapter)
    packed, largest = 0, 0
    if adapter.quantize is Quantize.nf4:
        each = [inputs * outputs for inputs, outputs in products(sizes).values()]
        packed, largest = sum(each), max(each)
    return Weights(
        trained=beside * sizes.num_layers + outer,
        trained_layer=beside,
        trained_outer=outer,
        in_fp32=all_ + outer + (beside - packed) * sizes.num_layers,
        in_fp32_layer=layer + beside - packed,
        packed=packed * sizes.num_layers,
        largest_packed=largest,
    )
