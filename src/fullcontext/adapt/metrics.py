"""How good an answer is, by its kind: words in common, masks filled in, events put in order.

LooGLE (arXiv 2311.04939) scores text by BLEU-1 and BLEU-4, ROUGE recall, and METEOR and BERTScore,
which are in paraphrase.py. Its BLEU is of a single order: BLEU-4 has the weights (0, 0, 0, 1).

Of a timeline only the order counts: SQuAD's normal form makes `II,I,III` and `I,II,III` the same,
and every order has the same words.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fullcontext.adapt.literals import literal
from fullcontext.config import Match
from fullcontext.config.loogle import LONG_KINDS
from fullcontext.improve import squad
from fullcontext.improve.rouge import words

Scores = dict[str, float | None]
"""Metric -> value within [0, 1], None where it cannot be said; `masks` alone is a number."""
DEVIATIONS = ("lsd", "lmd", "sd", "sdd")
"""Less is better; the other metrics are the better the more."""
_NUMERAL = re.compile(r"\b[IVXLCDM]+\b")
_WEIGHTS = {"cloze_exact": "masks", "cloze_partial": "masks"}
"""LooGLE's share is of all masks, not a mean over questions."""


def scores(kind: str, reply: str, golds: Sequence[str]) -> Scores:
    """Every metric of a kind of question; of several gold answers the best counts.

    `exact`, `sub_em` (a gold answer stands in the reply) and `f1` are in SQuAD's normal form; then
    `bleu_1`, `bleu_4`, `rouge_1_recall`, `rouge_2_recall`, `rouge_l_recall`. A cloze has
    `cloze_exact`, `cloze_partial`, `masks` and `readable`, a timeline `exact`, `lsd`, `lmd`, `sd`,
    `sdd` and `readable`. Empty without a gold answer.
    """
    if not golds:
        return {}
    if kind == "cloze":
        return cloze(json.loads(golds[0]), reply)
    if kind == "timeline":
        return timeline(golds[0], reply)
    usable = squad.usable(golds)
    found: Scores = {"exact": None, "sub_em": None, "f1": None}
    if usable:
        found["exact"] = squad.right(reply, usable, Match.exact)
        found["sub_em"] = squad.right(reply, usable)
        found["f1"] = max(squad.token_f1(reply, gold) for gold in usable)
    for order in (1, 4):
        found[f"bleu_{order}"] = max(bleu(gold, reply, order) for gold in golds)
    for order in (1, 2):
        found[f"rouge_{order}_recall"] = max(rouge_recall(gold, reply, order) for gold in golds)
    found["rouge_l_recall"] = max(rouge_l_recall(gold, reply) for gold in golds)
    return found


def bleu(gold: str, reply: str, order: int) -> float:
    """BLEU of one sentence by its n-grams of a single order, without smoothing (Papineni, 2002).

    The brevity penalty times the clipped precision; words are what white space separates. 0 if no
    n-gram matches, as of every reply of fewer than `order` words.
    """
    expected, said = gold.split(), reply.split()
    total = len(said) - order + 1
    if total < 1:
        return 0.0
    precision = (_grams(expected, order) & _grams(said, order)).total() / total
    return precision * min(1.0, math.exp(1 - len(expected) / len(said)))


def rouge_recall(gold: str, reply: str, order: int) -> float:
    """Share of the gold answer's n-grams that the reply has, each as often (Lin, 2004).

    Words are those of improve/rouge.py; 0 if the gold answer has no n-gram. The `rouge` package,
    which LooGLE uses, counts distinct n-grams of words that end at white space.
    """
    expected = _grams(words(gold), order)
    shared = expected & _grams(words(reply), order)
    return shared.total() / expected.total() if expected else 0.0


def rouge_l_recall(gold: str, reply: str) -> float:
    """Longest common subsequence of words, as a share of the gold answer's words."""
    from rapidfuzz.distance import LCSseq

    expected = words(gold)
    return LCSseq.similarity(expected, words(reply)) / len(expected) if expected else 0.0


def _grams(text: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(text[i : i + order]) for i in range(len(text) - order + 1))


def cloze(gold: Mapping[str, str], reply: str) -> Scores:
    """Shares of the masks whose name is the gold one, or has a word of it (case counts).

    The reply is read from its first brace to its last as JSON or a Python dict, and never run; one
    that is neither fills in no mask and is not `readable`.
    """
    said = _named(reply)
    named = said or {}
    both = [(name, named.get(mask, "")) for mask, name in gold.items()]
    exact = sum(name.strip() == given.strip() for name, given in both)
    partial = sum(bool(set(name.split()) & set(given.split())) for name, given in both)
    return {
        "cloze_exact": exact / len(both),
        "cloze_partial": partial / len(both),
        "readable": float(said is not None),
        "masks": float(len(both)),
    }


def _named(reply: str) -> dict[Any, str] | None:
    start, stop = reply.find("{"), reply.rfind("}") + 1
    try:
        found = literal(reply[start:stop]) if 0 <= start < stop else None
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {mask: str(name) for mask, name in found.items()}


def timeline(gold: str, reply: str) -> Scores:
    """Whether events stand in the right order, and how far from it, each by its greatest value.

    The reply's order is the first run of numerals in it that has each of the gold ones once. One
    without such a run is wrong and not `readable`, and its deviations are None: LooGLE has none
    for an order of another length either. Of a gold order that is none, everything is None.
    """
    expected = _NUMERAL.findall(gold)
    if len(expected) < 2 or len(set(expected)) < len(expected):
        return dict.fromkeys(("exact", "readable", *DEVIATIONS))
    said = _order(expected, _NUMERAL.findall(reply))
    if said is None:
        return {"exact": 0.0, "readable": 0.0, **dict.fromkeys(DEVIATIONS)}
    most = most_deviations(len(expected))
    shares = {name: value / most[name] for name, value in deviations(expected, said).items()}
    return {"exact": float(said == expected), "readable": 1.0, **shares}


def _order(expected: list[str], numerals: list[str]) -> list[str] | None:
    length = len(expected)
    for start in range(len(numerals) - length + 1):
        if set(numerals[start : start + length]) == set(expected):
            return numerals[start : start + length]
    return None


def deviations(expected: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """LooGLE's four distances of an order from another of the same items.

    Location square and location mean deviation: the mean over items of (d^2, |d|), d being the
    places by which one is displaced. Swap deviation: swaps of any two that sort it. Swap distance
    deviation: the places between the swapped, summed, at best; each swap over k places can bring
    two items k places nearer, so it is half the sum of |d| and, by its greatest value, the same as
    the location mean deviation.
    """
    places = [said.index(item) for item in expected]
    moved = [abs(place - i) for i, place in enumerate(places)]
    cycles, seen = 0, set[int]()
    for at in places:
        cycles += at not in seen
        while at not in seen:
            seen.add(at)
            at = places[at]  # noqa: PLW2901 -- the cycle that it is in
    return {
        "lsd": sum(by * by for by in moved) / len(moved),
        "lmd": sum(moved) / len(moved),
        "sd": float(len(places) - cycles),
        "sdd": sum(moved) / 2,
    }


def most_deviations(length: int) -> dict[str, float]:
    """The greatest values over all orders of `length` items: a reversal, of swaps a rotation."""
    half = length * length // 4
    return {
        "lsd": (length * length - 1) / 3,
        "lmd": 2 * half / length,
        "sd": float(length - 1),
        "sdd": float(half),
    }


def table(rows: Iterable[tuple[str, Mapping[str, float | None]]]) -> dict[str, dict[str, Any]]:
    """Kind of question -> metric -> {mean, questions, without}, of kinds and scores.

    `mean` is over the `questions` that have a value, and None if none has; `without` is how many
    have None. `all` is of all rows, `long` of all kinds of long-dependency questions, as LIFT
    reports them. Shares of masks are of all masks.
    """
    pooled: dict[str, list[Mapping[str, float | None]]] = {}
    for kind, row in rows:
        pools = ["all", "long"] if kind in LONG_KINDS else ["all"]
        for pool in dict.fromkeys([*pools, kind] if kind else pools):
            pooled.setdefault(pool, []).append(row)
    return {pool: _means(some) for pool, some in pooled.items()}


def _means(rows: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    metrics = dict.fromkeys(name for row in rows for name in row if name != "masks")
    return {name: _mean(name, [row for row in rows if name in row]) for name in metrics}


def _mean(name: str, rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    values = [
        (value, row.get(_WEIGHTS.get(name, "")) or 1.0)
        for row in rows
        if (value := row[name]) is not None
    ]
    total = sum(weight for _, weight in values)
    mean = sum(value * weight for value, weight in values) / total if values else None
    return {"mean": mean, "questions": len(values), "without": len(rows) - len(values)}
