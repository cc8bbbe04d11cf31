"""Which questions are asked of which text, and what came of each."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fullcontext.data.filters import NO_REPLY, Filters, Verdict
from fullcontext.data.writers import Asking, Writer
from fullcontext.records import Document, Question, Segment


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an asking: a question, or the reason why there is none."""

    question: Question | None
    reason: str | None = None
    checked: tuple[str, ...] = ()
    """The filters that looked at it; the last one dropped it if there is a reason."""
    demoted: bool = False
    """Asked as integration, kept as fine-grained."""

    @property
    def is_final(self) -> bool:
        """Whether another run would get the same: not where the endpoint did not answer."""
        return self.reason is None or not self.reason.startswith(NO_REPLY)

    def to_json(self) -> dict[str, Any]:
        """As a work file keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Outcome":
        """Back from a work file."""
        question = record["question"]
        if question is not None:
            lists = {name: tuple(question[name]) for name in ("evidence", "context")}
            question = Question(**{**question, **lists})
        return cls(question, record["reason"], tuple(record["checked"]), record["demoted"])


def askings(document: Document, segments: Sequence[Segment], kinds: Sequence[str]) -> list[Asking]:
    """A fine-grained question a segment; one question a text of every other kind."""
    found = []
    for kind in kinds:
        if kind == "fine_grained":
            found += [Asking(kind, document, (segment,)) for segment in segments]
        elif kind in ("instruction", "short_context") or len(segments) > 1:
            found.append(Asking(kind, document, tuple(segments)))
    return found


async def ask(asking: Asking, writer: Writer, filters: Filters, seed: int) -> Outcome:
    """Asks the writer, then the filters."""
    reply = await writer.reply(asking, seed)
    if isinstance(reply, str):
        return Outcome(None, reply)
    verdict = await filters.verdict(asking, reply)
    if verdict.reason:
        return Outcome(None, verdict.reason, verdict.checked)
    demoted = verdict.kind != asking.kind
    return Outcome(question(asking, verdict), None, verdict.checked, demoted)


def question(asking: Asking, verdict: Verdict) -> Question:
    """The question as it is stored."""
    ids = [segment.id for segment in asking.segments]
    closed = verdict.kind == "instruction"
    evidence = () if closed else tuple(ids[i] for i in sorted(set(verdict.reply.evidence)))
    whole_text = verdict.kind in ("integration", "short_context")
    name = "\n".join([verdict.kind, asking.document.id, verdict.reply.question])
    return Question(
        id=hashlib.sha256(name.encode()).hexdigest()[:16],
        kind=verdict.kind,
        question=verdict.reply.question,
        answer=verdict.reply.answer,
        evidence=evidence,
        context=tuple(ids) if whole_text else evidence,
        document=asking.document.id,
        parent=asking.document.parent,
        source=asking.document.source,
    )
