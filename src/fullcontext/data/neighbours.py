"""Filler that looks like the evidence: the BM25 neighbours of every question."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig
from fullcontext.data import manifest
from fullcontext.data.table import Numbers, SegmentTable, Store, Stored
from fullcontext.store import fingerprint, read_table, write_aside

BLOCK = 1 << 16
"""Filler segments that are indexed at once. A question is compared with those of one block, the
one at its own place in the corpus: memory is bounded, and time grows with the store, not with its
square. A store of fewer segments is one block."""
SCHEMA = pa.schema([("id", pa.string()), ("neighbours", pa.list_(pa.int32()))])
KINDS = ("fine_grained", "integration")
"""The kinds whose contexts hold filler."""
_WORD = re.compile(r"\w+")


class Neighbours(Sequence[Numbers]):
    """Row of a question -> numbers of filler segments, the most similar first; memory-mapped."""

    def __init__(self, table: pa.Table) -> None:
        self._column = table["neighbours"]

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        return self._column[row].values.to_numpy()


def path(folder: Path, content: dict[str, Any], data: DataConfig) -> Path:
    """Where the neighbours for these settings are; another store or number has another name."""
    name = fingerprint([1, BLOCK, data.hard_neighbours, content["files"]])
    return folder / f"neighbours-{name}.arrow"


def read(store: Store, data: DataConfig) -> Neighbours | None:
    """The neighbours of a store's questions, or None if there are none for these settings."""
    found = path(store.folder, dict(store.manifest), data)
    return Neighbours(read_table(found)) if found.exists() else None


def write(folder: Path, data: DataConfig) -> Path:
    """Finds the neighbours of every question of a finished store, once; the file is written aside.

    Those of a question are the `data.hard_neighbours` filler segments with the highest BM25 score
    for its text without the answer; segments of its own raw document and segments that hold the
    answer are left out. Equal scores are ordered by number, so the file is the same every time.
    Raises ConfigError if the store is not finished.
    """
    content = manifest.read(folder)
    if content is None:
        raise ConfigError(f"the store {folder} is not finished; run synthesize.py first")
    found = path(folder, content, data)
    if found.exists():
        return found
    store = Store(folder, content)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        for rows in _blocks(store):
            lists = _search(store, rows, data.hard_neighbours)
            ids = [store.columns["id"][row].as_py() for row in rows]
            writer.write_batch(pa.record_batch([pa.array(ids, pa.string()), lists], schema=SCHEMA))
    write_aside(found, sink.getvalue().to_pybytes())
    return found


def _blocks(store: Store) -> Iterator[range]:
    """The questions' rows, as many at a time as belong to a block of filler."""
    total = len(store.columns["id"])
    blocks = -(-len(store.fillers) // BLOCK)
    edges = np.linspace(0, total, blocks + 1).round().astype(int)
    yield from (range(a, b) for a, b in pairwise(edges))


def _search(store: Store, rows: range, most: int) -> pa.Array:
    from bm25s import BM25

    fillers = store.fillers
    place = rows.start / max(1, len(store.columns["id"]))
    start = min(int(place * len(fillers)), max(0, len(fillers) - BLOCK))
    numbers = np.arange(start, min(start + BLOCK, len(fillers)), dtype=np.int32)
    index = BM25()
    index.index([_words(fillers.text(n)) for n in numbers.tolist()], show_progress=False)
    found = []
    for row in rows:
        stored = store.at(row)
        known = [word for word in _asked(stored) if word in index.vocab_dict]
        if stored.question.kind not in KINDS or not known:
            found.append(np.zeros(0, np.int32))
            continue
        scores = index.get_scores(known)
        own = store.segments.parents[stored.context[0]]
        scores[fillers.parents[numbers] == own] = 0
        found.append(_best(fillers, numbers, scores, stored.question.answer, most))
    return pa.array(found, pa.list_(pa.int32()))


def _best(fillers: SegmentTable, numbers: Numbers, scores: Any, answer: str, most: int) -> Numbers:
    """The segments of the highest positive scores that do not hold the answer."""
    found: Numbers = np.zeros(0, np.int32)
    for width in (4 * most, len(scores)):
        least = np.partition(scores, -width)[-width] if width < len(scores) else 0
        top = np.flatnonzero((scores > 0) & (scores >= least))
        top = numbers[top[np.lexsort((top, -scores[top]))]]
        found = top[~np.isin(top, fillers.holding(answer.encode(), top))][:most]
        if len(found) == most:
            break
    return found


def _asked(stored: Stored) -> list[str]:
    """The words of a question, its answer taken out."""
    return _words(stored.question.question.replace(stored.question.answer, " "))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
