"""Sentences of running English text, found by punctuation."""

import re

_ABBREVIATIONS = ("Mr", "Mrs", "Ms", "Dr", "St", "No", "Gen", "Messrs", "Hon", "Rev", "Col", "Capt")
_NOT_AFTER = "".join(rf"(?<!\b{word}\.)" for word in _ABBREVIATIONS) + r"(?<![ .(][A-Z]\.)"
# The punctuation comes first: what cannot end a sentence is passed over at a glance.
_END = re.compile(r"[.!?]" + _NOT_AFTER + r"[\"”’)]?\s+(?=[\"“‘(]?[A-Z])")

_MARKS = re.compile(r"[\"“”()\[\]{}|_*\n]")


def split(paragraph: str) -> list[str]:
    """The sentences of a paragraph, in order; joined by single spaces they give it back."""
    ends = [match.end() for match in _END.finditer(paragraph)]
    pieces = (paragraph[a:b] for a, b in zip([0, *ends], [*ends, None], strict=True))
    return [piece.strip() for piece in pieces if piece.strip()]


def is_plain(sentence: str, least: int = 10, most: int = 45) -> bool:
    """Whether it reads on its own: a capital first, a full stop last, no quotes or brackets."""
    words = sentence.split()
    return (
        least <= len(words) <= most
        and sentence[0].isupper()
        and sentence.endswith(".")
        and not _MARKS.search(sentence)
    )
