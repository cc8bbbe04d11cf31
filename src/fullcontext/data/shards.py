"""A corpus in shards: documents read in order, cut into segments, their work files."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fullcontext.compose import ConfigError
from fullcontext.config import SynthesizeConfig
from fullcontext.data import corpus, manifest, questions, segments
from fullcontext.data.marks import Marks
from fullcontext.data.questions import Outcome
from fullcontext.data.tokens import Encoder
from fullcontext.data.walk import Shard
from fullcontext.data.writers import Asking
from fullcontext.records import Document, Segment
from fullcontext.store import write_aside, write_table

SHARD_CHARACTERS = 1 << 20
"""Raw text behind one shard: the unit of division among processes, and of what a kill can lose."""

_LISTED = 20
"""Contaminated documents that the data card names; all are counted."""


class Contaminated(Protocol):
    """Finds what a text shares with evaluation sets (data/decontaminate.py)."""

    def overlap(self, text: str) -> str | None:
        """The shared words, or None."""


@dataclass(slots=True)
class Batch:
    """The raw documents of a shard."""

    number: int
    documents: list[Document]
    skipped: Counter[str]
    contaminated: list[dict[str, str]] = field(default_factory=list)


def batches(config: SynthesizeConfig, index: Contaminated | None) -> Iterator[Batch]:
    """The corpus in shards of about `SHARD_CHARACTERS`, the same for every process.

    Raises ConfigError if two documents have one id.
    """
    skipped: Counter[str] = Counter()
    batch = Batch(0, [], Counter())
    seen = Marks()
    size = 0
    for document in corpus.read(config.corpus, config.seed, skipped):
        if not seen.add(document.id):
            raise ConfigError(
                f"two documents of the corpus {config.corpus.name} have the id {document.id!r};"
                " name a field that identifies them (corpus.id_field), or null to number them"
            )
        size += len(document.text)
        shared = index.overlap(document.text) if index else None
        if shared is None:
            batch.documents.append(document)
        else:
            skipped["document shares words with an evaluation set"] += 1
            batch.contaminated.append({"document": document.id, "shared": shared})
        if size >= SHARD_CHARACTERS:
            batch.skipped, skipped = Counter(skipped), _emptied(skipped)
            yield batch
            batch, size = Batch(batch.number + 1, [], Counter()), 0
    batch.skipped = Counter(skipped)
    if batch.documents or batch.skipped:
        yield batch


def _emptied(counter: Counter[str]) -> Counter[str]:
    """The reader goes on counting in the same counter."""
    counter.clear()
    return counter


class Source:
    """The shards of a store, from work files where there are any, else cut anew."""

    def __init__(
        self,
        config: SynthesizeConfig,
        folder: Path,
        encoder: Encoder,
        kinds: list[str],
        index: Contaminated | None,
    ) -> None:
        self.config, self.folder, self.encoder, self.kinds = config, folder, encoder, kinds
        self._batches = batches(config, index)

    def next(self, is_full: Callable[[str], bool], part: int = 0, parts: int = 1) -> Shard | None:
        """The next shard of this part, or None at the end of the corpus.

        Kinds that are full already are not worth cutting a known shard for.
        """
        for batch in self._batches:
            if batch.number % parts != part:
                continue
            known = read_work(self.folder, batch.number)
            lacking = known is None or any(
                outcome is None and not is_full(kind)
                for kind, outcome in zip(known.kinds, known.outcomes, strict=True)
            )
            shard = self._cut(batch, known) if lacking else known
            assert shard is not None
            shard.skipped = batch.skipped
            return shard
        return None

    def _cut(self, batch: Batch, known: Shard | None) -> Shard:
        dropped: Counter[str] = Counter()
        kept: list[Segment] = []
        fillers: list[Segment] = []
        asked: list[Asking] = []
        first: dict[str, int] = {}
        for document in batch.documents:
            for text, pieces in self._segments(document, self.config.data.segment_size, dropped):
                first[text.id] = len(kept)
                kept += pieces
                asked += questions.askings(text, pieces, self.kinds)
            if self.config.data.filler_segment_size is not None:
                wanted: Counter[str] = Counter()
                size = self.config.data.filler_segment_size
                for _, pieces in self._segments(document, size, wanted):
                    fillers += pieces
                dropped.update({f"filler: {reason}": n for reason, n in wanted.items()})
        self._write_segments("segments", batch.number, kept)
        if self.config.data.filler_segment_size is not None:
            self._write_segments("fillers", batch.number, fillers)
        outcomes = known.outcomes if known else [None] * len(asked)
        counts = {
            "texts": len(first),
            "first": first,
            "dropped": dict(dropped),
            "contaminated": batch.contaminated[:_LISTED],
        }
        kinds = [asking.kind for asking in asked]
        return Shard(batch.number, len(batch.documents), counts, kinds, list(outcomes), asked)

    def _segments(
        self, document: Document, size: int, dropped: Counter[str]
    ) -> Iterator[tuple[Document, list[Segment]]]:
        return segments.texts(
            document,
            self.encoder,
            segment_size=size,
            text_tokens=self.config.corpus.text_tokens,
            separator=self.config.data.separator,
            dropped=dropped,
        )

    def _write_segments(self, noun: str, number: int, kept: list[Segment]) -> None:
        names = manifest.SEGMENT_SCHEMA.names
        rows = [{name: getattr(segment, name) for name in names} for segment in kept]
        write_table(self.folder / shard_name(noun, number), rows, manifest.SEGMENT_SCHEMA)


def shard_name(noun: str, number: int) -> str:
    """`segments-00012.arrow`."""
    return f"{noun}-{number:05d}.arrow"


def work_path(folder: Path, number: int) -> Path:
    """Where the outcomes of a shard are kept until the store is finished."""
    return folder / "work" / f"outcomes-{number:05d}.jsonl"


def write_work(folder: Path, shard: Shard) -> None:
    """Keeps what is known of a shard: how many were accepted, its counts, a line an asking.

    What an endpoint failed to answer is not kept, so that another run asks again.
    """
    accepted = Counter(
        outcome.question.kind for outcome in shard.outcomes if outcome and outcome.question
    )
    counts = {"documents": shard.documents, **shard.counts}
    lines = [json.dumps(accepted), json.dumps(counts, ensure_ascii=False)]
    for kind, outcome in zip(shard.kinds, shard.outcomes, strict=True):
        kept = outcome.to_json() if outcome and outcome.is_final else None
        lines.append(json.dumps([kind, kept], ensure_ascii=False))
    write_aside(work_path(folder, shard.number), "\n".join(lines) + "\n")


def read_work(folder: Path, number: int) -> Shard | None:
    """A shard as an earlier process left it; None if none did."""
    path = work_path(folder, number)
    if not path.exists() or not (folder / shard_name("segments", number)).exists():
        return None
    with path.open(encoding="utf-8") as file:
        next(file)
        counts: dict[str, Any] = json.loads(next(file))
        lines = [json.loads(line) for line in file]
    outcomes = [Outcome.from_json(kept) if kept else None for _, kept in lines]
    kinds = [kind for kind, _ in lines]
    return Shard(number, counts.pop("documents"), counts, kinds, outcomes, None)


def accepted_elsewhere(folder: Path, number: int, part: int, parts: int) -> Counter[str]:
    """Questions that other parts hold in finished shards before this one."""
    found: Counter[str] = Counter()
    for path in (folder / "work").glob("outcomes-*.jsonl"):
        other = int(path.stem.split("-")[1])
        if other < number and other % parts != part:
            with path.open(encoding="utf-8") as file:
                found.update(json.loads(next(file)))
    return found
