"""Files that exist are complete: written aside, synced, renamed; the manifest comes last."""

import fcntl
import hashlib
import json
import os
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
def alone(folder: Path, work: str) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it while the block runs.

    Raises ConfigError if one is there already, saying at what `work`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another process is {work} {folder}; wait for it, stop it, or choose another"
                " folder"
            ) from None
        yield


class Journal:
    """Append-only answers keyed by the content of what was asked: nothing is asked twice."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = {record["key"]: record["value"] for record in read_lines(path)}
        _cut_torn_line(path)
        self._file = path.open("ab")

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def add(self, key: str, value: Any) -> None:
        """Records an answer; on disk when this returns, unless the machine loses power."""
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        self._known[key] = value

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        write_aside(path, content[:whole])
