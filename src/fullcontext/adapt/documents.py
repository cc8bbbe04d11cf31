"""Documents as they are given to adapt.py, with the questions about them."""

from dataclasses import dataclass


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
