"""Shared by all tests: one torch thread, no network, no W&B."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ["WANDB_SILENT"] = "true"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from fullcontext import compose

torch.set_num_threads(1)
settings.register_profile("fullcontext", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("fullcontext")
compose.register()


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def info() -> Callable[..., compose.RunInfo]:
    """What Hydra would say of a run in a folder."""

    def make(folder: Path, **choices: str) -> compose.RunInfo:
        return compose.RunInfo(folder, dict(choices), [])

    return make


@pytest.fixture(scope="session")
def train_config() -> Callable[..., Any]:
    """The typed config of `python train.py OVERRIDES`."""
    return lambda *overrides: compose.compose_verb("train", overrides)
