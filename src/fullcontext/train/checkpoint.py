"""Checkpoints that are whole or absent, and the way back from them.

A checkpoint is `checkpoints/step_000100/`: the state that torch.distributed.checkpoint writes,
`extra.json`, and `manifest.json` with the hash of every file, written last; the folder gets its
name only then. Nothing in it depends on the number of ranks that wrote it.
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
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as read_state
from torch.distributed.checkpoint.state_dict_saver import save as write_state

from fullcontext.compose import ConfigError
from fullcontext.model import lora
from fullcontext.store import MANIFEST, digest, sync_folder, write_aside
from fullcontext.train.files import HashingWriter
from fullcontext.train.peers import ALONE, Peers

log = logging.getLogger("fullcontext")
EXTRA = "extra.json"
_OPTIONS = StateDictOptions(strict=True)
_ROOM = 1 << 20
"""Bytes beside the tensors: names, shapes, hashes, counters."""


def place(run: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return run / "checkpoints" / f"step_{step:06d}"


def step_of(folder: Path) -> int:
    """The step of a checkpoint's folder."""
    return int(folder.name.rpartition("_")[2])


def state(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and optimizer state as this rank holds them, not copied.

    An optimizer that has not made a step has no state, and gets none by being saved.
    """
    if not optimizer.state:
        return {"model": weights(model)}
    return {"model": weights(model), "optimizer": get_optimizer_state_dict(model, optimizer)}


def weights(model: Any) -> dict[str, Any]:
    """What a checkpoint has of a model: all of it, tied weights once; or, where it has adapters,
    those alone, the tensors that it computes with."""
    if lora.attached(model) is not None:
        return lora.trained(model)
    return untied(model, get_model_state_dict(model))


def untied(model: Any, weights: dict[str, Any]) -> dict[str, Any]:
    """Each weight once, by the first of its names."""
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    again = every - {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in weights.items() if name not in again}


def write(
    run: Path, step: int, given: dict[str, Any], extra: str, peers: Peers = ALONE
) -> Path:  # fmt: skip
    """Writes what `state` gave, and `extra` (JSON), as the checkpoint of `step`.

    Every rank calls it. Raises PeerError on every rank if one could not write, or if there is not
    room for all of it; then nothing of it stays, and the checkpoints before are untouched.
    """
    folder = place(run, step)
    aside = folder.with_name(f".{folder.name}.aside")
    try:
        peers.first(lambda: _make_room(aside, _size(given)))
        writer = HashingWriter(aside)
        with _one_process():
            peers.together(lambda: _write_tensors(given, writer, peers))
        hashes = peers.gather(writer.hashes)
        peers.first(lambda: _complete(aside, folder, extra, hashes))
    except BaseException:
        if peers.is_first:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


def _make_room(aside: Path, needed: int) -> None:
    """A disk that runs full meanwhile would take metrics.jsonl with it."""
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    free = shutil.disk_usage(aside).free
    if free < needed + _ROOM:
        raise OSError(f"{aside.parent}: {needed:,} bytes are needed, {free:,} are free on the disk")


def _size(given: Any) -> int:
    """Bytes of all tensors, those of other ranks counted."""
    if isinstance(given, dict):
        return sum(_size(value) for value in given.values())
    return given.numel() * given.element_size() if isinstance(given, torch.Tensor) else 0


def _write_tensors(given: dict[str, Any], writer: HashingWriter, peers: Peers) -> None:
    alone = peers.size == 1
    write_state(given, storage_writer=writer, process_group=peers.group, no_dist=alone)


def _complete(aside: Path, folder: Path, extra: str, hashes: list[dict[str, str]]) -> None:
    write_aside(aside / EXTRA, extra)
    files = {EXTRA: digest(aside / EXTRA)}
    for rank, written in enumerate(hashes):
        for name in written:
            if not (aside / name).exists():
                raise OSError(
                    f"{aside / name}, which rank {rank} wrote, is not there; the run folder has to"
                    " be on a disk that all ranks share"
                )
        files |= written
    manifest = {"step": step_of(folder), "files": dict(sorted(files.items()))}
    write_aside(aside / MANIFEST, json.dumps(manifest, indent=1))
    discard(folder)
    aside.rename(folder)
    sync_folder(folder.parent)


def discard(folder: Path) -> None:
    """Removes a checkpoint; killed meanwhile, it is not half there under its name."""
    if folder.exists():
        aside = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside)


def sweep(run: Path) -> None:
    """Removes what a kill left behind of writing and removing."""
    for pattern in (".step_*.aside", ".step_*.old"):
        for rest in (run / "checkpoints").glob(pattern):
            shutil.rmtree(rest)


def prune(run: Path, keep: int, keep_every: int | None) -> None:
    """Removes all but the `keep` newest; steps that `keep_every` divides stay for ever."""
    for folder in list(_newest_first(run))[keep:]:
        if keep_every is None or step_of(folder) % keep_every:
            discard(folder)


def set_aside_after(run: Path, step: int) -> None:
    """Gives checkpoints of later steps (found damaged) another name, so that none counts them."""
    for folder in list(_newest_first(run)):
        if step_of(folder) > step:
            aside = folder.with_name(f"damaged_{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)


@contextmanager
def _one_process() -> Iterator[None]:
    """Keeps torch from warning, at every save, that there is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def newest(run: Path, step: int | None = None, peers: Peers = ALONE) -> Path | None:
    """The newest whole checkpoint (or that of `step`); damaged ones are named and passed over.

    Every rank hashes its share of the files, and all get the same answer.
    """
    for folder in peers.first(lambda: list(_newest_first(run))):
        if step is not None and step_of(folder) != step:
            continue
        fault = next((f for f in peers.gather(_fault(folder, peers)) if f), None)
        if fault is None:
            return folder
        log.warning("checkpoint %s is damaged (%s); going back to the one before", folder, fault)
    return None


def _newest_first(run: Path) -> Iterator[Path]:
    yield from sorted((run / "checkpoints").glob("step_*"), key=step_of, reverse=True)


def _fault(folder: Path, peers: Peers) -> str | None:
    """The first fault among this rank's share of the files."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        shares = sorted(files.items())[peers.rank :: peers.size]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST}: {error}"
    for name, expected in shares:
        if not (folder / name).exists():
            return f"{name} is missing"
        if digest(folder / name) != expected:
            return f"{name} has changed"
    return None


def extra(folder: Path) -> dict[str, Any]:
    """What `write` was given as `extra`."""
    given: dict[str, Any] = json.loads((folder / EXTRA).read_text())
    return given


def load(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> None:
    """Puts weights and optimizer state back, on any number of ranks.

    Every rank reads what it holds. Raises ConfigError if the checkpoint's weights have other names
    or shapes.
    """
    saved = _refuse_other_shapes(folder, model)
    _load_weights(folder, model)
    if not any(name.startswith("optimizer.") for name in saved):
        return
    given = {"optimizer": get_optimizer_state_dict(model, optimizer)}
    with _one_process():
        read_state(given, storage_reader=FileSystemReader(folder), no_dist=True)
    set_optimizer_state_dict(model, optimizer, given["optimizer"], options=_OPTIONS)


def _refuse_other_shapes(folder: Path, model: Any) -> dict[str, Any]:
    """What the checkpoint holds, by name."""
    saved: dict[str, Any] = FileSystemReader(folder).read_metadata().state_dict_metadata
    there = {
        name.removeprefix("model."): tuple(entry.size)
        for name, entry in saved.items()
        if name.startswith("model.") and isinstance(entry, TensorStorageMetadata)
    }
    for name, tensor in weights(model).items():
        if there.get(name) != tuple(tensor.shape):
            found = f"has shape {there[name]}" if name in there else "is absent"
            raise ConfigError(
                f"{folder} is of another model: {name} {found} there and has shape"
                f" {tuple(tensor.shape)} here; choose the model it was trained with"
                f" ({folder.parents[1] / 'config.yaml'}), or another run folder"
            )
    return saved


def load_weights(model: Any, run: Path, step: int | None = None, peers: Peers = ALONE) -> int:
    """Weights of a run's newest checkpoint, or of that of `step`; returns its step.

    Raises ConfigError if the run has none, or one of another model.
    """
    folder = newest(run, step, peers)
    if folder is None:
        there = ", ".join(path.name for path in _newest_first(run)) or "none"
        raise ConfigError(
            f"{run} has no whole checkpoint{f' of step {step}' if step is not None else ''}"
            f" (there: {there}); train it first or name another step"
        )
    _refuse_other_shapes(folder, model)
    _load_weights(folder, model)
    return step_of(folder)


def _load_weights(folder: Path, model: Any) -> None:
    given = {"model": weights(model)}
    with _one_process():
        read_state(given, storage_reader=FileSystemReader(folder), no_dist=True)
    if lora.attached(model) is None:  # else they were read into its own tensors
        every = get_model_state_dict(model)
        set_model_state_dict(model, every | given["model"], options=_OPTIONS)
