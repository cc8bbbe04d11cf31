"""What a question has to pass before it is stored; every rejection has a reason.

In the order in which they look: format, evidence, closed book, single piece. Duplicates are found
later, in the order of the corpus (data/walk.py), and evaluation sets earlier, in whole documents
(data/decontaminate.py).
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from fullcontext.config import EvidenceCheck, FiltersConfig, SinglePiece
from fullcontext.data.writers import Asking, Reply
from fullcontext.llm import Message, Model, Refused, Request, Unanswered

NO_REPLY = "no reply"
"""How a reason begins that may be different in another run: the endpoint did not answer."""

_WORD = re.compile(r"\w+")
_MENTION = re.compile(
    r"\b(?:(?:accord\w+ to|based on|mentioned in|described in|stated in|given in|from) (?:the|this)"
    r" (?:\w+ )?(?:text|context|passage|excerpt|document|article|pieces?|paragraph|segment)s?\b"
    r"|(?:in|of) (?:the|this) (?:(?:above|given|provided|following) )(?:text|context|passage"
    r"|excerpt|document|article|piece|paragraph|segment)s?\b"
    r"|(?:this|the) (?:passage|excerpt|context)\b(?! of)|\bpiece \d)",
    re.IGNORECASE,
)
_FUNCTION_WORDS = frozenset(
    """a an and are as at be been but by can could did do does for from had has have he her him his
    how i if in into is it its may might more most no not of on or our she should so some such than
    that the their them then there these they this those to was we were what when where which who
    why will with would you your""".split()  # noqa: SIM905 -- a list would take a line a word
)
_STEM = 5
"""Letters by which inflected words count as the same: answers are paraphrases."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the filters made of a reply."""

    kind: str
    """The asked kind, or fine_grained where a filter demoted the question."""
    reply: Reply
    reason: str | None = None
    """Why the question is dropped; None if it passed."""
    checked: tuple[str, ...] = ()
    """The filters that looked at it; the last one dropped it if there is a reason."""


class Format:
    """Bounds and forms that need no model."""

    def __init__(self, config: FiltersConfig, specials: tuple[str, ...] = ()) -> None:
        self.config, self.specials = config, specials

    def fault(self, kind: str, reply: Reply) -> str | None:
        """Why a reply is not well formed, or None."""
        question, answer = reply.question.split(), reply.answer.split()
        config = self.config
        if len(question) < config.shortest_question:
            return f"question of fewer than {config.shortest_question} words"
        if kind != "instruction" and len(question) > config.longest_question:
            return f"question of more than {config.longest_question} words"
        if len(answer) > config.longest_answer:
            return f"answer of more than {config.longest_answer} words"
        if kind != "instruction" and _MENTION.search(_unquoted(reply.question)):
            return "question speaks of its context"
        if any(special in reply.question + reply.answer for special in self.specials):
            return "question or answer holds a special token"
        return None


def fault(asking: Asking, reply: Reply) -> str | None:
    """Why a reply cannot be stored at all, whatever the filters, or None."""
    if not reply.question.strip() or not reply.answer.strip():
        return "empty question or answer"
    if reply.answer != reply.answer.strip():
        return "answer has white space around it"
    if any(not 0 <= i < len(asking.segments) for i in reply.evidence):
        return "evidence names a segment that was not given"
    needed = {"instruction": 0, "integration": 2}.get(asking.kind, 1)
    if len(set(reply.evidence)) < needed:
        return f"fewer than {needed} evidence segments"
    if asking.kind == "fine_grained" and reply.answer.lower() in reply.question.lower():
        return "the question gives the answer away"
    return None


class Likelihood(Protocol):
    """A local model that also says how likely an answer is."""

    async def answer_nll(self, messages: tuple[Message, ...], answer: str) -> float:
        """Mean negative log-likelihood of the answer, nats a token."""


class Filters:
    """All switched-on filters, one after another."""

    def __init__(
        self, config: FiltersConfig, specials: tuple[str, ...], judge: "Judge | None"
    ) -> None:
        self.config, self.judge = config, judge
        self.format = Format(config, specials)

    async def verdict(self, asking: Asking, reply: Reply) -> Verdict:
        """Whether the question may be stored, and as which kind."""
        broken = fault(asking, reply)
        if broken:
            return Verdict(asking.kind, reply, broken)
        found = Verdict(asking.kind, reply)
        steps = (self._format, self._evidence, self._closed_book, self._single_piece)
        try:
            for step in steps:
                found = await step(asking, found)
                if found.reason:
                    return found
        except Refused as error:
            return replace(found, reason=f"judge refused ({error})")
        except Unanswered as error:
            return replace(found, reason=f"{NO_REPLY} of the judge ({error})")
        return found

    async def _format(self, asking: Asking, so_far: Verdict) -> Verdict:
        if not self.config.format:
            return so_far
        return _after(so_far, "format", self.format.fault(asking.kind, so_far.reply))

    async def _evidence(self, asking: Asking, so_far: Verdict) -> Verdict:
        reply = so_far.reply
        if asking.kind == "instruction" or self.config.evidence is EvidenceCheck.off:
            return so_far
        texts = [asking.segments[i].text for i in reply.evidence]
        if self.config.evidence is EvidenceCheck.nll:
            assert self.judge is not None
            drop = await self.judge.nll_drop(reply, texts)
            reason = None if drop >= self.config.evidence_nll else "no likelier with its evidence"
            return _after(so_far, "evidence", reason)
        share = supported(reply.answer, texts, least=1 if len(texts) < 2 else 3)
        reason = None if share >= self.config.evidence_share else "answer's words not in evidence"
        return _after(so_far, "evidence", reason)

    async def _closed_book(self, asking: Asking, so_far: Verdict) -> Verdict:
        if not self.config.closed_book or asking.kind == "instruction":
            return so_far
        assert self.judge is not None
        known = await self.judge.answers(so_far.reply, [])
        return _after(so_far, "closed_book", "answered without its text" if known else None)

    async def _single_piece(self, asking: Asking, so_far: Verdict) -> Verdict:
        if self.config.single_piece is SinglePiece.off or asking.kind != "integration":
            return so_far
        assert self.judge is not None
        reply = so_far.reply
        for piece in reply.evidence:
            if await self.judge.answers(reply, [asking.segments[piece].text]):
                found = _after(so_far, "single_piece", "answered from a single piece")
                if self.config.single_piece is SinglePiece.drop:
                    return found
                alone = replace(reply, evidence=(piece,))
                return replace(found, kind="fine_grained", reply=alone, reason=None)
        return _after(so_far, "single_piece", None)


def _after(so_far: Verdict, name: str, reason: str | None) -> Verdict:
    return replace(so_far, checked=(*so_far.checked, name), reason=reason)


class Judge:
    """A model that answers questions with some of their text, or none."""

    def __init__(self, model: Model, sampling: Any, same_answer: float) -> None:
        self.model, self.sampling, self.same_answer = model, sampling, same_answer

    async def answers(self, reply: Reply, texts: list[str]) -> bool:
        """Whether it gives the written answer when it sees `texts` alone."""
        said = await self.model.complete(
            Request(messages=_question(reply, texts), sampling=self.sampling, seed=0)
        )
        return same(said.text, reply.answer, self.same_answer)

    async def nll_drop(self, reply: Reply, texts: list[str]) -> float:
        """By how many nats a token the answer is likelier with `texts` than without."""
        model: Any = self.model
        without = await model.answer_nll(_question(reply, []), reply.answer)
        return float(without - await model.answer_nll(_question(reply, texts), reply.answer))


def _question(reply: Reply, texts: list[str]) -> tuple[Message, ...]:
    if texts:
        content = (
            "\n\n".join(texts) + "\n\nAnswer this question from the text above alone. If the text"
            f" does not tell, say: not given.\n\nQuestion: {reply.question}"
        )
    else:
        content = (
            "Answer this question in one sentence. If you do not know, say: unknown.\n\n"
            f"Question: {reply.question}"
        )
    return (Message("user", content),)


def same(said: str, gold: str, threshold: float) -> bool:
    """Whether an answer is as good as the written one: it holds a short one, or shares words.

    `same("It was Ada Lovelace.", "Ada Lovelace", 0.6)` is true.
    """
    ours, theirs = _words(gold), _words(said)
    if not ours or not theirs:
        return False
    if len(ours) <= 4 and f" {' '.join(ours)} " in f" {' '.join(theirs)} ":
        return True
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs)) >= threshold


def supported(answer: str, texts: list[str], least: int) -> float:
    """Share of an answer's content words that occur in its evidence; 1 with fewer than `least`.

    Short answers to integration questions ("3 years") may be worked out, so they are not held
    against the words of the evidence. Words count as equal by their first letters: answers are
    paraphrases.
    """
    wanted = [word for word in _words(answer) if word not in _FUNCTION_WORDS]
    if len(wanted) < least:
        return 1.0
    there = _stems("\n".join(texts))
    return sum(_stem(word) in there for word in wanted) / len(wanted)


@lru_cache(maxsize=64)
def _stems(text: str) -> frozenset[str]:
    return frozenset(map(_stem, _words(text)))


def _stem(word: str) -> str:
    return word[:_STEM] if word.isalpha() else word


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _unquoted(question: str) -> str:
    """Without what stands in quotation marks: a template question quotes real sentences."""
    return re.sub(r"\"[^\"]*\"|“[^”]*”", " ", question)
