"""A finished store, memory-mapped: segment tokens as slices of one array, questions by kind."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fullcontext.compose import ConfigError, plain
from fullcontext.config import SotuCorpus
from fullcontext.data import manifest
from fullcontext.records import Ids, Question
from fullcontext.store import read_table


class Store:
    """Segments are known here by their number, 0 to `len(store.lengths) - 1`."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, content
        names = sorted(content["files"])
        tables = {name: read_table(folder / name) for name in names}
        segments = pa.concat_tables(t for n, t in tables.items() if n.startswith("segments"))
        questions = pa.concat_tables(t for n, t in tables.items() if n.startswith("questions"))
        self._chunks = [chunk.values.to_numpy() for chunk in segments["tokens"].chunks]
        self._texts = segments["text"]
        self._locate(segments)
        self.parents = _codes(segments["parent"])
        self._number = {id: i for i, id in enumerate(segments["id"].to_pylist())}
        self._questions = questions
        kinds = np.asarray(questions["kind"].to_pylist())
        self.pools = {str(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}
        self.lengths = self._stops - self._starts

    def _locate(self, segments: pa.Table) -> None:
        offsets = [chunk.offsets.to_numpy() for chunk in segments["tokens"].chunks]
        self._chunk_of = np.repeat(np.arange(len(offsets)), [len(o) - 1 for o in offsets])
        self._starts = np.concatenate([o[:-1] for o in offsets]).astype(np.int64)
        self._stops = np.concatenate([o[1:] for o in offsets]).astype(np.int64)

    def tokens(self, segment: int) -> Ids:
        """Ids of a segment and the separator after it; no copy."""
        chunk: Ids = self._chunks[self._chunk_of[segment]]
        return chunk[self._starts[segment] : self._stops[segment]]

    def text(self, segment: int) -> str:
        """The text of a segment, without the separator."""
        return str(self._texts[segment])

    def number(self, ids: Sequence[str]) -> list[int]:
        """The numbers of segments by id."""
        return [self._number[id] for id in ids]

    def evidence_tokens(self, kind: str) -> np.ndarray[Any, Any]:
        """Tokens of each question's evidence, in the order of the pool."""
        ids = self._questions["evidence"].take(pa.array(self.pools[kind])).to_pylist()
        return np.array([self.lengths[self.number(evidence)].sum() for evidence in ids])

    def question(self, kind: str, index: int) -> Question:
        """The question at a place of its kind's pool."""
        record = self._questions.slice(int(self.pools[kind][index]), 1).to_pylist()[0]
        lists = {"evidence": tuple(record["evidence"]), "context": tuple(record["context"])}
        record.pop("first")
        return Question(**{**record, **lists})


def _codes(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(codes, np.int64)


def open_store(config: Any, tokenizer_hash: str) -> Store:
    """The store of a training config.

    Raises ConfigError, with the command that makes it, if there is none or it was made with
    another tokenizer, segment size or separator.
    """
    folder = manifest.store_path(config)
    content = manifest.read(folder)
    if content is None:
        raise ConfigError(missing(config))
    there = content["settings"]
    wanted = {
        "segment_size": config.data.segment_size,
        "separator": config.data.separator,
        "tokenizer_hash": tokenizer_hash,
    }
    if config.data.store is None:
        wanted["corpus"] = plain(config.corpus)
    differing = [key for key in wanted if there[key] != wanted[key]]
    if differing:
        parts = "; ".join(f"{k}: {there[k]!r} there, {wanted[k]!r} here" for k in differing)
        raise ConfigError(
            f"{folder} does not fit this run ({parts}); name another with data.store=FOLDER or"
            f" make one: {command(config)}"
        )
    manifest.refuse_damaged(folder, content)
    lacking = [k for k in config.data.kinds if k != "key_value" and not content["questions"].get(k)]
    if lacking:
        raise ConfigError(
            f"{folder} holds no {', '.join(lacking)} questions, which data.mixture asks for;"
            " set their ratio to 0, or make a store from a larger corpus"
        )
    return Store(folder, content)


def missing(config: Any) -> str:
    """What to do when there is no finished store."""
    folder = manifest.store_path(config)
    state = "is not finished (it has no manifest)" if folder.exists() else "does not exist"
    return f"the store {folder} {state}; make it: {command(config)}"


def command(config: Any) -> str:
    """The command that makes the store of a config."""
    corpus, data, model = config.corpus, config.data, config.model
    words = [f"corpus={corpus.name}", f"data={data.name}", f"model={model.name}"]
    words += [
        f"corpus.{name}={value}"
        for name in ("path", "text_tokens", "max_documents", "text_field", "id_field")
        if (value := getattr(corpus, name, None)) is not None
        and (name != "path" or corpus.name == "files")
        and (name != "text_tokens" or value != SotuCorpus().text_tokens)
        and (name != "text_field" or value != "text")
    ]
    words.append(f"data.segment_size={data.segment_size}")
    if data.separator != "\n":
        words.append(f"data.separator={data.separator!r}")
    if data.store:
        words.append(f"data.store={data.store}")
    return "python synthesize.py " + shlex.join(words)
