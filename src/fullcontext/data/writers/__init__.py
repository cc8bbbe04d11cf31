"""Who asks the questions: one module a writer, all with the same verbs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from fullcontext.records import Document, Segment


@dataclass(frozen=True, slots=True)
class Asking:
    """What a writer is asked: a question of one kind about one segment or a whole text."""

    kind: str
    document: Document
    segments: tuple[Segment, ...]
    turn: int = 0
    """Which question about the same text it is; a store asks once."""

    @property
    def key(self) -> list[str]:
        """What the reply depends on, besides the writer: kind, text and turn."""
        turn = [str(self.turn)] if self.turn else []
        return [self.kind, *turn, *(segment.text for segment in self.segments)]


@dataclass(frozen=True, slots=True)
class Reply:
    """A question and its answer; `evidence` are indices into the asked segments."""

    question: str
    answer: str
    evidence: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As dicts and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Reply":
        """Back from `to_json`."""
        return cls(record["question"], record["answer"], tuple(record["evidence"]))


class Writer(Protocol):
    """Turns segments into questions that can be answered from them alone."""

    version: str
    """Changes whenever equal segments would give other questions; part of the store's settings."""
    concurrency: int
    """Replies that it can work on at once."""

    def prepare(self, documents: Iterable[Document]) -> None:
        """Sees the whole corpus once before the first question."""

    async def reply(self, asking: Asking, seed: int) -> Reply | str:
        """One question, or the reason why there is none."""
