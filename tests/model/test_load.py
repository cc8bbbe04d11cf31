"""A model that could not be trained exactly is refused when it is loaded."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, MistralConfig

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.model import kernels, load
from tests.objective.test_sft import CONFIGS, SIZES


def saved(folder: Path, settings) -> Path:
    AutoModelForCausalLM.from_config(settings).to(torch.bfloat16).save_pretrained(folder)
    return folder


def loaded(folder: Path, backend: str = "blocks"):
    config = compose_verb("train", ["model=tiny", f"model.path={folder}", "data=key_value"])
    return load.load(config.model, config.positions, backend=backend)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma", "gemma2", "gemma3"])
def test_weights_of_any_family_become_fp32(tmp_path: Path, name: str) -> None:
    model = loaded(saved(tmp_path, CONFIGS[name]()))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == "blocks"


def test_dropout_is_refused_by_name(tmp_path: Path) -> None:
    folder = saved(tmp_path, MistralConfig(**SIZES, attention_dropout=0.1))
    with pytest.raises(ConfigError, match=r"\(attention_dropout\).*depend on the layout"):
        loaded(folder)


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        (MistralConfig(**SIZES, sliding_window=64), True),
        (MistralConfig(**SIZES, sliding_window=None), False),
        (Gemma2Config(**SIZES, layer_types=["full_attention"] * 2), True),
        (CONFIGS["qwen2"](), False),
        (CONFIGS["gemma3"](), True),
    ],
    ids=lambda given: getattr(given, "model_type", given),
)
def test_a_kernel_that_does_not_do_what_the_model_does_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings, is_refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    kernels.register("flex")
    folder = saved(tmp_path, settings)
    if not is_refused:
        assert loaded(folder, "flex").config._attn_implementation == "flex"
        return
    with pytest.raises(ConfigError, match="which attention=flex does not do"):
        loaded(folder, "flex")
