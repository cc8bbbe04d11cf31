"""Prompts and models of the probes' tests, made once."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from fullcontext.compose import compose_verb
from fullcontext.config import ProbeRunConfig
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, tokenizer


@pytest.fixture(scope="session")
def text() -> tuple[ProbeRunConfig, Prompt]:
    """Mistral's tokenizer and prompt, and a model of two layers with large random weights."""
    config = compose_verb("probe", ["precision=fp32", "probe.contexts=2", "probe.questions=10"])
    sizes = config.model.architecture
    sizes.hidden_size, sizes.num_layers, sizes.intermediate_size = 64, 2, 64
    sizes.initializer_range = 0.4  # small ones repeat one token whatever they read
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    return config, prompt


@pytest.fixture(scope="session")
def symbols() -> tuple[ProbeRunConfig, Prompt]:
    """One token a word: keys and values."""
    chosen = ["model=symbols", "data=key_value_symbols", "probe=key_value_symbols"]
    config = compose_verb("probe", chosen)
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    return config, prompt


@pytest.fixture(scope="session")
def text_model(text: tuple[ProbeRunConfig, Prompt]) -> Any:
    config, _ = text
    return load.load(config.model, config.positions).eval()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small(text: tuple[ProbeRunConfig, Prompt]) -> ProbeRunConfig:
    """The verb's configuration at the size of a test."""
    config, _ = text
    probe = replace(
        config.probe, tasks=["code", "key_value"], context_tokens=700, contexts=1, questions=3,
        max_new_tokens=3,
    )  # fmt: skip
    return replace(config, probe=probe)
