"""What is missing is said in seconds, before anything is downloaded or allocated."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fullcontext.compose import ROOT
from fullcontext.train import preflight


def test_the_papers_run_is_refused_with_all_that_is_missing(in_folder: Path) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "data=in2_mix", "model=mistral7b"],
        capture_output=True, text=True, cwd=in_folder, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and time.monotonic() - start < 5
    for word in ("weights: mistralai/", "data: the store", "processes: sharding=full_shard"):
        assert word in done.stderr
    assert "python synthesize.py corpus=c4_realnewslike data=in2_mix model=mistral7b" in done.stderr
    assert "make demo" in done.stderr
    assert not list(in_folder.rglob("*.yaml")), "a refused run leaves nothing behind"


@pytest.fixture
def no_gpu(monkeypatch) -> None:
    monkeypatch.setattr(preflight, "_has_gpu", lambda: False)


def test_memory_is_named_with_the_figure(no_gpu, monkeypatch, train_config) -> None:
    monkeypatch.setattr(preflight, "available_bytes", lambda: 24 * preflight.GIB)
    config = train_config()
    (fault,) = preflight._memory(config)
    assert "7.24G parameters at 16 bytes" in fault and "24.0 GiB are free" in fault
    assert preflight.needed_bytes(config) > 7.24e9 * 16
    assert preflight._memory(train_config("experiments=demo")) == []


def test_a_large_model_asks_for_a_gpu(no_gpu, train_config) -> None:
    (fault,) = preflight._gpu(train_config())
    assert "none is visible" in fault and "2,359,296 tokens" in fault
    assert preflight._gpu(train_config("experiments=demo")) == []


def test_local_weights_must_be_safetensors(tmp_path: Path, train_config) -> None:
    config = train_config(f"model.path={tmp_path}")
    assert "holds no *.safetensors" in preflight._weights(config.model, None)[0]
    (tmp_path / "model.safetensors").touch()
    assert preflight._weights(config.model, None) == []
    assert "init='gone' does not exist" in preflight._weights(config.model, "gone")[0]


def test_a_small_run_passes(train_config, tmp_path: Path) -> None:
    config = train_config("data=key_value_symbols", "model=symbols", "sharding=none")
    preflight.check(config, tmp_path)
