"""Auxiliary questions about a document, by any writer of the data engine (LIFT, section 3.2)."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fullcontext.adapt.documents import Given, number_of
from fullcontext.config import About, AdaptConfig, KeyValueDocuments
from fullcontext.data import sentences
from fullcontext.data.crew import Crew
from fullcontext.data.questions import Outcome
from fullcontext.data.segments import paragraphs
from fullcontext.data.writers import Asking
from fullcontext.randomness import rng
from fullcontext.records import Document, Segment

NO_IDS = np.zeros(0, np.int32)
KIND = "fine_grained"
"""One question about one piece, whose answer stands in it."""


def write(
    config: AdaptConfig, given: Given, specials: tuple[str, ...], counted: Counter[str]
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Questions with their answers and the passages they were written about; and what writing took.

    Every outcome is counted by reason. Questions that come twice are kept once. A document that
    brings its own is not asked about, nor is an invented one that is told nothing.
    """
    if given.auxiliary or isinstance(config.documents, KeyValueDocuments):
        return [{"question": q, "answer": a, "passage": ""} for q, a in given.auxiliary], {}
    if not config.auxiliary.number:
        return [], {}
    return asyncio.run(_write(config, given, specials, counted))


async def _write(
    config: AdaptConfig, given: Given, specials: tuple[str, ...], counted: Counter[str]
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    crew = Crew(config, specials)
    source = Document(given.id, given.text, given.title, "unknown", given.id)
    crew.writer.prepare([source])
    room = asyncio.Semaphore(crew.writer.concurrency)

    async def one(tries: Sequence[tuple[str, int]]) -> dict[str, str] | None:
        for passage, turn in tries:
            async with room:
                outcome = await crew.ask(_asking(source, passage, turn))
            counted[f"auxiliary: {outcome.reason or 'written'}"] += 1
            if outcome.question is not None:
                return _record(outcome, passage)
        return None

    try:
        wanted = passages(config, given)
        found = await asyncio.gather(*map(one, wanted))
    finally:
        await crew.close()
    made: dict[str, dict[str, str]] = {}
    for record in found:
        if record is None:
            counted["auxiliary: given up"] += 1
        elif record["question"] in made:
            counted["auxiliary: asked twice"] += 1
        else:
            made[record["question"]] = record
    return list(made.values()), crew.usage()


def passages(config: AdaptConfig, given: Given) -> list[list[tuple[str, int]]]:
    """For each wanted question the passages to try, one after the other, and which question about
    the passage it would be."""
    settings = config.auxiliary
    lines = [s for p in paragraphs(given.text) for s in sentences.split(p)]
    if settings.about is About.sentences:
        windows = [_window(lines[: i + 1], settings.window_characters) for i in range(len(lines))]
        turns = range(settings.tries)
        return [
            [(each, number * settings.tries + turn) for turn in turns]
            for each in windows
            for number in range(settings.number)
        ]
    size = min(settings.passage_sentences, len(lines))
    wanted = []
    for number in range(settings.number):
        draw = rng(config.seed, "passage of a document", number_of(given.id), number)
        starts = draw.integers(len(lines) - size + 1, size=settings.tries)
        # A turn of its own: where two questions meet at a passage, as all do of a short document,
        # the writer is to find two.
        first = number * settings.tries
        wanted.append([(" ".join(lines[at : at + size]), first + i) for i, at in enumerate(starts)])
    return wanted


def _window(lines: Sequence[str], characters: int) -> str:
    """As many of the last sentences as fit, the last one in any case."""
    taken: list[str] = []
    for line in reversed(lines):
        if taken and sum(map(len, taken)) + len(taken) + len(line) > characters:
            break
        taken.insert(0, line)
    return " ".join(taken)


def _asking(source: Document, passage: str, turn: int) -> Asking:
    id = hashlib.sha256(f"{source.id}\n{turn}\n{passage}".encode()).hexdigest()[:16]
    segment = Segment(id, source.id, source.id, 0, passage, NO_IDS, source.source)
    return Asking(KIND, source, (segment,), turn)


def _record(outcome: Outcome, passage: str) -> dict[str, str]:
    assert outcome.question is not None
    asked = outcome.question
    return {"question": asked.question, "answer": asked.answer, "passage": passage}
