"""Documents as they are given to adapt.py, with the questions about them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import AdaptConfig, KeyValueDocuments, LoogleDocuments
from fullcontext.data import key_value
from fullcontext.data.tokens import Prompt
from fullcontext.randomness import rng

MOST_NAME = 200
"""Bytes of a document's id, which names its folder; file systems take 255, locks add a few."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a document."""

    id: str
    text: str
    answers: tuple[str, ...] = ()
    """Gold answers; none where nobody knows one."""
    kind: str = ""
    """What it is counted under, e.g. `short` or `timeline` of LooGLE."""


@dataclass(frozen=True, slots=True)
class Given:
    """A document with its questions."""

    id: str
    title: str
    text: str
    questions: tuple[Question, ...]
    auxiliary: tuple[tuple[str, str], ...] = ()
    """Questions to be trained on and their answers, where they come with the document."""


def read(config: AdaptConfig, prompt: Prompt, counted: Counter[str]) -> list[Given]:
    """The documents of a run, in their order, with distinct ids; skipped ones are counted.

    Raises ConfigError if there is none, a file is missing, or a line is not as it should be.
    """
    match config.documents:
        case LoogleDocuments():
            from fullcontext.adapt import loogle

            found = list(loogle.read(config.documents, counted))
        case KeyValueDocuments():
            number = config.documents.number + config.answering.others
            found = [_dictionary(config, prompt, i) for i in range(number)]
        case _:
            found = list(_given(config))
    if not found:
        raise ConfigError(f"documents={config.documents.name} has no document")
    twice = [id for id, times in Counter(each.id for each in found).items() if times > 1]
    if twice:
        raise ConfigError(f"several documents have the id {twice[0]!r}; give each its own")
    return found


def adapted(config: AdaptConfig, given: list[Given]) -> list[Given]:
    """Those of them that are adapted to: of invented ones the last are only asked about."""
    if isinstance(config.documents, KeyValueDocuments):
        return given[: config.documents.number]
    return given


def _given(config: AdaptConfig) -> Iterator[Given]:
    path = Path(str(config.document))
    if path.suffix == ".jsonl" and path.is_file():
        if config.question is not None:
            raise ConfigError(
                f"question= beside {path}, whose lines bring their questions; remove it"
            )
        yield from _lines(path)
        return
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"document={str(path)!r} is a folder without .txt files")
    for file in files:
        yield _text(file, config.question)


def _text(file: Path, question: str | None) -> Given:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"document={str(file)!r} cannot be read ({error}); give a text file in UTF-8"
        ) from error
    if not text.strip():
        raise ConfigError(f"document={str(file)!r} is empty; give a file with text")
    asked = (Question("question", question),) if question else ()
    return Given(file.stem, file.stem, text, asked)


def _lines(path: Path) -> Iterator[Given]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"document={str(path)!r} cannot be read ({error}); give JSON lines in UTF-8"
        ) from error
    # Not splitlines, which cuts at separators that JSON allows within a text.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _line(json.loads(line), number)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path}, line {number}, is no document ({error!r}); a line has id, title, text and"
                ' questions: [{"id", "question", "answers", "kind"}]'
            ) from error


def _line(record: dict[str, Any], number: int) -> Given:
    id = str(record.get("id", f"line-{number}"))
    if not id or "/" in id or "\0" in id or id.startswith(".") or len(id.encode()) > MOST_NAME:
        raise ValueError(
            f"the id {id[:40]!r} names no folder (1 to {MOST_NAME} bytes, no / and no . in front)"
        )
    text = record["text"]
    if not isinstance(text, str) or not text.strip():
        raise ValueError("the text is empty")
    asked = []
    for place, one in enumerate(record.get("questions", [])):
        answers = one.get("answers", [])
        if isinstance(answers, str) or not all(isinstance(a, str) for a in answers):
            raise ValueError(f"the answers of question {place} are no list of texts")
        asked.append(
            Question(
                str(one.get("id", place)),
                str(one["question"]),
                tuple(answers),
                str(one.get("kind") or ""),
            )
        )
    ids = [each.id for each in asked]
    if len(set(ids)) < len(ids):
        raise ValueError("two questions have the same id")
    return Given(id, str(record.get("title") or ""), text, tuple(asked))


def _dictionary(config: AdaptConfig, prompt: Prompt, index: int) -> Given:
    """A dictionary of as many items as fit; every item is asked for, some also beforehand."""
    settings, wanted = config.data.key_value, config.documents
    assert isinstance(wanted, KeyValueDocuments)
    draw = rng(config.seed, "invented document", index)
    most = min(settings.num_keys, wanted.tokens)
    texts, items, total = [], [], 0
    for key, value in key_value.pairs(settings, settings, most, draw):
        text = settings.item.format(key=key, value=value)
        total += len(prompt.encoder.cached(text + prompt.separator))
        if total > wanted.tokens:
            break
        texts.append(text)
        items.append((key, value))
    else:
        raise ConfigError(
            f"data.key_value.num_keys={settings.num_keys} distinct keys fill {total} of"
            f" documents.tokens={wanted.tokens} tokens; raise it or shorten the documents"
        )
    told = set(draw.choice(len(items), round(wanted.told * len(items)), replace=False).tolist())
    asked, auxiliary = [], []
    for place, (key, value) in enumerate(items):
        question = settings.question.format(key=key, value=value)
        answer = settings.answer.format(key=key, value=value, item=texts[place])
        kind = "told" if place in told else "untold"
        asked.append(Question(key, question, (answer,), kind))
        if place in told:
            auxiliary.append((question, answer))
    id = f"dictionary-{index}"
    return Given(id, id, prompt.separator.join(texts), tuple(asked), tuple(auxiliary))


def number_of(document: str) -> int:
    """A number that stands for a document wherever something is drawn for it."""
    return int.from_bytes(hashlib.blake2b(document.encode(), digest_size=8).digest())
