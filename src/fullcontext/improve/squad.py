"""Answers compared as SQuAD does: lower case, no punctuation, no articles, single spaces."""

import re
import string
from collections import Counter
from collections.abc import Sequence

from fullcontext.config import Match

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normal(text: str) -> str:
    """A text in SQuAD's normal form."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def usable(golds: Sequence[str]) -> tuple[str, ...]:
    """The gold answers that say something.

    "The" is nothing in the normal form, and nothing stands in every output.
    """
    return tuple(gold for gold in golds if normal(gold))


def right(output: str, golds: Sequence[str], match: Match = Match.substring) -> float:
    """1 if the output matches one of the gold answers, else 0.

    Raises ValueError if no gold answer says anything: every output would count as right.
    """
    wanted = [normal(gold) for gold in usable(golds)]
    if not wanted:
        raise ValueError(f"the gold answers {list(golds)} are empty once articles and signs go")
    said = normal(output)
    if match is Match.exact:
        return float(said in wanted)
    return float(any(gold in said for gold in wanted))


def token_f1(one: str, other: str) -> float:
    """F1 of the bags of words of two texts; 1 if both are empty, as in SQuAD 2."""
    first, second = normal(one).split(), normal(other).split()
    if not first or not second:
        return float(first == second)
    shared = sum((Counter(first) & Counter(second)).values())
    return 2 * shared / (len(first) + len(second))
