"""The trained model as a Hugging Face folder, written one weight at a time.

A weight that is spread over ranks is gathered, written by rank 0 and let go, so that no machine
holds the model a second time.
"""

import copy
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from fullcontext.config import Precision
from fullcontext.model import lora
from fullcontext.store import sync_folder, write_aside
from fullcontext.train.checkpoint import untied
from fullcontext.train.peers import ALONE, Peers

ADAPTER = "adapter"
"""Folder of the adapters within an export."""
SHARD_BYTES = 5_000_000_000
"""Most bytes of tensors in one file."""
_DTYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16}
_NAMES = {
    torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.bool: "BOOL",
}  # fmt: skip
"""safetensors' names."""


class _Entry(NamedTuple):
    """A tensor of a safetensors file."""

    name: str
    dtype: str
    shape: list[int]
    size: int


_Plan = dict[str, list[_Entry]]
"""What a file holds: name in the model -> the tensors it is published as."""


def write(
    run: Path, model: Any, tokenizer: Any, card: str, dtype: Precision = Precision.fp32,
    peers: Peers = ALONE,
) -> Path:  # fmt: skip
    """`run`/export: safetensors, config, generation config, tokenizer and card. Adapters are merged
    into the weights, and stand beside them in `adapter`, as peft reads them.

    Every rank calls it. The folder is written aside; one that is there is replaced when the new one
    is whole. Raises PeerError on every rank if rank 0 could not write.
    """
    folder, aside = run / "export", run / ".export.aside"
    try:
        peers.first(lambda: _begin(aside, model, tokenizer, card, _DTYPES[dtype]))
        _write_weights(aside, model, _DTYPES[dtype], peers)
        if lora.attached(model) is not None:
            lora.save(aside / ADAPTER, model, write=peers.is_first)
        peers.first(lambda: _replace(folder, aside))
    except BaseException:
        if peers.is_first:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


def _begin(aside: Path, model: Any, tokenizer: Any, card: str, dtype: torch.dtype) -> None:
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    config = copy.deepcopy(model.config)
    config._attn_implementation = "sdpa"
    config.use_cache = True
    config.dtype = dtype
    config.architectures = [type(model).__name__.removeprefix("FSDP")]
    config.save_pretrained(aside)
    if model.can_generate():
        model.generation_config.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    write_aside(aside / "README.md", card)


def _replace(folder: Path, aside: Path) -> None:
    old = folder.with_name(".export.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _write_weights(aside: Path, model: Any, dtype: torch.dtype, peers: Peers) -> None:
    """All ranks gather every weight, even if rank 0 cannot write: nobody is left waiting."""
    weights = _weights(model)
    plan = _planned(model, weights, dtype)
    fault: Exception | None = None
    for number, names in enumerate(plan):
        file = aside / _file_name(number, len(plan))
        pieces = _gathered(model, weights, list(names), dtype, peers)
        try:
            if peers.is_first and fault is None:
                _write_file(file, [entry for each in names.values() for entry in each], pieces)
        except Exception as error:
            fault = OSError(f"{file}: {getattr(error, 'strerror', None) or error}")
        for _ in pieces:
            pass
    peers.first(lambda: _finish(aside, plan, fault))


def _weights(model: Any) -> dict[str, Any]:
    """Every parameter and stored buffer once; those that are spread over ranks, as they are."""
    ignored = set(model._keys_to_ignore_on_save or ())
    if lora.attached(model) is not None:
        return lora.merged(model)
    found = untied(model, get_model_state_dict(model))
    return {name: weight for name, weight in found.items() if name not in ignored}


def _published(model: Any, name: str, weight: Tensor) -> dict[str, Tensor]:
    """A weight under the names that the model's own files have; some split it (experts)."""
    from transformers.core_model_loading import revert_weight_conversion

    found: dict[str, Tensor] = revert_weight_conversion(model, {name: weight})
    return found


def _planned(model: Any, weights: dict[str, Any], dtype: torch.dtype) -> list[_Plan]:
    """What goes into each file, known before a byte is written."""
    files: list[_Plan] = [{}]
    size = 0
    for name, weight in weights.items():
        kind = dtype if weight.is_floating_point() else weight.dtype
        empty = torch.empty(weight.shape, dtype=kind, device="meta")
        entries = [
            _Entry(published, _NAMES[kind], list(piece.shape), piece.numel() * piece.element_size())
            for published, piece in _published(model, name, empty).items()
        ]
        own = sum(entry.size for entry in entries)
        if files[-1] and size + own > SHARD_BYTES:
            files.append({})
            size = 0
        files[-1][name] = entries
        size += own
    return files


def _gathered(
    model: Any, weights: dict[str, Any], names: list[str], dtype: torch.dtype, peers: Peers
) -> Iterator[Tensor]:
    """The whole weights one after the other, in main memory, on rank 0; nothing elsewhere."""
    for name in names:
        whole = lora.whole(weights[name])
        if peers.is_first:
            for piece in _published(model, name, whole).values():
                yield piece.to("cpu", dtype if piece.is_floating_point() else piece.dtype)


def _write_file(file: Path, entries: list[_Entry], pieces: Iterator[Tensor]) -> None:
    """A safetensors file: length of the header, header, and the bytes of every tensor in order."""
    with file.open("wb") as out:
        out.write(_header(entries))
        for _, piece in zip(entries, pieces, strict=True):
            out.write(piece.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        out.flush()
        os.fsync(out.fileno())


def _header(entries: list[_Entry]) -> bytes:
    places: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in entries:
        offsets = [start, start + entry.size]
        places[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": offsets}
        start += entry.size
    text = json.dumps(places, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _file_name(number: int, count: int) -> str:
    return (
        f"model-{number + 1:05d}-of-{count:05d}.safetensors" if count > 1 else "model.safetensors"
    )


def _finish(aside: Path, plan: list[_Plan], fault: Exception | None) -> None:
    """The index, where there are several files."""
    if fault is not None:
        raise fault
    if len(plan) == 1:
        return
    placed = [
        (entry, _file_name(number, len(plan)))
        for number, names in enumerate(plan)
        for entries in names.values()
        for entry in entries
    ]
    index = {
        "metadata": {"total_size": sum(entry.size for entry, _ in placed)},
        "weight_map": {entry.name: file for entry, file in placed},
    }
    write_aside(aside / "model.safetensors.index.json", json.dumps(index, indent=2))
