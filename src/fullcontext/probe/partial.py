"""Answers to a task while they are being given: what a kill leaves is whole and asked no more."""

from collections.abc import Iterable
from pathlib import Path

from fullcontext.probe.asking import line, read_answers
from fullcontext.probe.contexts import ProbeContext
from fullcontext.records import Answer
from fullcontext.store import write_aside

Key = tuple[int, int, int]


class Partial:
    """Rows appended to FILE.partial, one at a time; `finish` puts the sorted file in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = path.with_name(f"{path.name}.partial")
        self.given = {_key(answer): answer for answer in read_answers(self.rows)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(self.rows, "".join(map(line, self.given.values())))  # without a torn line
        self._file = self.rows.open("a", encoding="utf-8")

    def add(self, answer: Answer) -> None:
        """Keeps a row; in the kernel's hands when this returns."""
        self.given[_key(answer)] = answer
        self._file.write(line(answer))
        self._file.flush()

    def left(self, sets: Iterable[ProbeContext]) -> list[ProbeContext]:
        """The contexts that still have an unanswered question; a context is asked whole."""
        return [
            each
            for each in sets
            if any((each.length, each.set, q.position) not in self.given for q in each.queries)
        ]

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def finish(self, answers: Iterable[Answer]) -> None:
        """Writes the whole file and removes the partial one."""
        self.close()
        write_aside(self.path, "".join(map(line, answers)))
        self.rows.unlink(missing_ok=True)

    def sorted(self) -> list[Answer]:
        """Every row so far, by length, set and position."""
        return [self.given[key] for key in sorted(self.given)]


def _key(answer: Answer) -> Key:
    return answer.length, answer.set, answer.position
