"""An export is what was trained, in files that anyone can load."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from fullcontext.config import Precision
from fullcontext.model import load, tokenizer
from fullcontext.train import export


def model_of(train_config: Any, *words: str) -> tuple[Any, Any]:
    config = train_config("model=symbols", "data=key_value_symbols", "sharding=none", *words)
    return load.load(config.model, config.positions).eval(), tokenizer.load(config.model)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(20)[None]).logits


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize("tied", ["true", "false"])
def test_from_pretrained_gives_the_same_logits_bit_for_bit(
    train_config, tmp_path: Path, tied: str
) -> None:
    model, words = model_of(train_config, f"model.architecture.tie_embeddings={tied}")
    folder = export.write(tmp_path, model, words, "card")
    assert model.config._attn_implementation == "blocks"  # left as it was
    model.set_attn_implementation("sdpa")
    again = loaded(folder)
    assert torch.equal(logits(again), logits(model))
    embedded = again.get_input_embeddings().weight
    assert (again.get_output_embeddings().weight is embedded) == (tied == "true")
    assert json.loads((folder / "config.json").read_text())["use_cache"] is True
    assert (folder / "generation_config.json").exists()
    assert (folder / "README.md").read_text() == "card"


def test_bf16_weights_are_the_rounded_ones(train_config, tmp_path: Path) -> None:
    model, words = model_of(train_config)
    folder = export.write(tmp_path, model, words, "card", Precision.bf16)
    again = loaded(folder)
    assert again.dtype is torch.bfloat16
    for (name, here), (_, there) in zip(
        model.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(here.to(torch.bfloat16), there), name


def test_large_models_are_split_into_files_that_an_index_lists(
    train_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "SHARD_BYTES", 150_000)
    model, words = model_of(train_config)
    folder = export.write(tmp_path, model, words, "card")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) > 2 and {file.name for file in files} == set(index["weight_map"].values())
    weights = {name: p.detach() for name, p in model.named_parameters()}
    assert set(index["weight_map"]) == set(weights)
    for name, file in index["weight_map"].items():
        with safe_open(folder / file, "pt") as content:
            assert torch.equal(content.get_tensor(name), weights[name])
    model.set_attn_implementation("sdpa")
    assert torch.equal(logits(loaded(folder)), logits(model))


def test_experts_are_published_under_the_names_of_the_model_s_own_files(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 30}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4}
    model = MixtralForCausalLM(MixtralConfig(**sizes, **heads)).eval()
    words = tokenizer_of_nothing()
    folder = export.write(tmp_path / "ours", model, words, "card")
    model.save_pretrained(tmp_path / "theirs")
    with (
        safe_open(folder / "model.safetensors", "pt") as ours,
        safe_open(tmp_path / "theirs" / "model.safetensors", "pt") as theirs,
    ):
        assert sorted(ours.keys()) == sorted(theirs.keys())
        assert any("experts.3.w2" in name for name in ours.keys())  # noqa: SIM118 - it is no dictionary
        for name in theirs.keys():  # noqa: SIM118 - it is no dictionary
            assert torch.equal(ours.get_tensor(name), theirs.get_tensor(name)), name


def tokenizer_of_nothing() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))


def test_the_weights_are_never_held_a_second_time(train_config, tmp_path: Path) -> None:
    wide = ["model.architecture.vocab_size=400000", "model.architecture.tie_embeddings=true"]
    model, words = model_of(train_config, *wide)
    assert sum(p.nbytes for p in model.parameters()) > 100e6
    before = peak_since()
    export.write(tmp_path, model, words, "card")
    assert peak_since(before) < 30e6


def peak_since(before: float = 0.0) -> float:
    """Most bytes held in memory since the last call, beyond `before`."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    if not before:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024 - before


def test_an_export_that_is_there_stays_until_the_new_one_is_whole(
    train_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fullcontext.train.peers import PeerError

    model, words = model_of(train_config)
    folder = export.write(tmp_path, model, words, "old")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_file", full)
        with pytest.raises(PeerError, match=r"model\.safetensors: No space left on device"):
            export.write(tmp_path, model, words, "new")
    assert (folder / "README.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    export.write(tmp_path, model, words, "new")
    assert (folder / "README.md").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
