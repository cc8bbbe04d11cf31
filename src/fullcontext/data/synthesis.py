"""synthesize.py: a store of segments and questions, resumable, done when it has a manifest."""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

import fullcontext
from fullcontext.compose import ConfigError, RunInfo
from fullcontext.config import SynthesizeConfig
from fullcontext.data import corpus, manifest, questions, segments, writers
from fullcontext.data.tokens import Encoder
from fullcontext.data.writers import Writer
from fullcontext.model import tokenizer
from fullcontext.records import Document, Question, Segment
from fullcontext.store import (
    MANIFEST,
    Journal,
    alone,
    digest,
    read_table,
    write_aside,
    write_table,
)

SHARD_BYTES = 1 << 20
"""Raw text behind one pair of shard files; what a kill can lose is cutting it again."""


def run(config: SynthesizeConfig, info: RunInfo) -> Path:
    """Writes the store, or goes on where a killed process stopped. Returns its folder."""
    if not config.data.needs_store:
        raise ConfigError(
            f"data={config.data.name} needs no store: its examples are made on the fly; go on with"
            f" python train.py data={config.data.name}"
        )
    folder = manifest.store_path(config)
    encoder = Encoder(tokenizer.load(config.model))
    writer = writers.load(config.writer)
    wanted = manifest.settings(config, encoder, writer)
    with alone(folder, "writing"):
        found = manifest.read(folder)
        if found is None:
            _write(config, folder, encoder, writer, wanted)
        else:
            manifest.refuse_other(folder, found["settings"], wanted)
            manifest.refuse_damaged(folder, found)
            _say(f"{folder} is complete: nothing to do.\n{manifest.describe(found)}")
    return folder


def _write(
    config: SynthesizeConfig, folder: Path, encoder: Encoder, writer: Writer, wanted: dict[str, Any]
) -> None:
    start = time.monotonic()
    work = folder / "work"
    begun = work / "settings.json"
    if begun.exists() and len(list(work.iterdir())) > 1:
        manifest.refuse_other(folder, json.loads(begun.read_text()), wanted)
    write_aside(begun, json.dumps(wanted))
    writer.prepare(corpus.read(config.corpus, config.seed, Counter()))
    with (
        Journal(work / "asked.jsonl") as journal,
        Progress(transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        maker = _Maker(config, folder, encoder, writer, journal)
        bar = progress.add_task("questions", total=sum(maker.quota.values()))
        for number, documents in enumerate(_shards(config, maker.skipped)):
            maker.shard(number, documents)
            progress.update(bar, completed=sum(maker.made.values()))
            if maker.full():
                break
    _finish(folder, maker, wanted, time.monotonic() - start)


class _Maker:
    """Turns raw documents into shard files, and counts."""

    def __init__(
        self,
        config: SynthesizeConfig,
        folder: Path,
        encoder: Encoder,
        writer: Writer,
        journal: Journal,
    ) -> None:
        self.config, self.folder, self.encoder = config, folder, encoder
        self.writer, self.journal = writer, journal
        self.quota = {k: n for k, n in config.data.examples.items() if k in _ASKED}
        self.made: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.texts = self.documents = 0
        self.shards: list[str] = []

    def full(self) -> bool:
        """Whether every kind has as many questions as were wanted."""
        return all(self.made[kind] >= n for kind, n in self.quota.items())

    def shard(self, number: int, documents: list[Document]) -> None:
        """One pair of files; what a killed process finished is read, not made again."""
        name = f"{number:05d}"
        record = self.folder / "work" / f"{name}.json"
        if record.exists():
            counts = json.loads(record.read_text())
        else:
            counts = self._make(name, documents)
            write_aside(record, json.dumps(counts))
        self.made.update(counts["made"])
        self.dropped.update(counts["dropped"])
        self.texts += counts["texts"]
        self.documents += len(documents)
        self.shards.append(name)

    def _make(self, name: str, documents: list[Document]) -> dict[str, Any]:
        dropped: Counter[str] = Counter()
        made: Counter[str] = Counter()
        kept: list[Segment] = []
        asked: list[Question] = []
        first: dict[str, int] = {}
        texts = 0
        for document in documents:
            for text, pieces in segments.texts(
                document,
                self.encoder,
                segment_size=self.config.data.segment_size,
                text_tokens=self.config.corpus.text_tokens,
                separator=self.config.data.separator,
                dropped=dropped,
            ):
                texts += 1
                first[text.id] = len(kept)
                kept += pieces
                wanted = [k for k, n in self.quota.items() if self.made[k] + made[k] < n]
                for asking in questions.askings(text, pieces, wanted):
                    if self.made[asking.kind] + made[asking.kind] >= self.quota[asking.kind]:
                        continue
                    question = questions.ask(
                        asking, self.writer, self.journal, self.config.seed, dropped
                    )
                    if question is not None:
                        made[question.kind] += 1
                        asked.append(question)
        write_table(
            self.folder / f"segments-{name}.arrow",
            [_flat(s) for s in kept],
            manifest.SEGMENT_SCHEMA,
        )
        write_table(
            self.folder / f"questions-{name}.arrow",
            [{**asdict(q), "first": first[q.document]} for q in asked],
            manifest.QUESTION_SCHEMA,
        )
        return {"made": made, "dropped": dropped, "texts": texts}


_ASKED = ("fine_grained", "integration", "short_context", "instruction")


def _flat(segment: Segment) -> dict[str, Any]:
    return {name: getattr(segment, name) for name in manifest.SEGMENT_SCHEMA.names}


def _shards(config: SynthesizeConfig, skipped: Counter[str]) -> Iterator[list[Document]]:
    documents: list[Document] = []
    seen: set[str] = set()
    size = 0
    for document in corpus.read(config.corpus, config.seed, skipped):
        if document.id in seen:
            raise ConfigError(
                f"two documents of the corpus {config.corpus.name} have the id {document.id!r};"
                " name a field that identifies them (corpus.id_field), or null to number them"
            )
        seen.add(document.id)
        documents.append(document)
        size += len(document.text)
        if size >= SHARD_BYTES:
            yield documents
            documents, size = [], 0
    if documents:
        yield documents


def _finish(folder: Path, maker: _Maker, wanted: dict[str, Any], seconds: float) -> None:
    lengths = [
        np.diff(read_table(folder / f"segments-{name}.arrow")["tokens"].combine_chunks().offsets)
        for name in maker.shards
    ]
    tokens = np.concatenate(lengths) if lengths else np.zeros(0)
    if not len(tokens):
        raise ConfigError(
            f"the corpus {maker.config.corpus.name} gives no segment of"
            f" data.segment_size={maker.config.data.segment_size} tokens"
            f" ({dict(maker.dropped + maker.skipped)}); lower data.segment_size or name another"
        )
    names = [f"{noun}-{name}.arrow" for noun in ("segments", "questions") for name in maker.shards]
    content = {
        "version": fullcontext.__version__,
        "settings": wanted,
        "documents": maker.documents,
        "texts": maker.texts,
        "segments": len(tokens),
        "tokens": int(tokens.sum()),
        "segment_tokens": {
            "mean": round(float(tokens.mean()), 1),
            "median": float(np.median(tokens)),
            "p95": round(float(np.percentile(tokens, 95)), 1),
            "longest": int(tokens.max()),
        },
        "questions": {kind: maker.made[kind] for kind in maker.quota},
        "dropped": dict(sorted((maker.dropped + maker.skipped).items())),
        "files": {name: digest(folder / name) for name in names},
    }
    write_aside(folder / MANIFEST, json.dumps(content, indent=1))
    shutil.rmtree(folder / "work")
    _say(f"wrote {folder} in {seconds:.0f} s\n{manifest.describe(content)}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
