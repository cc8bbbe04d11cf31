"""Pairs of answers to one prompt, one preferred to the other; improve.py makes them.

A pair is self-contained: the user's text in two parts, up to the end of what both answers share
and a newline (`before`), and the rest (`after`). Both answers stand in one row:

    [before | after chosen | after rejected]

so that a context costs once what two rows would cost twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fullcontext import stage
from fullcontext.compose import ConfigError
from fullcontext.data.tokens import Prompt
from fullcontext.records import Asked, Example
from fullcontext.store import read_table

KIND = "pair"
FILE = "pairs.arrow"
SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("source", pa.string()), ("before", pa.string()),
        ("after", pa.string()), ("chosen", pa.string()), ("rejected", pa.string()),
        ("chosen_score", pa.float64()), ("rejected_score", pa.float64()),
        ("golds", pa.list_(pa.string())),
    ]
)  # fmt: skip


class Pairs:
    """The pairs of a folder by their place; memory-mapped, tokenised when they are asked for."""

    def __init__(self, folder: Path, prompt: Prompt) -> None:
        """Raises ConfigError if the folder is not finished, damaged, or empty."""
        content = stage.read(folder)
        if content is None or FILE not in content["files"]:
            raise ConfigError(
                f"data.pairs={str(folder)!r} holds no finished pairs; make them with improve.py,"
                " or name the folder that ends in /pairs"
            )
        stage.refuse_damaged(folder, content)
        self.folder, self.prompt = folder, prompt
        self.table = read_table(folder / FILE)
        if not len(self):
            raise ConfigError(
                f"{folder} holds no pair: {content['dropped']}; sample more, hotter or of harder"
                " prompts"
            )
        self.whole: str = content["whole"]
        self.references: dict[str, tuple[float, float]] = {}
        """Id -> log-probability of chosen and rejected under the reference model, where an
        objective needs them."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def record(self, place: int) -> dict[str, Any]:
        """A pair as it is stored."""
        row: dict[str, Any] = self.table.slice(place, 1).to_pylist()[0]
        return row

    def example(self, index: int, place: int) -> Example:
        """Example `index`: a context and two answers, the second rejected for the first."""
        record = self.record(place)
        reference = self.references.get(record["id"], (None, None))
        asked = tuple(
            self._asked(record, answer, index, preferred, logp)
            for answer, preferred, logp in zip(
                ("chosen", "rejected"), (None, 0), reference, strict=True
            )
        )
        return Example(index, self.prompt.shared(record["before"]), asked)

    def _asked(
        self,
        record: dict[str, Any],
        answer: str,
        index: int,
        preferred: int | None,
        reference: float | None,
    ) -> Asked:
        asked = self.prompt.follow(record["after"], record[answer])
        return Asked(
            id=record["id"], kind=KIND, prompt=asked.prompt, answer=asked.answer, index=index,
            source=record["source"], preferred=preferred, reference=reference,
        )  # fmt: skip

    def answer_lengths(self, places: Sequence[int]) -> list[int]:
        """Tokens of the preferred answers of some pairs, end token left out."""
        return [len(self.example(0, place).asked[0].answer) - 1 for place in places]


def preferred(example: Example) -> Example:
    """Without the answers that another one is preferred to."""
    if example.questions == len(example.asked):
        return example
    return replace(example, asked=tuple(a for a in example.asked if a.preferred is None))


def told_whole(example: Example) -> Example:
    """With what stands before the preferred answers supervised, too."""
    asked = (replace(a, whole=a.preferred is None) for a in example.asked)
    return replace(example, asked=tuple(asked))
