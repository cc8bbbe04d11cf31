"""Files that exist are complete: written aside, synced, renamed; the manifest comes last."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from fullcontext.compose import ConfigError

MANIFEST = "manifest.json"


def write_aside(path: Path, content: str | bytes) -> None:
    """Writes a file that is either absent or whole, whatever kills the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    data = content.encode() if isinstance(content, str) else content
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(settings: Any) -> str:
    """Short hash of anything JSON can hold; equal settings give equal names."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(old: object, new: object, prefix: str = "") -> list[tuple[str, object, object]]:
    """Key, old and new value wherever two trees of dicts differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in sorted({*old, *new})
            for found in differences(old.get(key), new.get(key), f"{prefix}.{key}".lstrip("."))
        ]
    return [] if old == new else [(prefix, old, new)]


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Writes rows as an Arrow file, which datasets, pandas and pyarrow read and memory-map."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    write_aside(path, sink.getvalue().to_pybytes())


def read_table(path: Path) -> pa.Table:
    """Memory-maps an Arrow file. Raises ConfigError if it is truncated."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(
            f"{path} is not a whole Arrow file ({error}); delete the folder {path.parent}"
            " and run synthesize.py again"
        ) from error


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file; a last line cut by a kill is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


@contextmanager
def locked(path: Path, work: str, *, shared: bool = False, wait_s: float = 0.0) -> Iterator[None]:
    """Holds a lock file while the block runs; `shared` ones exclude only those that are not.

    Raises ConfigError after `wait_s` seconds if another process holds it: "another process is WORK
    FOLDER".
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder {path.parent} cannot be made ({error.strerror}); choose another"
        ) from error
    until = time.monotonic() + wait_s
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise ConfigError(
                        f"another process is {work} {path.parent}; wait for it, stop it, or choose"
                        " another folder"
                    ) from None
                time.sleep(0.1)
        yield


@contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it while the block runs."""
    with locked(folder / ".lock", work):
        yield
