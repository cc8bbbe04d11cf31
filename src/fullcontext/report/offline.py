"""W&B's transaction log (run-*.wandb) -> config, history and state of a run, without a server.

A file is a header of 7 bytes (":W&B", 0xBEE1, version) and LevelDB log blocks of 32 KiB whose
records are protobuf messages of wandb (0.31 wrote those of the tests).
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
_MAGIC = 0xBEE1
_DAMAGED, _FULL, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 3, 4
_SEEDS = {kind: zlib.crc32(bytes([kind])) for kind in (_FULL, _FIRST, _MIDDLE, _LAST)}


@dataclass(slots=True)
class Logged:
    """What a transaction log holds of one run; one run may have written several."""

    id: str = ""
    name: str = ""
    verb: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """One dict a log call, in order."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    """None where the run did not end in order."""


def read(path: Path, warnings: list[str]) -> Logged:
    """One file; what is damaged is in `warnings`, a torn tail is what a kill leaves."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # no types
    from wandb.proto import wandb_internal_pb2 as proto

    found = Logged()
    for payload in _payloads(path, warnings):
        record = proto.Record()
        try:
            record.ParseFromString(payload)
        except DecodeError:
            warnings.append(f"{path}: a record is no message of wandb")
            continue
        _take(found, record)
    found.config.pop("_wandb", None)
    return found


def _take(found: Logged, record: Any) -> None:
    match record.WhichOneof("record_type"):
        case "run":
            run = record.run
            found.id, found.name, found.verb = run.run_id, run.display_name, run.job_type
            _update(found.config, run.config.update)
        case "config":
            _update(found.config, record.config.update)
            for removed in record.config.remove:
                found.config.pop(_key(removed, "."), None)
        case "history":
            line = {_key(item, "/"): _value(item.value_json) for item in record.history.item}
            if record.history.HasField("step"):
                line.setdefault("_step", record.history.step.num)
            found.history.append(line)
        case "summary":
            for item in record.summary.update:
                found.summary[_key(item, "/")] = _value(item.value_json)
        case "exit":
            found.exit_code = record.exit.exit_code


def _update(config: dict[str, Any], items: Any) -> None:
    for item in items:
        *parents, last = item.nested_key or [item.key]
        place = config
        for parent in parents:
            below = place.get(parent)
            if not isinstance(below, dict):
                below = place[parent] = {}
            place = below
        place[last] = _value(item.value_json)


def _key(item: Any, between: str) -> str:
    return between.join(item.nested_key) if item.nested_key else str(item.key)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _payloads(path: Path, warnings: list[str]) -> Iterator[bytes]:
    """The messages of a file, each joined from its parts."""
    try:
        data = path.read_bytes()
    except OSError as error:
        warnings.append(f"{path}: cannot be read ({error})")
        return
    if len(data) < HEADER or struct.unpack_from("<4sH", data) != (b":W&B", _MAGIC):
        warnings.append(f"{path}: not a transaction log of W&B (no :W&B header)")
        return
    parts: bytes | None = None
    for kind, body in _parts(path, data, warnings):
        if kind in (_FULL, _FIRST):
            parts = body
        elif kind == _DAMAGED:
            parts = None
        elif parts is not None:  # None where the beginning was lost
            parts += body
        if kind in (_FULL, _LAST) and parts is not None:
            yield parts


def _parts(path: Path, data: bytes, warnings: list[str]) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each record. What is damaged costs the rest of its block, and is told."""
    at = HEADER
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        if left < HEADER or crc == size == kind == 0:  # padding, or never written
            at += left
            continue
        body = data[at + HEADER : at + HEADER + size]
        if len(body) < size:  # the tail that a kill leaves
            return
        if kind not in _SEEDS or zlib.crc32(body, _SEEDS[kind]) != crc:
            warnings.append(f"{path}: damaged at byte {at:,}; the rest of its block is left out")
            yield _DAMAGED, b""
            at += left
            continue
        yield kind, body
        at += HEADER + size
