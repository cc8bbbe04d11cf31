"""Small stores, written as synthesize.py writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fullcontext
from fullcontext.data import manifest
from fullcontext.data.tokens import Encoder
from fullcontext.store import MANIFEST, digest, write_aside, write_table


class Text(NamedTuple):
    """A document that is one text: its segments, and questions about them."""

    id: str
    segments: Sequence[str]
    questions: Sequence[tuple[str, str, str, Sequence[int]]] = ()
    """Kind, question, answer, indices of the evidence."""
    source: str = "here"


def write(  # noqa: PLR0913 - what a store may hold
    folder: Path,
    encoder: Encoder,
    shards: Sequence[Sequence[Text]],
    *,
    fillers: Sequence[Text] | None = None,
    filler_segment_size: int | None = None,
    instructions: Sequence[tuple[str, str]] = (),
    separator: str = "\n",
) -> dict[str, Any]:
    """Writes a finished store of one shard for each list of texts; returns its manifest."""
    names: list[str] = []

    def put(name: str, rows: list[dict[str, Any]], schema: Any) -> None:
        write_table(folder / name, rows, schema)
        names.append(name)

    asked: list[str] = []
    for number, texts in enumerate(shards):
        put(f"segments-{number:05d}.arrow", _segments(texts, encoder, separator),
            manifest.SEGMENT_SCHEMA)  # fmt: skip
        questions = _questions(texts)
        asked += [q["kind"] for q in questions]
        put(f"questions-{number:05d}.arrow", questions, manifest.QUESTION_SCHEMA)
    if fillers is not None:
        put("fillers-00000.arrow", _segments(fillers, encoder, separator), manifest.SEGMENT_SCHEMA)
    if instructions:
        rows = [
            _question(f"i{n}", "instruction", q, a, (), (), "", "", "chat", -1)
            for n, (q, a) in enumerate(instructions)
        ]
        put("questions-instructions-00000.arrow", rows, manifest.QUESTION_SCHEMA)
        asked += ["instruction"] * len(rows)
    settings = {
        "segment_size": 128,
        "filler_segment_size": filler_segment_size,
        "separator": separator,
        "tokenizer_hash": manifest.tokenizer_hash(encoder),
    }
    content = {
        "version": fullcontext.__version__,
        "settings": settings,
        "questions": {kind: asked.count(kind) for kind in sorted(set(asked))},
        "files": {name: digest(folder / name) for name in names},
    }
    write_aside(folder / MANIFEST, manifest.text(content))
    return content


def _segments(texts: Sequence[Text], encoder: Encoder, separator: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{text.id}#0/{i}", "document": f"{text.id}#0", "parent": text.id,
            "source": text.source, "index": i, "text": segment,
            "tokens": encoder.encode(segment + separator),
        }
        for text in texts
        for i, segment in enumerate(text.segments)
    ]  # fmt: skip


def _questions(texts: Sequence[Text]) -> list[dict[str, Any]]:
    rows, first = [], 0
    for text in texts:
        for number, (kind, question, answer, evidence) in enumerate(text.questions):
            ids = [f"{text.id}#0/{i}" for i in range(len(text.segments))]
            held = [ids[i] for i in evidence]
            context = held if kind == "fine_grained" else ids
            id = f"{text.id}-{number}"
            rows.append(
                _question(id, kind, question, answer, held, context, f"{text.id}#0", text.id,
                          text.source, first)
            )  # fmt: skip
        first += len(text.segments)
    return rows


def _question(*values: Any) -> dict[str, Any]:
    names = ("id", "kind", "question", "answer", "evidence", "context", "document", "parent",
             "source", "first")  # fmt: skip
    return dict(zip(names, values, strict=True))


WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "receipts",
    "outlays",
    "1,234.56",
    "987",
    "(in",
    "dollars)",
    "“Quoted,”",
    "she",
    "said",
    "twice!",
    "Ça",
    "va?",
    "你好，世界。",
    "🙂🙂",
    "-",
    "a;",
    "naïve",
    "x_1",
    "==",
    "y's",
    "don't",
    "U.S.",
    "50%",
    "$3",
    "e.g.",
    "#tag",
    "@you",
]


def prose(seed: int, words: int) -> str:
    """Words of every script and sign, in lines; no line starts or ends with white space."""
    draw = np.random.default_rng(seed)
    chosen = [WORDS[i] for i in draw.integers(len(WORDS), size=words)]
    breaks = draw.random(words)
    joined = chosen[0]
    for word, at in zip(chosen[1:], breaks[1:], strict=True):
        joined += ("\n" if at < 0.05 else "\n  " if at < 0.07 else "  " if at < 0.1 else " ") + word
    return joined


def library(documents: int, segments: int, *, words: tuple[int, int] = (20, 60)) -> list[Text]:
    """Documents of some segments, each with a question of every kind that the store may hold."""
    draw = np.random.default_rng(documents)
    found = []
    for d in range(documents):
        pieces = [
            f"Note {d}.{s} says that box {d}-{s} holds coin c{d}x{s}. "
            + prose(1000 * d + s, int(draw.integers(*words)))
            for s in range(segments)
        ]
        questions = [
            ("fine_grained", f"What does box {d}-{s} hold?", f"coin c{d}x{s}", [s])
            for s in range(segments)
        ]
        last = segments - 1
        questions += [
            ("integration", f"What do the first and last box of note {d} hold?",
             f"c{d}x0 and c{d}x{last}", [0, last]),
            ("short_context", f"Which note is {d}?", f"note {d}", [0]),
        ]  # fmt: skip
        found.append(Text(f"d{d}", pieces, questions, source=f"s{d % 4}"))
    return found
