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


def positioned(*overrides: str):
    shape = ["model=symbols", "data=key_value_symbols", "sharding=none"]
    config = compose_verb("train", [*shape, *overrides])
    return load.load(config.model, config.positions)


def test_yarn_stretches_what_the_model_was_made_for(tmp_path: Path) -> None:
    built = positioned("positions.yarn_factor=2", "model.architecture.max_positions=2048")
    rope = built.config.rope_parameters
    assert (rope["rope_type"], rope["original_max_position_embeddings"]) == ("yarn", 1024)
    assert built.config.max_position_embeddings == 2048 and rope["rope_theta"] == 1000
    plain = positioned().model.rotary_emb.inv_freq
    stretched = built.model.rotary_emb.inv_freq
    assert stretched[0] == plain[0]  # the fastest turn is kept, the slowest is halved
    assert stretched[-1] == pytest.approx(float(plain[-1]) / 2)
    folder = saved(tmp_path, MistralConfig(**SIZES))
    config = compose_verb("train", ["model=tiny", f"model.path={folder}", "data=key_value",
                                    "positions.yarn_factor=4"])  # fmt: skip
    found = load.load(config.model, config.positions).config.max_position_embeddings
    assert found == 4 * SIZES["max_position_embeddings"]


def test_a_window_hides_what_lies_further_back() -> None:
    ids = torch.arange(3, 23)[None]
    changed = ids.clone()
    changed[0, 0] = 50
    for window, is_seen in (("null", True), ("4", False)):
        model = positioned(f"positions.sliding_window={window}").eval()
        with torch.no_grad():
            one, other = (model(input_ids=each).logits[0, -1] for each in (ids, changed))
        # Two layers of four see 7 tokens back: the first of 20 is out of reach.
        assert torch.equal(one, other) is not is_seen
