"""A prompt and what counts as right; and the folder that holds those of a round."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fullcontext import stage
from fullcontext.data.tokens import Prompt
from fullcontext.store import read_table, write_table

FILE = "problems.arrow"
SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("source", pa.string()), ("before", pa.string()),
        ("after", pa.string()), ("golds", pa.list_(pa.string())), ("tokens", pa.int32()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """What a model is asked. The user says `before + after`, before any chat mark-up."""

    id: str
    source: str
    before: str
    """The context with what introduces it; ends with a newline."""
    after: str
    """The question; begins and ends with no white space."""
    golds: tuple[str, ...]
    """For diagnostics and selector=oracle; nothing else sees them."""
    tokens: int
    """Of the whole prompt."""


def problem(
    id: str, source: str, before: str, after: str, golds: Sequence[str], prompt: Prompt
) -> Problem:
    """A problem whose parts can be tokenised apart.

    White space at the outer ends goes: chat templates trim it, too.
    """
    said = before.lstrip() + after.strip()
    cut = len(said) - len(after.strip())
    before, after = said[:cut], said[cut:]
    tokens = len(prompt.shared(before)) + len(prompt.follow(after, "").prompt)
    return Problem(id, source, before, after, tuple(golds), tokens)


def write(
    folder: Path, problems: Sequence[Problem], settings: dict[str, Any], dropped: dict[str, int]
) -> None:
    """Writes the problems of a round, the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / FILE, [asdict(each) for each in problems], SCHEMA)
    tokens = [each.tokens for each in problems]
    facts = {
        "problems": len(problems),
        "tokens": {"least": min(tokens), "mean": sum(tokens) / len(tokens), "most": max(tokens)},
        "dropped": dropped,
    }
    stage.finish(folder, settings, [FILE], **facts)


class Problems:
    """The problems of a finished folder, by place; memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self._table = read_table(folder / FILE)
        self.ids: list[str] = self._table["id"].to_pylist()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Problem:
        record = self._table.slice(place, 1).to_pylist()[0]
        return Problem(**{**record, "golds": tuple(record["golds"])})
