"""Replies of language models, read tolerantly: JSON with talk around it, or labelled prose."""

import json
import re
from typing import Any

from fullcontext.data.writers import Reply

LONGEST = 20_000
"""Characters beyond which a reply is not read: no question with its answer is so long."""

_QUESTION = ("question", "query", "instruction", "q")
_ANSWER = ("answer", "response", "a")
_PIECES = ("pieces", "piece", "evidence", "segments", "sources")
_LABEL = re.compile(
    r"^[\s>#*_\-]*(?:the )?"
    r"(question|query|instruction|answer|response|pieces?|evidence|segments|sources|q|a)"
    r"(?:\s*\d*[*_\s]*:| is:?)[*_]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)


def read(text: str, pieces: int, *, names_pieces: bool, whole: bool = True) -> Reply | str:
    """The question, the answer and (0-based) the pieces of a reply, or why it cannot be used.

    `pieces` is the number of pieces shown. Numbers beyond it are a fault, not a guess. In a reply
    that is `whole`, an object whose end is missing is closed; in one that was cut it is not.
    """
    if len(text) > LONGEST:
        return "reply too long"
    found = _json(text) or (_json(_closed(text)) if whole else None)
    found = (_prose(text) or {}) | (found or {})
    if not found:
        return "reply is neither JSON nor labelled"
    question, answer = (_text(_first(found, names)) for names in (_QUESTION, _ANSWER))
    if not question or not answer:
        return "reply lacks a question or an answer"
    if not names_pieces:
        return Reply(question, answer, tuple(range(pieces))[:1])
    numbers = _pieces(found, pieces)
    return numbers if isinstance(numbers, str) else Reply(question, answer, numbers)


def _pieces(found: dict[str, Any], pieces: int) -> tuple[int, ...] | str:
    numbers = _numbers(_first(found, _PIECES))
    if not numbers:
        return "reply names no pieces"
    if any(not 1 <= number <= pieces for number in numbers):
        return "reply names a piece that was not given"
    return tuple(sorted({number - 1 for number in numbers}))


def _json(text: str) -> dict[str, Any] | None:
    """The first JSON object with a question in it, wherever it stands."""
    decoder = json.JSONDecoder(strict=False)
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            start = text.find("{", start + 1)
            continue
        for candidate in _objects(value):
            lowered = {str(key).strip().lower(): item for key, item in candidate.items()}
            if _first(lowered, _QUESTION) is not None:
                return lowered
        start = text.find("{", end)
    return None


def _closed(text: str) -> str:
    """With the quotation mark or bracket that small models forget at the end."""
    bare = text.rstrip().rstrip("`").rstrip()
    return bare + ("}" if bare.endswith(('"', "]")) or bare[-1:].isdigit() else '"}')


def _objects(value: Any) -> list[dict[str, Any]]:
    """An object, and those directly in it: models wrap their reply in {"result": {...}}."""
    if not isinstance(value, dict):
        return []
    inner = [item for item in value.values() if isinstance(item, dict)]
    lists = [x for item in value.values() if isinstance(item, list) for x in item]
    return [value, *inner, *(x for x in lists if isinstance(x, dict))]


def _prose(text: str) -> dict[str, Any] | None:
    """`Question: ... Answer: ... Pieces: 1, 3`, with or without Markdown around the labels."""
    marks = list(_LABEL.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found: dict[str, Any] = {}
    for mark, end in zip(marks, ends[: len(marks)], strict=True):
        body = text[mark.end() : end].strip().strip("*_").strip()
        found.setdefault(mark.group(1).lower(), body)
    return found or None


def _first(found: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((found[name] for name in names if name in found), None)


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _numbers(value: Any) -> list[int]:
    """`[1, "Piece 3"]`, `"1, 3"`, `2` as numbers; what holds none is left out."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, dict):
        return [number for item in value.values() for number in _numbers(item)]
    return [int(number) for number in re.findall(r"-?\d{1,6}", str(value))]
