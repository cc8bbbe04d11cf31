"""Two metrics of a prediction against the gold answer, both 0-1.

`film` is what the release of VaL computes (IN2, section 3), so that figures can be compared with
published ones. It pays for verbose answers: a random other sentence has 12 % of a sentence's
words, an answer that lists the database has every label. `strict` does not.
"""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from fullcontext.probe import database as entities
from fullcontext.probe import spread as pairs
from fullcontext.probe.document import words
from fullcontext.records import Answer

_QUOTES = 'the piece "'
_EDGES = string.punctuation + "“”‘’ \n\t"


def film(task: str, gold: str, prediction: str) -> float:
    """The metric of the release; for `spread` and `key_value`, which it has not, see below."""
    match task:
        case "document":
            return document(gold, prediction)
        case "code":
            return code(gold, prediction)
        case "database":
            return database(gold, prediction)
        case "spread":
            return spread(gold, prediction)
        case "key_value":
            return key_value(gold, prediction)
        case _:
            raise AssertionError(f"no metric for {task}")


def strict(
    task: str, gold: str, prediction: str, others: Sequence[str] = (), question: str = ""
) -> float:
    """The right answer, whole, and no other item of the context.

    document: F1 of distinct words, punctuation around them left out, without those that the
    question quotes (to repeat them takes no retrieval); code: the name as a whole word, in its own
    case; database: the label as whole words (a description alone does not count); spread: both
    labels; key_value: the value and nothing else. `others` are the gold answers about all items of
    the context: an answer that names another of them, too, scores 0 (document: precision sees to
    that). Names that stand in `question` may be repeated.
    """
    match task:
        case "document":
            return _f1(gold, prediction, question)
        case "key_value":
            return key_value(gold, prediction)
        case _:
            names = _names(task, gold)
            right = all(_has(prediction, name, task) for name in names)
            return float(right and not _names_another(task, gold + question, prediction, others))


Context = tuple[str, int, int]
"""Task, length and set."""


def with_strict(answers: Sequence[Answer], golds: Mapping[Context, Sequence[str]]) -> list[Answer]:
    """Rows with `strict` filled in; `golds` holds the answers about every item of a context,
    whether or not it was asked for."""
    return [
        replace(
            answer,
            strict=strict(
                answer.task,
                answer.gold,
                answer.prediction,
                golds[answer.task, answer.length, answer.set],
                answer.question,
            ),
        )
        for answer in answers
    ]


def document(gold: str, prediction: str) -> float:
    """Share of the gold sentence's distinct words that the prediction holds, in any order."""
    wanted = words(gold)
    return len(wanted & words(prediction)) / len(wanted) if wanted else 1.0


def code(gold: str, prediction: str) -> float:
    """1 if the function's name stands anywhere in the prediction, in its own case."""
    return float(gold.strip(".") in prediction)


def database(gold: str, prediction: str) -> float:
    """1 if the label or the description stands in the prediction, in any case."""
    said = prediction.lower()
    return float(any(part in said for part in entities.accepted_parts(gold)))


def entity(label: str, description: str, prediction: str) -> float:
    """`database` of the two parts, as the release stores them: either may hold what joins them."""
    said = prediction.lower()
    return float(any(part.strip(".").lower() in said for part in (label, description)))


def spread(gold: str, prediction: str) -> float:
    """1 if both labels stand in the prediction, in any case and order."""
    said = prediction.lower()
    return float(all(label.strip(".").lower() in said for label in pairs.parts(gold)))


def key_value(gold: str, prediction: str) -> float:
    """1 if the prediction is the value and nothing else."""
    return float(gold.strip() == prediction.strip())


def _f1(gold: str, prediction: str, question: str) -> float:
    wanted, said = _bare(gold), _bare(prediction)
    quotation = question.rpartition(_QUOTES)[2].rpartition('"')[0] if _QUOTES in question else ""
    quoted = _bare(quotation)
    if wanted - quoted:
        wanted, said = wanted - quoted, said - quoted
    shared = len(wanted & said)
    return 2 * shared / (len(wanted) + len(said)) if wanted or said else 1.0


@lru_cache(maxsize=65536)
def _bare(text: str) -> frozenset[str]:
    return frozenset(word for each in text.lower().split() if (word := each.strip(_EDGES)))


def _names(task: str, gold: str) -> tuple[str, ...]:
    """What an answer has to name."""
    match task:
        case "database":
            return (entities.parts(gold)[0].strip(".[]"),)
        case "spread":
            return tuple(label.strip(".[]") for label in pairs.parts(gold))
        case _:
            return (gold.strip("."),)


def _names_another(task: str, own: str, prediction: str, others: Sequence[str]) -> bool:
    own, said = own.lower(), prediction.lower()
    return any(
        name and name.lower() in said and name.lower() not in own and _has(prediction, name, task)
        for other in others
        for name in _names(task, other)
    )


def _has(prediction: str, name: str, task: str) -> bool:
    flags = 0 if task == "code" else re.IGNORECASE
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prediction, flags) is not None
