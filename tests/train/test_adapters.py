"""A run of adapters: what it saves is small, it goes on bit for bit, its export is whole."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import AutoModelForCausalLM

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import TrainConfig
from fullcontext.model import load
from fullcontext.probe.source import restore
from fullcontext.train import checkpoint, export, preflight, run

SMALL = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "tracking=none", "precision=fp32",
    "schedule.peak=1e-2", "schedule.decay=constant", "batch_size=64",
    "data.questions_per_context=8", "max_steps=12", "checkpoint.every_steps=6", "checkpoint.keep=9",
    "threads=1", "adapter.rank=4",
]  # fmt: skip


def config(*more: str) -> TrainConfig:
    return compose_verb("train", [*SMALL, *more])


@pytest.fixture(scope="module", params=["lora", "qlora"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: Any) -> tuple[TrainConfig, Path]:
    """A run of 12 steps."""
    from fullcontext.compose import RunInfo

    folder = tmp_path_factory.mktemp(request.param)
    given = config(f"adapter={request.param}", "adapter.rank=4")
    run.run(given, RunInfo(folder, {}, []))
    return given, folder


def test_the_log_says_how_much_is_trained(finished: tuple[TrainConfig, Path]) -> None:
    _, folder = finished
    assert "M of adapters trained" in (folder / "log.txt").read_text()
    planned = json.loads((folder / "plan.json").read_text())
    saved = load_file(folder / "export" / "adapter" / "adapter_model.safetensors")
    assert planned["trained_parameters"] == sum(each.numel() for each in saved.values())


def test_a_checkpoint_holds_the_adapters_alone(finished: tuple[TrainConfig, Path]) -> None:
    """Each weight and its two moments."""
    _, folder = finished
    planned = json.loads((folder / "plan.json").read_text())
    held = FileSystemReader(checkpoint.place(folder, 12)).read_metadata().state_dict_metadata
    tensors = {n: t for n, t in held.items() if isinstance(t, TensorStorageMetadata) and t.size}
    assert all(".lora_" in name for name in tensors)
    assert sum(t.size.numel() for t in tensors.values()) == 3 * planned["trained_parameters"]


def test_the_run_goes_on_bit_for_bit(
    finished: tuple[TrainConfig, Path], tmp_path: Path, info: Any
) -> None:
    given, folder = finished
    export_of = load_file(folder / "export" / "model.safetensors")
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    shutil.rmtree(again / "export")
    shutil.rmtree(checkpoint.place(again, 12))
    run.run(given, info(again))
    for name, weight in load_file(again / "export" / "model.safetensors").items():
        assert torch.equal(weight, export_of[name]), name


def test_the_export_is_the_base_with_the_adapters_in_it(
    finished: tuple[TrainConfig, Path],
) -> None:
    given, folder = finished
    base = load.load(given.model, given.positions, given.seed)
    exported = AutoModelForCausalLM.from_pretrained(folder / "export", dtype=torch.float32)
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    said = exported(input_ids=ids).logits
    if given.adapter.quantize == "none":
        base.set_attn_implementation("sdpa")
        adapters = str(folder / "export" / export.ADAPTER)
        theirs = PeftModel.from_pretrained(copy.deepcopy(base), adapters)
        torch.testing.assert_close(theirs(input_ids=ids).logits, said)
    probed, step = restore(load.load(given.model, given.positions, given.seed), folder, None, 0)
    probed.set_attn_implementation("sdpa")
    assert step == 12
    torch.testing.assert_close(probed(input_ids=ids).logits, said, rtol=1e-4, atol=1e-4)
    for name, weight in exported.named_parameters():  # what has no adapter is the base's own
        if not any(target in name for target in given.adapter.targets):
            assert torch.equal(weight, base.get_parameter(name)), name


def test_adapters_on_other_weights_are_refused(
    finished: tuple[TrainConfig, Path], tmp_path: Path, info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, folder = finished
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    loaded = load.load

    def other(*args: Any) -> Any:
        model = loaded(*args)
        with torch.no_grad():
            model.model.embed_tokens.weight[0, 0] += 1
        return model

    monkeypatch.setattr(load, "load", other)
    with pytest.raises(ConfigError, match="have changed since the run began"):
        run.run(given, info(again))


def test_a_missing_package_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="peft and bitsandbytes not installed; pip install"):
        preflight.check(config("adapter=qlora"), tmp_path)


def test_four_bits_are_for_weights_that_stay() -> None:
    with pytest.raises(ConfigError, match="cannot hold an update; choose adapter=qlora"):
        config("adapter.quantize=nf4")
