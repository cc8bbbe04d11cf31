"""LooGLE (arXiv 2311.04939): long documents with questions, from a folder or the hub.

It is published in two layouts, told apart by their keys. A line of the files beside its code is a
document: `input`, `title`, `qa_pairs`, `output`, where `qa_pairs` is a list of {"Q", "A", "S",
"type"} as Python prints it, or "none", and then `output` is the summary. A line on the hub is a
question: `context`, `title`, `question`, `answer`, `evidence`. Evidence is not read.

A text that several tasks ask about becomes one document with all its questions: it is learnt once.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fullcontext.adapt.documents import Given, Question
from fullcontext.adapt.literals import literal
from fullcontext.compose import ConfigError
from fullcontext.config.loogle import KINDS_OF_TASK, LoogleDocuments
from fullcontext.data import files, hub

SUMMARY = "Write a summary of this paper, such as its abstract."
CLOZE = (
    "In the text below, names of people, places and organisations are masked; equal masks stand for"
    " the same name. Which names are they? Reply with a JSON object alone, such as"
    ' {{"<mask-0>": "Ada", "<mask-1>": "London"}}.\n\n{question}'
)
ORDER = "{question}\nReply with the numerals in the right order alone, such as II,I,III."
"""What is added to a question of a kind, in words of our own."""

_TYPES = {
    "comprehension_and_reasoning": "comprehension_reasoning",
    "multiple_information_retrieval": "multiple_retrieval",
    "computation": "computation",
    "timeline_reorder": "timeline",
    "时间线": "timeline",  # in the outputs that were published
}
_STEMS = {"summarization": ("summarization", "longdep_summarization")}
_NONE = (None, "", "none", "None")
_LONGEST = 50_000_000
"""Characters of a line."""

Record = dict[str, Any]


@dataclass(slots=True)
class _Document:
    id: str
    title: str
    text: str
    questions: list[Question] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)
    """Questions of each task so far, those that were left out, too."""


def read(config: LoogleDocuments, counted: Counter[str]) -> Iterator[Given]:
    """The documents in the order of their first appearance; what is left out is counted.

    Ids hang on text, task and place among the document's questions alone. Raises ConfigError if a
    file or the hub is not here, or a line is not as it should be: it names file and line.
    """
    documents: dict[str, _Document] = {}
    for task in config.tasks:
        for place, record in _records(config, task, counted):
            try:
                _take(documents, config, task, record, counted)
            except ValueError as error:
                raise ConfigError(
                    f"{place} is no line of LooGLE's {task} ({error}); a line has input, title and"
                    " qa_pairs, or context, title, question and answer; correct or remove it"
                ) from error
    for each in documents.values():
        if each.questions:
            yield Given(each.id, each.title, each.text, tuple(each.questions))
        else:
            counted["documents without a question"] += 1


def _records(
    config: LoogleDocuments, task: str, counted: Counter[str]
) -> Iterator[tuple[str, Record]]:
    """Place, for messages, and content of each line."""
    if config.path is None:
        setting = hub.Setting(
            "documents.hub", "documents.tasks", "test", "documents.path=FOLDER with its files"
        )
        for number, record in enumerate(hub.records(config.hub, task, "test", setting), 1):
            yield f"{config.hub}, {task}, record {number},", record
        return
    file = _file(config.path, task)
    for place, line in files.records(file, str(file), None, _LONGEST):
        if line is None:
            counted["lines that are too long"] += 1
        else:
            yield place, line


def _file(path: str, task: str) -> Path:
    given = files.found(path, "documents.path")
    stems = _STEMS.get(task, (task,))
    named = [f for f in given.files if f.name.split(".")[0] in stems and files.kind(f) == ".jsonl"]
    if len(named) != 1:
        said = f"{len(named)} files" if named else "no file"
        raise ConfigError(
            f"documents.path={path!r} has {said} {task}.jsonl; name a folder with one of each task,"
            " or leave the task out of documents.tasks"
        )
    return named[0]


def _take(
    documents: dict[str, _Document],
    config: LoogleDocuments,
    task: str,
    record: Record,
    counted: Counter[str],
) -> None:
    """Adds a line's questions to its document. Raises ValueError, saying what is wrong."""
    text = record.get("input", record.get("context"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no text")
    key = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=6).hexdigest()
    if key not in documents:
        if len(documents) == config.max_documents:
            counted["lines of further documents"] += 1
            return
        documents[key] = _Document(f"loogle-{key}", str(record.get("title") or ""), text)
    document = documents[key]
    for pair in _pairs(record, task):
        number = document.numbers[task]
        document.numbers[task] += 1
        found = _question(f"{task}-{key}-{number}", task, pair)
        if isinstance(found, str):
            counted[found] += 1
        elif found.kind not in config.kinds:
            counted["questions of other kinds"] += 1
        else:
            if found.kind == "long":
                counted[f"long questions of no known type ({pair.get('type')})"] += 1
            document.questions.append(found)


def _pairs(record: Record, task: str) -> list[Record]:
    """Q, A and type of each question of a line."""
    if "qa_pairs" not in record:
        if "answer" not in record or "question" not in record:
            raise ValueError("neither qa_pairs nor question and answer")
        kind = record.get("type") or record.get("task")
        return [{"Q": record["question"], "A": record["answer"], "type": kind}]
    pairs = record["qa_pairs"]
    if pairs in _NONE:
        if task != "summarization":
            raise ValueError("qa_pairs is none")
        return [{"Q": None, "A": record.get("output")}]
    if isinstance(pairs, str):
        try:
            pairs = literal(pairs)
        except ValueError as error:
            raise ValueError(f"qa_pairs is {error}") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise ValueError("qa_pairs is no list of questions")
    return pairs


def _question(id: str, task: str, pair: Record) -> Question | str:
    """A question, or why it is left out. Raises ValueError if it is malformed."""
    asked, kind = pair.get("Q"), KINDS_OF_TASK[task][0]
    if task == "longdep_qa":
        kind = _TYPES.get(str(pair.get("type")).strip(), "long")
    if kind == "summary":
        asked = SUMMARY
    elif asked in _NONE:
        return "questions without text"
    if not isinstance(asked, str):
        raise ValueError(f"question {id} is no text")
    if kind == "cloze":
        return Question(id, CLOZE.format(question=asked), (_masks(id, pair.get("A")),), kind)
    answers = tuple(each for each in _answers(id, pair.get("A")) if each.strip())
    if not answers:
        return "questions without an answer"
    text = ORDER.format(question=asked) if kind == "timeline" else asked
    return Question(id, text, answers, kind)


def _answers(id: str, answer: Any) -> list[str]:
    if answer in _NONE:
        return []
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, int | float):
        return [str(answer)]
    if isinstance(answer, list) and all(isinstance(each, str) for each in answer):
        return list(answer)
    raise ValueError(f"the answer to {id} is no text: {str(answer)[:60]!r}")


def _masks(id: str, answer: Any) -> str:
    """Mask -> name as JSON; the hub's reader fills masks that other lines have with None."""
    masks = literal(answer) if isinstance(answer, str) else answer
    if isinstance(masks, dict):
        masks = {mask: name for mask, name in masks.items() if name is not None}
        if masks and all(isinstance(each, str) for pair in masks.items() for each in pair):
            return json.dumps(masks, ensure_ascii=False)
    raise ValueError(f"the answer to {id} names no masks: {str(answer)[:60]!r}")
