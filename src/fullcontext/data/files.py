"""Records out of files: text, JSON lines and Parquet, packed or not, one at a time."""

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from fullcontext.compose import ConfigError

KINDS = (".txt", ".md", ".jsonl", ".parquet")
_ALIASES = {".json": ".jsonl", ".ndjson": ".jsonl", ".jsonlines": ".jsonl", ".text": ".txt"}
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_WINDOW = 1 << 20
"""Bytes read at once."""
_ESCAPED = 12
"""Most bytes that one character takes in JSON: two escaped surrogates."""

Record = dict[str, Any]


class Found(NamedTuple):
    """What lies at a path."""

    root: Path
    files: list[Path]
    """Those that are read, in the order of their names."""
    others: list[tuple[Path, str]]
    """Those that are not, and what they are."""

    def name(self, file: Path) -> str:
        """A file's path below the root, as it stands in ids and messages."""
        return file.name if file == self.root else file.relative_to(self.root).as_posix()


def found(path: str, key: str) -> Found:
    """The files at a path, which setting `key` gives.

    Hidden files are not read. Raises ConfigError if there is no such path, a folder that may not
    be listed, or no file that can be read.
    """
    root = Path(path).expanduser()
    try:
        root.stat()
        everything = [root] if root.is_file() else sorted(_walk(root))
    except FileNotFoundError:
        raise ConfigError(f"{key}={path!r} does not exist; name a file or a folder") from None
    except OSError as error:
        raise ConfigError(f"{key}={path!r} cannot be listed ({error}); mend its rights") from error
    others = [(f, why) for f in everything if (why := _why_not(f, root)) is not None]
    left_out = {file for file, _ in others}
    files = [f for f in everything if f not in left_out]
    if not files:
        raise ConfigError(
            f"{key}={path!r} holds no {', '.join(KINDS)} file ({len(others)} other files); name"
            " another folder"
        )
    return Found(root, files, others)


def _walk(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(root, onerror=refuse):
        yield from (Path(folder) / name for name in names)


def _why_not(file: Path, root: Path) -> str | None:
    if file != root and any(p.startswith(".") for p in file.relative_to(root).parts):
        return "hidden file"
    if not file.is_file():
        return "broken link or no regular file"
    return None if kind(file) else f"file of another kind ({file.suffix or 'no suffix'})"


def kind(file: Path) -> str | None:
    """One of KINDS, whatever it is packed in; None if it cannot be read."""
    suffixes = [s.lower() for s in file.suffixes]
    packed = bool(suffixes) and suffixes[-1] in _PACKED
    if packed:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    last = _ALIASES.get(last, last)
    return last if last in KINDS and not (packed and last == ".parquet") else None


def _open(file: Path) -> BinaryIO:
    packing = _PACKED.get(file.suffix.lower())
    if packing is None:
        return file.open("rb")
    if file.stat().st_size == 0:
        raise OSError("it is empty, which a packed file never is")
    unpacked = pa.input_stream(str(file), compression=packing)
    return cast(BinaryIO, io.BufferedReader(unpacked, _WINDOW))


def _broken(place: Path | str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{place} cannot be read ({str(error) or type(error).__name__}): it is cut off, damaged or"
        " not yours to read; fetch it again, mend its rights or remove it"
    )


def text(file: Path, most: int) -> str | None:
    """The text of a .txt or .md file; None if it is longer than `most` characters.

    What is not UTF-8 becomes U+FFFD. Never reads more than `most` characters can take. Raises
    ConfigError if the file cannot be read.
    """
    limit = 4 * most + 3
    try:
        if file.suffix.lower() not in _PACKED and file.stat().st_size > limit:
            return None
        with _open(file) as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise _broken(file, error) from error
    found = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    return None if len(content) > limit or len(found) > most else found


def records(
    file: Path, name: str, fields: Mapping[str, str] | None, most: int
) -> Iterator[tuple[str, Record | None]]:
    """Place (`NAME:LINE`) and content of each record of a .jsonl or .parquet file.

    Of Parquet only `fields` (setting: field it names) are read, all if None. A line too long to
    hold a text of at most `most` characters is None and never in memory. Raises ConfigError,
    naming file and line, where there is no JSON object, the file breaks off, or a Parquet file has
    no such column.
    """
    if kind(file) == ".parquet":
        return _rows(file, name, fields)
    return _objects(file, name, _ESCAPED * most + _WINDOW)


def _objects(file: Path, name: str, limit: int) -> Iterator[tuple[str, Record | None]]:
    number = 0
    try:
        with _open(file) as stream:
            for number, line in enumerate(_lines(stream, limit), 1):
                if line is None:
                    yield f"{name}:{number}", None
                elif line.strip():
                    yield f"{name}:{number}", _object(line, file, number)
    except OSError as error:
        raise _broken(f"{file}:{number + 1}", error) from error


def _lines(stream: BinaryIO, limit: int) -> Iterator[bytes | None]:
    while line := stream.readline(limit):
        if len(line) < limit or line.endswith(b"\n"):
            yield line
            continue
        while (rest := stream.readline(_WINDOW)) and not rest.endswith(b"\n"):
            pass
        yield None


def _object(line: bytes, file: Path, number: int) -> Record:
    try:
        record = json.loads(line.decode("utf-8-sig", errors="replace"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{file}:{number} is not JSON ({error}), of which a file has one object a line; correct"
            " or remove the line"
        ) from error
    if not isinstance(record, dict):
        raise ConfigError(
            f"{file}:{number} is not a JSON object (a file has one a line); correct or remove it"
        )
    return record


def _rows(file: Path, name: str, fields: Mapping[str, str] | None) -> Iterator[tuple[str, Record]]:
    number = 0
    try:
        # Streams column by column: neither the file nor a row group is ever in memory.
        with pq.ParquetFile(file, buffer_size=_WINDOW, pre_buffer=False) as table:
            columns = None if fields is None else _columns(fields, table.schema_arrow, name)
            for batch in table.iter_batches(batch_size=64, columns=columns):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{name}:{number}", record
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise _broken(f"{file}:{number + 1}", error) from error


def _columns(fields: Mapping[str, str], schema: pa.Schema, name: str) -> list[str]:
    row = {column.name: _shape(column.type) for column in schema}
    for key, field in fields.items():
        value(row, field, name, key)
    return list(fields.values())


def _shape(kind: pa.DataType) -> Any:
    return {f.name: _shape(f.type) for f in kind} if pa.types.is_struct(kind) else None


def value(record: Record, field: str, place: str, key: str) -> Any:
    """What a field holds; `meta.url` is field `url` of field `meta`, if there is no other so named.

    Raises ConfigError, with the fields that there are, if this is none; `key` is the setting that
    names it.
    """
    if field in record:
        return record[field]
    inner: Any = record
    for part in field.split("."):
        if isinstance(inner, dict) and part in inner:
            inner = inner[part]
        elif inner is None:
            return None
        else:
            raise ConfigError(
                f"{key}={field!r} is not in {place}; its fields are: {', '.join(_names(record))}"
            )
    return inner


def _names(record: Record, prefix: str = "") -> Iterator[str]:
    for name, inner in record.items():
        if isinstance(inner, dict):
            yield from _names(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
