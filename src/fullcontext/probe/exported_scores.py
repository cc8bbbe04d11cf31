"""Scores of probes that fullcontext wrote: they stand alone, and lm-eval is all that is needed.

film is the metric of the VaL release (arXiv 2404.16811), strict wants the answer whole and no other
item of the context. fullcontext's own are in probe/score.py; a test holds the two together.
"""

import json
import re
import string
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_EDGES = string.punctuation + "“”‘’ \n\t"


def documents(**settings: Any) -> dict[str, Any]:
    """The questions of a task, from the file beside this one, whatever the working folder."""
    from datasets import Dataset

    path = Path(__file__).with_name(f"{settings['probe']}.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {"test": Dataset.from_list(rows)}


@cache
def contexts(task: str) -> dict[str, dict[str, Any]]:
    """Name -> text and gold answers of a context, which many questions share."""
    path = Path(__file__).with_name(f"{task}_contexts.json")
    found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return found


def prompt(doc: dict[str, Any]) -> str:
    """The prompt in the mark-up of the probed model, as fullcontext asks it."""
    text = contexts(doc["task"])[doc["context"]]["text"]
    return str(doc["prompt_before"] + text + doc["prompt_after"])


def content(doc: dict[str, Any]) -> str:
    """What the user says in it, for a chat template."""
    text = contexts(doc["task"])[doc["context"]]["text"]
    return str(doc["content_before"] + text + doc["content_after"])


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Both scores of a question."""
    task, gold, said = doc["task"], doc["gold"], results[0]
    others = contexts(task)[doc["context"]]["golds"]
    return {
        "film": film(task, gold, said),
        "strict": strict(task, gold, said, others, doc["question"]),
    }


def film(task: str, gold: str, prediction: str) -> float:
    """Document: share of the gold words; code: the name anywhere; database: label or description;
    spread: both labels; key_value: the value and nothing else."""
    said = prediction.lower()
    match task:
        case "document":
            wanted = set(gold.lower().split())
            return len(wanted & set(said.split())) / len(wanted) if wanted else 1.0
        case "code":
            return float(gold.strip(".") in prediction)
        case "database":
            return float(any(part.strip(".").lower() in said for part in _entity(gold)))
        case "spread":
            return float(all(part.strip(".").lower() in said for part in _pair(gold)))
        case "key_value":
            return float(gold.strip() == prediction.strip())
        case _:
            raise ValueError(f"no metric for {task}")


def strict(
    task: str, gold: str, prediction: str, others: Iterable[str] = (), question: str = ""
) -> float:
    """Document: F1 of the words that the question does not quote, without punctuation; code,
    database and spread: the names as whole words, and none of the other gold answers' unless the
    question has it."""
    if task == "document":
        wanted, said = _bare(gold), _bare(prediction)
        quotes = 'the piece "'
        quotation = question.rpartition(quotes)[2].rpartition('"')[0] if quotes in question else ""
        quoted = _bare(quotation)
        if wanted - quoted:
            wanted, said = wanted - quoted, said - quoted
        both = len(wanted & said)
        return 2 * both / (len(wanted) + len(said)) if wanted or said else 1.0
    if task == "key_value":
        return film(task, gold, prediction)
    if not all(_has(prediction, name, task) for name in _names(task, gold)):
        return 0.0
    own, low = (gold + question).lower(), prediction.lower()
    for other in others:
        for name in _names(task, other):
            foreign = name and name.lower() in low and name.lower() not in own
            if foreign and _has(prediction, name, task):
                return 0.0
    return 1.0


def _entity(gold: str) -> list[str]:
    return gold.removeprefix("label: ").split(", description: ", 1)


def _pair(gold: str) -> list[str]:
    return gold.removeprefix("label: ").split("; label: ", 1)


def _names(task: str, gold: str) -> list[str]:
    match task:
        case "database":
            return [_entity(gold)[0].strip(".[]")]
        case "spread":
            return [label.strip(".[]") for label in _pair(gold)]
        case _:
            return [gold.strip(".")]


def _bare(text: str) -> set[str]:
    return {word for each in text.lower().split() if (word := each.strip(_EDGES))}


def _has(prediction: str, name: str, task: str) -> bool:
    flags = 0 if task == "code" else re.IGNORECASE
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prediction, flags) is not None
