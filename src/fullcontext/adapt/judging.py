"""A language model says whether an answer means the same as the gold one, as in LooGLE."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullcontext import llm
from fullcontext.adapt.documents import Question
from fullcontext.config import EndpointConfig, LocalConfig, Sampling
from fullcontext.llm.cache import Remembered
from fullcontext.llm.meter import Meter

PROMPT = (
    "Somebody was asked a question about a document. Compare the answer with the right one. Does it"
    " say the same in meaning? Wording and length do not matter. Reply with one word: True or"
    " False.\n\nQuestion: {question}\n\nRight answer: {gold}\n\nAnswer: {reply}"
)
NOT_JUDGED = ("cloze", "summary")
"""LooGLE holds a cloze against its masks, and has summaries graded from 0 to 100."""
_TOGETHER = 1024
"""Requests that wait at a time; how many are sent is the endpoint's matter."""
_SAID = re.compile(r"\b(true|false)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge made of answers."""

    verdicts: list[float | None]
    """1 if it says the same, 0 if not; None where nothing was said, or not asked."""
    counted: Counter[str]
    """Why there is no verdict, and what was decided without asking."""
    usage: dict[str, Any]
    """What it cost, as llm/meter.py sums it up."""


def verdict(said: str) -> bool | None:
    """What a judge's reply says: its first word, if that is True or False and the other is absent.

    `verdict("True.")` is True, `verdict("I think it is true")` and `verdict("True or False")` are
    None: not understood is not False.
    """
    found = _SAID.findall(said)
    start = re.match(r"\W*(\w+)", said)
    if start is None or not found or found[0] != start[1]:
        return None
    words = {word.lower() for word in found}
    return words == {"true"} if len(words) == 1 else None


class Judge:
    """Judges one answer after another, or many at once."""

    def __init__(self, model: llm.Model, sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling
        self.counted: Counter[str] = Counter()

    async def score(self, question: Question, reply: str) -> float | None:
        """1, 0, or None with a reason in `counted`. Raises ConfigError if going on is pointless."""
        if question.kind in NOT_JUDGED:
            return None
        if not question.answers:
            self.counted["no gold answer"] += 1
            return None
        if not reply.strip():
            self.counted["empty answer, wrong without asking"] += 1
            return 0.0
        try:
            found = verdict((await self.model.complete(self._request(question, reply))).text)
            reason = "judge said neither True nor False"
        except llm.Refused as refusal:
            found, reason = None, f"judge refused ({refusal})"
        except llm.Unanswered as error:
            found, reason = None, f"no reply of the judge ({error})"
        if found is None:
            self.counted[reason] += 1
            return None
        return float(found)

    def _request(self, question: Question, reply: str) -> llm.Request:
        gold = "\n(or) ".join(question.answers)
        text = PROMPT.format(question=question.text, gold=gold, reply=reply.strip())
        return llm.Request((llm.Message("user", text),), self.sampling, seed=0)


def judged(
    settings: EndpointConfig | LocalConfig,
    asked: Sequence[tuple[Question, str]],
    kept: Path,
    part: int = 0,
    parts: int = 1,
) -> Judged:
    """The verdicts on answers, in order; `kept` is the folder where replies are remembered.

    Raises ConfigError if a key, a package or the weights are missing, or the endpoint is dead.
    """
    meter = Meter(settings, "judge", parts)

    async def every() -> tuple[list[float | None], Counter[str]]:
        model = Remembered(llm.load(settings, "judge", meter), kept, str(part), meter)
        judge = Judge(model, settings)
        found: list[float | None] = []
        try:
            for start in range(0, len(asked), _TOGETHER):
                some = asked[start : start + _TOGETHER]
                found += await asyncio.gather(*(judge.score(q, reply) for q, reply in some))
        finally:
            await model.close()
        return found, judge.counted

    verdicts, counted = asyncio.run(every())
    return Judged(verdicts, counted, meter.summary())
