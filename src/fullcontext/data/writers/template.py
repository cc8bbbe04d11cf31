"""Deterministic questions about details of real sentences.

Every question quotes enough of a sentence to point at it, hides one detail and asks for that. What
is quoted occurs once in the whole corpus, so no filler can answer differently. The answers are
words of the evidence: unlike the paper's, they are not paraphrased.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fullcontext.data import sentences
from fullcontext.data.segments import paragraphs
from fullcontext.data.writers import Asking, Reply, names
from fullcontext.data.writers.quoted import Quoted
from fullcontext.randomness import rng
from fullcontext.records import Document, Segment

GAP = "____"
_NUMBER = re.compile(r"(?<![\w$.,-])\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w'’-]|[.,]\d)")
_DIGIT = re.compile(r"\d")
_UNIT = re.compile(r" (?:hundred|thousand|million|billion|trillion|per ?cent)\b")
_OPENING = 9
"""Words quoted of a sentence whose rest is asked for."""
_PIECE = 6
"""Words quoted of a sentence that is asked for as a whole."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A number or a name in a sentence, and the sentence with a gap in its place."""

    answer: str
    gapped: str
    number: float | None
    """Its value, if it is a plain number (`$22 billion` is not: its unit lies outside the gap)."""


_REST = 4
"""Words that follow such a piece, at least, where the sentence is quoted from the piece on."""


def version(whole: float, onward: bool) -> str:
    """`Template.version` of a share of questions for whole sentences."""
    return f"template-4-{'onward' if onward else 'whole'}-{whole:g}" if whole else "template-4"


class Template:
    """See the module."""

    concurrency = 1

    def __init__(self, whole: float = 0.0, onward: bool = False) -> None:
        self.whole, self.onward, self.version = whole, onward, version(whole, onward)
        self._quoted = Quoted()

    def prepare(self, documents: Iterable[Document]) -> None:
        """Counts every quotation that a question could hold."""
        for document in documents:
            for paragraph in paragraphs(document.text):
                for sentence in sentences.split(paragraph):
                    self._quoted.add(_quotations(sentence))
                    if self.whole:
                        self._quoted.add(_pieces(sentence))

    async def reply(self, asking: Asking, seed: int) -> Reply | str:
        """`ask`, as every writer is called."""
        return self.ask(asking, seed) or "nothing to ask"

    def ask(self, asking: Asking, seed: int) -> Reply | None:
        """A question of the asked kind, drawn by the text alone."""
        draw = rng(seed, "template", *_numbers(asking.key))
        match asking.kind:
            case "fine_grained":
                return self._fine_grained(asking.segments, draw)
            case "integration":
                return self._integration(asking.segments, draw)
            case "short_context":
                either = (self._fine_grained, self._integration)
                first, second = either if draw.random() < 0.5 else either[::-1]
                return first(asking.segments, draw) or second(asking.segments, draw)
            case "instruction":
                return self._instruction(asking.segments, draw)
            case kind:
                raise AssertionError(f"template does not write {kind}")

    def _fine_grained(
        self, segments: tuple[Segment, ...], draw: np.random.Generator
    ) -> Reply | None:
        index = int(draw.integers(len(segments)))
        forms = [self._gap, self._continuation, self._next]
        order = [forms[i] for i in draw.choice(3, size=3, replace=False, p=[0.6, 0.2, 0.2])]
        if self.whole and draw.random() < self.whole:
            order = [self._whole, *order]
        for form in order:
            reply = form(segments[index], draw)
            if reply is not None:
                return Reply(reply[0], reply[1], (index,))
        return None

    def _gap(self, segment: Segment, draw: np.random.Generator) -> tuple[str, str] | None:
        found = self._details(segment)
        if not found:
            return None
        detail = found[int(draw.integers(len(found)))]
        noun = "name" if detail.answer[0].isupper() else "figure"
        wordings = (
            f'Which {noun} belongs in the gap of this statement: "{detail.gapped}"?',
            f'One statement reads: "{detail.gapped}" Which {noun} stands where the gap is?',
        )
        return wordings[int(draw.integers(2))], detail.answer

    def _continuation(self, segment: Segment, draw: np.random.Generator) -> tuple[str, str] | None:
        found = [
            s
            for s in _sentences(segment)
            if len(s.split()) >= _OPENING + 6 and self._quoted.once(_opening(s))
        ]
        if not found:
            return None
        words = found[int(draw.integers(len(found)))].split()
        opening = " ".join(words[:_OPENING])
        return f'How does the sentence go on that begins "{opening}"?', " ".join(words[_OPENING:])

    def _next(self, segment: Segment, draw: np.random.Generator) -> tuple[str, str] | None:
        found = []
        for paragraph in paragraphs(segment.text):
            lines = sentences.split(paragraph)
            for first, second in pairwise(lines):
                if sentences.is_plain(first, most=30) and sentences.is_plain(second, 5, 30):
                    found.append((first, second))
        found = [pair for pair in found if self._quoted.once(pair[0])]
        if not found:
            return None
        first, second = found[int(draw.integers(len(found)))]
        return f'Which sentence comes right after this one: "{first}"?', second

    def _whole(self, segment: Segment, draw: np.random.Generator) -> tuple[str, str] | None:
        found = _sentences(segment)
        pieces = [
            (piece, sentence, start)
            for sentence in found
            for start, piece in enumerate(_pieces(sentence))
            if self._quoted.once(piece)
            and not (self.onward and len(sentence.split()) < start + _PIECE + _REST)
        ]
        if not pieces:
            return None
        piece, sentence, start = pieces[int(draw.integers(len(pieces)))]
        if not self.onward:
            return f'Quote the sentence in which these words stand: "{piece}"', sentence
        question = f'Which sentence has the words "{piece}"? Quote it from these words on.'
        return question, " ".join(sentence.split()[start:])

    def _integration(
        self, segments: tuple[Segment, ...], draw: np.random.Generator
    ) -> Reply | None:
        details = [self._details(segment) for segment in segments]
        holding = [i for i, found in enumerate(details) if found]
        if len(holding) < 2:
            return None
        a, b = (int(i) for i in draw.choice(holding, 2, replace=False))
        pair = _comparable(details[a], details[b], draw)
        if pair and draw.random() < 0.6:
            question, answer = _compare(*pair)
        else:
            one, two = (d[int(draw.integers(len(d)))] for d in (details[a], details[b]))
            first, second = one.answer.lower(), two.answer.lower()
            if first == second or first in two.gapped.lower() or second in one.gapped.lower():
                return None
            question = (
                f'Two statements have a gap each. A: "{one.gapped}" B: "{two.gapped}"'
                " What belongs in the gaps, in this order?"
            )
            answer = f"A: {one.answer}; B: {two.answer}"
        return Reply(question, answer, (a, b))

    def _instruction(
        self, segments: tuple[Segment, ...], draw: np.random.Generator
    ) -> Reply | None:
        index = int(draw.integers(len(segments)))
        found = [s for s in _sentences(segments[index]) if len(s.split()) <= 25]
        if not found:
            return None
        sentence = found[int(draw.integers(len(found)))]
        instruction, work = _WORK[int(draw.integers(len(_WORK)))]
        return Reply(f"{instruction}\n{sentence}", work(sentence), ())

    def _details(self, segment: Segment) -> list[Detail]:
        return [
            detail
            for sentence in _sentences(segment)
            for detail in _details_of(sentence)
            if self._quoted.once(detail.gapped)
        ]


_WORK: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Write the following sentence in capital letters.", str.upper),
    ("Write the following sentence without its last word.", lambda s: " ".join(s.split()[:-1])),
    ("How many words does the following sentence have?", lambda s: str(len(s.split()))),
    ("Give the first three words of the following sentence.", lambda s: " ".join(s.split()[:3])),
    ("Write the words of the following sentence backwards.", lambda s: " ".join(s.split()[::-1])),
    ("Give the last two words of the following sentence.", lambda s: " ".join(s.split()[-2:])),
)  # fmt: skip


def _sentences(segment: Segment) -> list[str]:
    lines = (s for p in paragraphs(segment.text) for s in sentences.split(p))
    return [s for s in lines if sentences.is_plain(s)]


def _details_of(sentence: str) -> list[Detail]:
    found = []
    numbers = _NUMBER.finditer(sentence) if _DIGIT.search(sentence) else ()
    for match in (*numbers, *names.NAME.finditer(sentence)):
        answer = match.group()
        is_name = answer[0].isupper()
        if sentence.count(answer) > 1 or (is_name and names.is_common(answer)):
            continue
        if match.start() == 0 or (not is_name and len(answer.strip("$,.")) < 2):
            continue
        rest = sentence[match.end() :]
        if is_name and names.is_part(sentence[: match.start()], answer, rest):
            continue
        plain = not is_name and not _UNIT.match(rest)
        value = float(answer.strip("$").replace(",", "")) if plain else None
        found.append(Detail(answer, sentence[: match.start()] + GAP + rest, value))
    return found


def _quotations(sentence: str) -> list[str]:
    """Everything that `ask` might quote of a sentence."""
    if not sentences.is_plain(sentence):
        return []
    gapped = [detail.gapped for detail in _details_of(sentence)]
    return [sentence, _opening(sentence), *gapped]


def _pieces(sentence: str) -> list[str]:
    """Every run of _PIECE words."""
    words = sentence.split()
    return [" ".join(words[i : i + _PIECE]) for i in range(len(words) - _PIECE + 1)]


def _opening(sentence: str) -> str:
    return " ".join(sentence.split()[:_OPENING]) + " ..."


def _comparable(
    first: list[Detail], second: list[Detail], draw: np.random.Generator
) -> tuple[Detail, Detail] | None:
    """Two unequal sums of money or two years, one from each segment."""
    pairs = [
        (a, b)
        for a in first
        for b in second
        if a.number is not None
        and b.number is not None
        and a.number != b.number
        and ((_is_money(a) and _is_money(b)) or (_is_year(a) and _is_year(b)))
    ]
    return pairs[int(draw.integers(len(pairs)))] if pairs else None


def _is_year(detail: Detail) -> bool:
    return re.fullmatch(r"1[5-9]\d\d|20\d\d", detail.answer) is not None


def _is_money(detail: Detail) -> bool:
    return detail.answer.startswith("$")


def _compare(a: Detail, b: Detail) -> tuple[str, str]:
    assert a.number is not None and b.number is not None
    statements = f'Two statements have a gap each. A: "{a.gapped}" B: "{b.gapped}"'
    if _is_year(a):
        years = abs(int(a.number) - int(b.number))
        return f"{statements} How many years lie between the two missing years?", str(years)
    larger = f"A: {a.answer}" if a.number > b.number else f"B: {b.answer}"
    return f"{statements} Which missing sum is larger, and what is it?", larger


def _numbers(key: list[str]) -> list[int]:
    return [int.from_bytes(hashlib.blake2b("\n".join(key).encode(), digest_size=8).digest())]
