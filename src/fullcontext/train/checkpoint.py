"""Checkpoints that are whole or absent, and the way back from them.

A checkpoint is `checkpoints/step_000100/`: the state that torch.distributed.checkpoint writes,
`extra.json`, and `manifest.json` with the hash of every file, written last; the folder gets its
name only then.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as read_state
from torch.distributed.checkpoint.state_dict_saver import save as write_state

from fullcontext.compose import ConfigError
from fullcontext.store import MANIFEST, digest, sync_folder, write_aside

log = logging.getLogger("fullcontext")
_OPTIONS = StateDictOptions(strict=True)


def save(
    run: Path, step: int, model: Any, optimizer: torch.optim.Optimizer, extra: dict[str, Any],
    keep: int,
) -> Path:  # fmt: skip
    """Writes the checkpoint of `step` and removes all but the `keep` newest."""
    folder = run / "checkpoints" / f"step_{step:06d}"
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        weights, moments = get_state_dict(model, optimizer)
        with _one_process():
            write_state(
                {"model": weights, "optimizer": moments},
                storage_writer=FileSystemWriter(aside, sync_files=True),
                no_dist=True,
            )
        write_aside(aside / "extra.json", json.dumps({"step": step, **extra}))
        hashes = {path.name: digest(path) for path in sorted(aside.iterdir())}
        write_aside(aside / MANIFEST, json.dumps({"step": step, "files": hashes}, indent=1))
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for old in sorted(folder.parent.glob("step_*"))[:-keep]:
        shutil.rmtree(old)
    return folder


@contextmanager
def _one_process() -> Iterator[None]:
    """Keeps torch from warning, at every save, that there is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def newest(run: Path, step: int | None = None) -> Path | None:
    """The newest whole checkpoint (or that of `step`); damaged ones are named and passed over."""
    for folder in _newest_first(run):
        if step is not None and folder.name != f"step_{step:06d}":
            continue
        fault = _fault(folder)
        if fault is None:
            return folder
        log.warning("checkpoint %s is damaged (%s); going back to the one before", folder, fault)
    return None


def _newest_first(run: Path) -> Iterator[Path]:
    yield from sorted((run / "checkpoints").glob("step_*"), reverse=True)


def _fault(folder: Path) -> str | None:
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"{MANIFEST}: {error}"
    for name, expected in files.items():
        if not (folder / name).exists():
            return f"{name} is missing"
        if digest(folder / name) != expected:
            return f"{name} has changed"
    return None


def load(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts weights and optimizer state back; returns what `save` was given as `extra`."""
    weights, moments = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": weights, "optimizer": moments}
    with _one_process():
        read_state(state, storage_reader=FileSystemReader(folder), no_dist=True)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=_OPTIONS,
    )
    extra: dict[str, Any] = json.loads((folder / "extra.json").read_text())
    return extra


def load_weights(model: Any, run: Path, step: int | None = None) -> int:
    """Weights of a run's newest checkpoint, or of that of `step`; returns its step.

    Raises ConfigError if the run has none.
    """
    folder = newest(run, step)
    if folder is None:
        there = ", ".join(path.name for path in _newest_first(run)) or "none"
        raise ConfigError(
            f"{run} has no whole checkpoint{f' of step {step}' if step is not None else ''}"
            f" (there: {there}); train it first or name another step"
        )
    state = {"model": get_model_state_dict(model)}
    with _one_process():
        read_state(state, storage_reader=FileSystemReader(folder), no_dist=True)
    set_model_state_dict(model, state["model"], options=_OPTIONS)
    return int(folder.name.removeprefix("step_"))


def export(run: Path, model: Any, tokenizer: Any, card: str) -> Path:
    """The model as a Hugging Face folder: safetensors, tokenizer and a model card."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    folder = run / "export"
    aside = run / ".export.aside"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        implementation = model.config._attn_implementation
        model.config._attn_implementation = "sdpa"
        model.config.use_cache = True
        model.save_pretrained(aside, safe_serialization=True)
        model.config._attn_implementation = implementation
        model.config.use_cache = False
        tokenizer.save_pretrained(aside)
        write_aside(aside / "README.md", card)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        sync_folder(run)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder
