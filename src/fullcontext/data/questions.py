"""Which questions are asked of which text, exactly once."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from fullcontext.data.writers import Asking, Reply, Writer
from fullcontext.records import Document, Question, Segment
from fullcontext.store import Journal, fingerprint


def askings(document: Document, segments: Sequence[Segment], kinds: Sequence[str]) -> list[Asking]:
    """A fine-grained question a segment; one question a text of every other kind."""
    found = []
    for kind in kinds:
        if kind == "fine_grained":
            found += [Asking(kind, document, (segment,)) for segment in segments]
        elif kind in ("instruction", "short_context") or len(segments) > 1:
            found.append(Asking(kind, document, tuple(segments)))
    return found


def ask(
    asking: Asking, writer: Writer, journal: Journal, seed: int, dropped: Counter[str]
) -> Question | None:
    """The question, from the journal if it was asked before; checked, or dropped by reason."""
    key = fingerprint([writer.version, seed, *asking.key])
    if key not in journal:
        reply = writer.ask(asking, seed)
        journal.add(key, reply.to_json() if reply else None)
    record = journal[key]
    if record is None:
        dropped[f"{asking.kind}: nothing to ask"] += 1
        return None
    reply = Reply.from_json(record)
    fault = fault_of(asking, reply)
    if fault:
        dropped[f"{asking.kind}: {fault}"] += 1
        return None
    return _question(asking, reply)


def fault_of(asking: Asking, reply: Reply) -> str | None:
    """Why a reply cannot be used, or None."""
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


def _question(asking: Asking, reply: Reply) -> Question:
    ids = [segment.id for segment in asking.segments]
    evidence = tuple(ids[i] for i in sorted(set(reply.evidence)))
    whole_text = asking.kind in ("integration", "short_context")
    name = "\n".join([asking.kind, asking.document.id, reply.question])
    return Question(
        id=hashlib.sha256(name.encode()).hexdigest()[:16],
        kind=asking.kind,
        question=reply.question,
        answer=reply.answer,
        evidence=evidence,
        context=tuple(ids) if whole_text else evidence,
        document=asking.document.id,
        parent=asking.document.parent,
        source=asking.document.source,
    )
