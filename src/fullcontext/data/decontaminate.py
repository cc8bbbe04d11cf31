"""Documents that share words with an evaluation set are not trained on (IN2, appendix A)."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.data import files, hub, words

_KEY = "filters.decontaminate"
_SETTING = hub.Setting(
    path=_KEY,
    config="CONFIG in NAME:CONFIG:SPLIT",
    split="SPLIT in NAME:CONFIG:SPLIT",
    instead="files or folders of the evaluation sets",
)
_LONGEST = 1 << 28
"""Characters of the longest evaluation text that is read; a longer one is refused."""
_SIEVE = 4
"""Bits of the sieve for every n-gram, as a power of two."""


@dataclass(eq=False)
class Index:
    """The n-grams of evaluation sets.

    They are kept as 64-bit hashes alone, so a match cannot be held against the words themselves: of
    a billion n-grams looked up in a million, the chance that any matches by accident is 6e-5.
    """

    n: int
    """Words in a row that count as an overlap."""
    hashes: words.Hashes
    """Sorted, without repetition."""
    texts: int = 0
    """Strings that were read."""
    too_short: int = 0
    """Of these, strings of fewer than n words, which nothing can overlap with."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files of the evaluation sets that were not read, by reason."""

    def __post_init__(self) -> None:
        bits = max(10, (max(1, len(self.hashes)) - 1).bit_length() + _SIEVE)
        self._shift = np.uint64(64 - bits)
        self._sieve = np.zeros(1 << bits, bool)
        self._sieve[self.hashes >> self._shift] = True

    @property
    def size(self) -> int:
        """Different n-grams."""
        return len(self.hashes)

    @property
    def fingerprint(self) -> str:
        """Changes with n and with any n-gram."""
        content = hashlib.sha256(f"{self.n} {self.size} ".encode())
        content.update(self.hashes.astype("<u8").tobytes())
        return content.hexdigest()[:12]

    def overlap(self, text: str) -> str | None:
        """The first n words in a row of a text that an evaluation set holds too, or None."""
        if not self.size:
            return None
        found = words.hashed(text)
        grams = words.grams(found.hashes, self.n)
        # One bit tells nearly all of them from those that have to be looked up.
        likely = np.flatnonzero(self._sieve[grams >> self._shift])
        places = np.searchsorted(self.hashes, grams[likely])
        places[places == self.size] = 0
        hits = likely[self.hashes[places] == grams[likely]]
        return found.phrase(int(hits[0]), self.n) if len(hits) else None


def load(sets: Iterable[str], n: int) -> Index:
    """The n-grams of every string anywhere in the records of evaluation sets.

    A set is a file, a folder (.txt, .md, .json, .jsonl, .parquet; packed ones too) or a data set of
    the hub as `NAME[:CONFIG[:SPLIT]]`, every config and split where none is named. Each string
    stands alone: no n-gram reaches from one into another. Raises ConfigError if a set cannot be
    read holds no string, or there is nothing as long as an n-gram in all of them.
    """
    sets = list(sets)
    left_out: Counter[str] = Counter()
    parts: list[words.Hashes] = [np.zeros(0, np.uint64)]
    texts = too_short = 0
    for name in sets:
        before = texts
        for text in _texts(name, left_out):
            grams = words.grams(words.hashed(text).hashes, n)
            texts += 1
            too_short += not len(grams)
            parts.append(grams)
            if len(parts) > 1 << 14:
                parts = [np.unique(np.concatenate(parts))]
        if texts == before:
            raise ConfigError(f"{_KEY}: {name!r} holds no text; correct or remove the name")
    index = Index(n, np.unique(np.concatenate(parts)), texts, too_short, left_out)
    if texts and not index.size:
        raise ConfigError(
            f"{_KEY}: the {texts:,} texts of {', '.join(sets)} hold no {n} words in a row, so that"
            " nothing could be found; name the sets' files with the full texts"
        )
    return index


def _texts(name: str, left_out: Counter[str]) -> Iterator[str]:
    if Path(name).expanduser().exists():
        found = files.found(name, _KEY)
        for _, why in found.others:
            left_out[why] += 1
        for file in found.files:
            yield from _texts_of(file, found.name(file))
        return
    path, _, rest = name.partition(":")
    config, _, split = rest.partition(":")
    for each, part in hub.parts(path, config or None, split or None, _SETTING):
        for record in hub.records(path, each, part, _SETTING):
            yield from strings(record)


def _texts_of(file: Path, name: str) -> Iterator[str]:
    if files.kind(file) in (".txt", ".md"):
        yield _whole(file)
        return
    if ".json" in (suffix.lower() for suffix in file.suffixes[-2:]):
        try:  # a list of records in one file; lines of records are no JSON as a whole
            yield from strings(json.loads(_whole(file)))
            return
        except json.JSONDecodeError:
            pass
    for place, record in files.records(file, name, None, _LONGEST):
        if record is None:
            raise _too_long(place)
        yield from strings(record)


def _whole(file: Path) -> str:
    text = files.text(file, _LONGEST)
    if text is None:
        raise _too_long(str(file))
    return text


def _too_long(place: str) -> ConfigError:
    return ConfigError(f"{_KEY}: {place} has over {_LONGEST:,} characters; split it")


def strings(value: Any) -> Iterator[str]:
    """Every string in a record, however deep; names of fields are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)
