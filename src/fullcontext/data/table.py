"""A finished store as memory-mapped tables: known by number, no object for each segment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fullcontext.data import manifest
from fullcontext.records import Ids, Question
from fullcontext.store import read_table

Numbers = npt.NDArray[np.int32]
"""Numbers of segments, or of what has one value for each."""


class Lengths(NamedTuple):
    """Some segments, shortest first."""

    numbers: Numbers
    tokens: Numbers

    def between(self, low: int, high: int) -> Numbers:
        """The segments of `low` to `high` tokens, both included, shortest first."""
        start, stop = np.searchsorted(self.tokens, (low, high + 1))
        return self.numbers[start:stop]


class SegmentTable:
    """Segments numbered from 0 in the order of the shards."""

    def __init__(self, table: pa.Table, parents: Numbers, sources: Numbers) -> None:
        self.parents, self.sources = parents, sources
        """Codes of the raw document and of its source, common to all tables of a store."""
        ids, texts = table["tokens"].chunks, table["text"].chunks
        # Columns of one file are cut into the same chunks; int32 offsets count within a chunk.
        self._chunks = np.repeat(np.arange(len(ids), dtype=np.int32), [len(c) for c in ids])
        self._ids = [np.frombuffer(c.values.buffers()[1] or b"", np.int32) for c in ids]
        self._id_bounds = _bounds(ids)
        self._bytes = [memoryview(c.buffers()[2] or b"") for c in texts]
        self._text_bounds = _bounds(texts)
        self.lengths: Numbers = self._id_bounds[1] - self._id_bounds[0]
        """Tokens of every segment, its separator counted in."""
        self.all = self._by_length(np.argsort(self.lengths, kind="stable").astype(np.int32))
        order = np.lexsort((self.lengths, sources)).astype(np.int32)
        self._of_source = self._by_length(order)
        self._source_starts = np.searchsorted(
            sources[order], np.arange(int(sources.max(initial=-1)) + 2)
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def _by_length(self, order: Numbers) -> Lengths:
        return Lengths(order, self.lengths[order])

    def of_source(self, source: int) -> Lengths:
        """The segments of a source."""
        start, stop = self._source_starts[source : source + 2]
        return Lengths(self._of_source.numbers[start:stop], self._of_source.tokens[start:stop])

    def tokens(self, numbers: Sequence[int] | Numbers) -> list[Ids]:
        """Ids of segments, each with the separator after it; no copies."""
        places = self._places(numbers, self._id_bounds)
        return [self._ids[chunk][start:stop] for chunk, start, stop in places]

    def texts(self, numbers: Sequence[int] | Numbers) -> list[memoryview]:
        """UTF-8 of segments, without separators; no copies."""
        places = self._places(numbers, self._text_bounds)
        return [self._bytes[chunk][start:stop] for chunk, start, stop in places]

    def _places(
        self, numbers: Sequence[int] | Numbers, bounds: tuple[Numbers, Numbers]
    ) -> Iterator[tuple[int, int, int]]:
        found = np.asarray(numbers, np.int64)
        columns = (self._chunks, *bounds)
        return zip(*(column[found].tolist() for column in columns), strict=True)

    def text(self, number: int) -> str:
        """The text of a segment, without the separator."""
        return str(self.texts([number])[0], "utf-8")

    def holding(self, needle: bytes, numbers: Sequence[int] | Numbers) -> list[int]:
        """Which of some segments contain `needle`."""
        views = self.texts(numbers)
        # One search over all: a zero byte, which no text holds, keeps their edges apart.
        if not needle or needle not in b"\0".join(views):
            return []
        return [int(n) for n, v in zip(numbers, views, strict=True) if needle in bytes(v)]


def _bounds(chunks: Sequence[Any]) -> tuple[Numbers, Numbers]:
    """Where each row of a list or string column starts and ends in its chunk's values."""
    offsets = [
        np.frombuffer(c.buffers()[1], np.int32)[c.offset : c.offset + len(c) + 1] for c in chunks
    ]
    none = [np.zeros(0, np.int32)]
    return (
        np.concatenate(none + [each[:-1] for each in offsets]),
        np.concatenate(none + [each[1:] for each in offsets]),
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """A question of a store, and where what belongs to it is."""

    question: Question
    row: int
    """Its number among all questions of the store."""
    evidence: tuple[int, ...]
    """Numbers of its evidence segments."""
    context: tuple[int, ...]
    """Numbers of all its own segments, in the order of the document."""


_FIELDS = (
    "id", "kind", "question", "answer", "evidence", "context", "document", "parent", "source",
)  # fmt: skip


class Store:
    """Segments and filler are known by their numbers in their tables, questions by their place in
    the pool of their kind."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, content
        tables = {name: read_table(folder / name) for name in sorted(content["files"])}
        self.segments, self.fillers = _segment_tables(tables)
        """The tables of evidence and of filler; the same one unless filler has its own size."""
        questions, self._first = _questions(tables)
        self.columns = {name: questions[name] for name in _FIELDS}
        """The questions by column, every kind in one."""
        (kinds,) = _codes([questions["kind"]])
        names = questions["kind"].unique().to_pylist()
        self.pools = {str(name): np.flatnonzero(kinds == code) for code, name in enumerate(names)}
        """Rows of the questions of each kind."""
        self.neighbours: Sequence[Numbers] | None = None
        """For each row the filler that looks most like it; for `data.filler: hard`."""

    def stored(self, kind: str, place: int) -> Stored:
        """The question at a place of its kind's pool, with the numbers of its segments."""
        return self.at(int(self.pools[kind][place]))

    def at(self, row: int) -> Stored:
        """The question in a row."""
        record = {name: column[row].as_py() for name, column in self.columns.items()}
        record |= {name: tuple(record[name]) for name in ("evidence", "context")}
        question, first = Question(**record), int(self._first[row])
        return Stored(
            question, row, _numbers(question.evidence, first), _numbers(question.context, first)
        )

    def evidence_tokens(self, kind: str) -> npt.NDArray[np.int64]:
        """Tokens of each question's evidence, in the order of the pool."""
        found: list[npt.NDArray[Any]] = [np.zeros(0)]
        row = 0
        for chunk in self.columns["evidence"].chunks:
            first = self._first[row : row + len(chunk)]
            owner = np.asarray(pc.list_parent_indices(chunk))
            index = pc.replace_substring_regex(pc.list_flatten(chunk), r"^.*/", "")
            numbers = first[owner] + np.asarray(index.cast(pa.int32()))
            tokens = self.segments.lengths[numbers]
            found.append(np.bincount(owner, tokens, len(chunk)))
            row += len(chunk)
        every: npt.NDArray[np.int64] = np.concatenate(found).astype(np.int64)
        return np.asarray(every[self.pools[kind]])

    def document_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of every raw document, as far as it became segments."""
        return np.bincount(self.segments.parents, self.segments.lengths).astype(np.int64)


def _numbers(ids: Sequence[str], first: int) -> tuple[int, ...]:
    """Numbers of segments `DOCUMENT/INDEX` of a document whose first has the number `first`."""
    return tuple(first + int(id[id.rindex("/") + 1 :]) for id in ids)


def _segment_tables(tables: Mapping[str, pa.Table]) -> tuple[SegmentTable, SegmentTable]:
    groups = {
        noun: [table for name, table in tables.items() if name.startswith(noun)]
        for noun in ("segments", "fillers")
    }
    given = [pa.concat_tables(group) for group in groups.values() if group]
    parents, sources = (_codes([table[name] for table in given]) for name in ("parent", "source"))
    made = [SegmentTable(*each) for each in zip(given, parents, sources, strict=True)]
    return made[0], made[-1]


def _questions(tables: Mapping[str, pa.Table]) -> tuple[pa.Table, Numbers]:
    """All questions, and for each the number of its document's first segment (-1: it has none)."""
    parts, firsts = [], [np.zeros(0, np.int32)]
    for name, table in tables.items():
        if not name.startswith("questions-"):
            continue
        shard = name.replace("questions-", "segments-")
        first = table["first"].to_numpy()
        before = _rows_before(tables, shard)
        firsts.append(np.where(first < 0, -1, first + before).astype(np.int32))
        parts.append(table)
    return pa.concat_tables(parts) if parts else manifest.QUESTION_SCHEMA.empty_table(), (
        np.concatenate(firsts)
    )


def _rows_before(tables: Mapping[str, pa.Table], shard: str) -> int:
    segments = (name for name in tables if name.startswith("segments-") and name < shard)
    return sum(len(tables[name]) for name in segments)


def _codes(columns: Sequence[pa.ChunkedArray]) -> list[Numbers]:
    """Equal numbers for equal strings, over several columns; in order of appearance."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    encoded = pa.chunked_array(chunks, pa.string()).dictionary_encode().unify_dictionaries()
    none = np.zeros(0, np.int32)
    found = np.concatenate(
        [none, *(np.asarray(chunk.indices, np.int32) for chunk in encoded.chunks)]
    )
    return list(np.split(found, np.cumsum([len(column) for column in columns])[:-1]))
