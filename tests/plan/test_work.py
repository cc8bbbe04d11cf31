"""FLOPs that plan tells are those that torch counts in a step of the training loop."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, sharding, tokenizer
from fullcontext.plan import work
from fullcontext.train import flops
from fullcontext.train.loop import Loop

WORDS = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "precision=fp32", "batch_size=16",
]  # fmt: skip


def loop(config) -> Loop:
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    mixture = Mixture(config.data, prompt, None, config.seed, config.batch_size)
    model = load.load(config.model, config.positions, config.seed).train()
    sharding.recompute(model, config.checkpointing)
    return Loop(config, model, mixture, torch.device("cpu"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["checkpointing=full"],
        ["checkpointing=selective", "model.architecture.num_layers=3"],
        ["data.questions_per_context=4"],
        ["data.questions_per_context=4", "max_tokens=128", "checkpointing=full"],
        ["precision=bf16", "max_tokens=300"],
    ],
    ids=" ".join,
)
def test_a_step_of_the_loop_runs_as_many_flops_as_planned(train_config, words: list[str]) -> None:
    config = train_config(*WORDS, *words)
    made = loop(config)
    examples = made.mixture.batch(0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made.step(examples, 10)
    loads = [load for each in work.rounds(config, examples, 1) for load in each]
    planned = work.executed(config, loads)
    assert planned.total == counter.get_total_flops()
    by_operator = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    if config.checkpointing == "none":
        assert planned.attention == by_operator["aten.bmm"]
        assert planned.products + planned.head == by_operator["aten.mm"]


@pytest.mark.parametrize("model", ["symbols", "tiny"])
def test_the_price_from_sizes_is_that_of_the_built_model(train_config, model: str) -> None:
    config = train_config("data=key_value_symbols", f"model={model}", "sharding=none")
    built = load.load(config.model, config.positions)
    assert work.price(config) == flops.price(built)


def test_the_parameters_of_known_models_are_theirs(train_config) -> None:
    known = {
        "mistral7b": 7_241_732_096,
        "llama3_1_8b": 8_030_261_248,
        "qwen2_5_72b": 72_706_203_648,
    }
    for name, parameters in known.items():
        sizes = train_config(f"model={name}").model.architecture
        assert sizes.num_parameters == parameters
