"""FLOPs as torch counts them, on the architectures that are trained."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from fullcontext.config import Adapter, AdapterConfig, Normalise
from fullcontext.data.packing import Price, pack
from fullcontext.model import attention, gated_memory
from fullcontext.objective import sft
from fullcontext.records import Asked, Example
from fullcontext.train import flops
from tests.objective.test_sft import CONFIGS

attention.register()


def example(context: int, *questions: tuple[int, int]) -> Example:
    def take(n):
        return np.arange(n, dtype=np.int32)

    asked = [Asked(str(i), "x", take(p), take(a)) for i, (p, a) in enumerate(questions)]
    return Example(0, take(context), tuple(asked))


def counted(net, examples: list[Example]) -> tuple[int, int]:
    """FLOPs of matrix products, and of attention, which torch counts without its mask."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        sft.loss(net, sft.batch(pack(examples), Normalise.token)).total.backward()
    by_operator = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    return by_operator["aten.mm"] + by_operator.get("aten.addmm", 0), by_operator["aten.bmm"]


@pytest.mark.parametrize("name", ["mistral", "llama", "qwen2", "qwen3", "gemma"])
def test_a_step_costs_what_torch_counts(name: str) -> None:
    net = AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation=attention.NAME)
    price = flops.price(net)
    alone = [example(20, (3, 2)), example(0, (6, 1))]
    products, attended = counted(net, alone)
    assert products == 3 * (price.token * 32 + price.label * 3)
    assert attended == 3 * price.pair * (20 * 20 + 5 * 25 + 7 * 7)
    assert flops.work(alone, price).full == products + attended


def test_the_head_counts_at_labels_alone_and_attention_below_the_diagonal() -> None:
    price = Price(token=100, pair=10, label=1)
    done = flops.work([example(4, (2, 1))], price)
    assert done.full == 3 * (7 * 100 + (4 * 4 + 3 * 7) * 10 + 1)
    assert done.causal == 3 * (7 * 100 + (10 + 3 * 4 + 6) * 10 + 1)
    assert done.recomputed == 7 * 100 + 28 * 10


def test_one_long_block_costs_half_of_the_full_convention() -> None:
    """6 N + 12 L d s a token against 6 N + 6 L d s."""
    layers, width, tokens = 4, 64, 1000
    price = Price(token=0, pair=4 * layers * width, label=0)
    done = flops.work([example(0, (tokens - 1, 1))], price)
    assert done.full == tokens * 12 * layers * width * tokens
    assert done.causal == pytest.approx(done.full / 2, rel=2e-3)


def test_the_price_does_not_depend_on_the_dtype() -> None:
    net = AutoModelForCausalLM.from_config(CONFIGS["llama"]())
    assert flops.price(net) == flops.price(net.to(torch.bfloat16))


def test_gated_memory_is_paid_a_token_and_what_is_beside_the_head_a_label() -> None:
    net = AutoModelForCausalLM.from_config(CONFIGS["llama"]())
    before, sizes = flops.price(net), net.config
    config = AdapterConfig(kind=Adapter.gated_memory, head_rank=2)
    gated_memory.attach(net, config, 0)
    beside = 2 * (sizes.hidden_size + sizes.vocab_size)
    memories = gated_memory.num_parameters(sizes, config) - beside
    after = flops.price(net)
    assert after.token - after.frozen == 2 * memories > 0 and after.frozen == before.token
    assert after.label - after.frozen_label == 2 * beside and after.frozen_label == before.label
