"""The order of the corpus: which question counts, and which asking is safe to send.

Requests are answered in any order, by any number of processes, after any number of kills; the
store has to be the same. So questions are counted by a walk through the askings in the order of
the corpus: the walk takes every accepted question until its kind has as many as were wanted, and
an asking is sent only if the walk will need it whatever becomes of those before it.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fullcontext.data.questions import Outcome
from fullcontext.data.writers import Asking
from fullcontext.records import Question


@dataclass(slots=True, eq=False)
class Shard:
    """A run of documents, their askings in order, and what is known of each."""

    number: int
    documents: int
    """Documents read for it, those skipped not counted."""
    counts: dict[str, Any]
    """Texts, segments and drops of its cutting (see data/shards.py)."""
    kinds: list[str]
    """The asked kind of every asking."""
    outcomes: list[Outcome | None]
    """What came of each; None where it was not asked, or not answered yet."""
    askings: list[Asking] | None
    """None where nothing is left to ask: the shard was read from its work file."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Documents passed over on the way to it, by reason."""
    place: int = 0
    """Where the walk stands."""
    taken: list[Question] = field(default_factory=list)
    """The questions that count."""
    changed: bool = False
    """Whether outcomes came in that its work file does not hold."""


class Seen(Protocol):
    """Knows which questions were asked before (data/duplicates.py)."""

    def known(self, question: str, answer: str) -> str | None:
        """The reason why a question is not new; None remembers it."""


@dataclass(slots=True)
class Tally:
    """What the walk counted; sums over the shards it has passed."""

    made: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    """Questions that each filter looked at."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Questions that each filter dropped."""


class Walk:
    """Takes shards in order, hands out askings, takes outcomes in any order."""

    def __init__(self, wanted: Mapping[str, int], seen: Seen | None) -> None:
        self.wanted, self.seen = dict(wanted), seen
        self.tally = Tally()
        self.elsewhere: Counter[str] = Counter()
        """Questions that other processes hold earlier in the corpus."""
        self._ahead: Counter[str] = Counter()
        """Askings sent or accepted that the walk has not reached: each may still count."""
        self._waiting: dict[str, deque[tuple[Shard, int]]] = {kind: deque() for kind in wanted}
        self._open: deque[Shard] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def full(self) -> bool:
        """Whether every kind has as many questions as were wanted."""
        return all(self.is_full(kind) for kind in self.wanted)

    def is_full(self, kind: str) -> bool:
        """Whether a kind needs no more; never again false once true."""
        return self._needed(kind) <= 0

    def _needed(self, kind: str) -> int:
        return self.wanted.get(kind, 0) - self.tally.made[kind] - self.elsewhere[kind]

    def open(self, shard: Shard) -> None:
        """Adds the next shard of the corpus."""
        self._open.append(shard)
        for place, (kind, outcome) in enumerate(zip(shard.kinds, shard.outcomes, strict=True)):
            if outcome is None:
                if kind in self._waiting and shard.askings is not None:
                    self._waiting[kind].append((shard, place))
            elif outcome.question is not None:
                self._ahead[kind] += 1

    def next(self) -> tuple[Shard, int] | None:
        """The first asking in corpus order that is surely needed and was not sent; None if all
        depends on outcomes that are still missing, or on the next shard."""
        heads = []
        for kind, queue in self._waiting.items():
            while queue and queue[0][1] < queue[0][0].place:
                queue.popleft()  # the walk went past it: its kind was full
            if queue and (self._ahead[kind] < self._needed(kind) or self._is_stuck_at(*queue[0])):
                heads.append((queue[0][0].number, queue[0][1], kind))
        if not heads:
            return None
        _, _, kind = min(heads)
        shard, place = self._waiting[kind].popleft()
        self._ahead[kind] += 1
        return shard, place

    def _is_stuck_at(self, shard: Shard, place: int) -> bool:
        """Whether the walk waits for this very asking: another process left it out."""
        return (
            self._open[0] is shard and shard.place == place and not self.is_full(shard.kinds[place])
        )

    def lacks(self, margin: int) -> bool:
        """Whether some kind has fewer than `margin` askings left and needs more."""
        return any(
            self._ahead[kind] + len(queue) < self._needed(kind) and len(queue) < margin
            for kind, queue in self._waiting.items()
        )

    def settle(self, shard: Shard, place: int, outcome: Outcome) -> None:
        """What came of an asking."""
        shard.outcomes[place] = outcome
        shard.changed = True
        if outcome.question is None or place < shard.place:
            self._ahead[shard.kinds[place]] -= 1

    def advance(self) -> list[Shard]:
        """Walks as far as outcomes are known; the shards that were passed, in order."""
        passed = []
        while self._open and not self.full() and self._through(self._open[0]):
            passed.append(self._open.popleft())
        return passed

    def _through(self, shard: Shard) -> bool:
        """Walks on in a shard; whether its end was reached."""
        while shard.place < len(shard.kinds):
            kind, outcome = shard.kinds[shard.place], shard.outcomes[shard.place]
            if outcome is None and not self.is_full(kind):
                return False
            shard.place += 1
            if outcome is not None:
                self._count(shard, kind, outcome)
        return True

    def _count(self, shard: Shard, kind: str, outcome: Outcome) -> None:
        if outcome.question is not None:
            self._ahead[kind] -= 1
        if self.is_full(kind):
            return  # another process asked more than was needed
        tally = self.tally
        tally.asked[kind] += 1
        tally.checked.update(outcome.checked)
        if outcome.demoted:
            tally.dropped[f"{kind}: answered from a single piece, kept as fine_grained"] += 1
        reason = outcome.reason
        if reason is not None and outcome.checked:
            tally.rejected[outcome.checked[-1]] += 1
        if outcome.question is not None:
            reason = self._reason_against(outcome.question)
        if reason is not None:
            tally.dropped[f"{kind}: {reason}"] += 1
        elif outcome.question is not None:
            tally.made[outcome.question.kind] += 1
            shard.taken.append(outcome.question)

    def _reason_against(self, question: Question) -> str | None:
        if self.is_full(question.kind):
            return f"demoted, but there are enough {question.kind} questions"
        if self.seen is None:
            return None
        self.tally.checked["duplicates"] += 1
        reason = self.seen.known(question.question, question.answer)
        if reason is not None:
            self.tally.rejected["duplicates"] += 1
        return reason
