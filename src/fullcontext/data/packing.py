"""Examples to rows: no padding, no leak between examples, micro-batches of equal cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.data.balance import spread
from fullcontext.records import IGNORE, Asked, Block, Bools, Example, Ids, Row, Span

UNIT = 1000
"""FLOPs in one unit of cost, so that sums over a step of the largest models stay in 64 bits."""


def pack(examples: Sequence[Example]) -> Row:
    """Lays examples one after another.

    Two examples, a context C with questions q, r (answers upper case) and an instruction s:

        input      C C C C q q Q r R | s s S
        position   0 1 2 3 4 5 6 4 5 | 0 1 2
        label      . . . . . Q . R . | . S .
        sees       C C C C C+q.. C+r | s

    (the end token, which every answer has, is left out of the picture).
    """
    parts = _Parts()
    for example in examples:
        parts.add(example)
    return Row(
        input_ids=np.concatenate(parts.ids).astype(np.int32),
        position_ids=np.concatenate(parts.positions).astype(np.int32),
        labels=np.concatenate(parts.labels).astype(np.int32),
        blocks=tuple(parts.blocks),
        label_questions=np.concatenate(parts.owners).astype(np.int32),
        label_weights=np.concatenate(parts.weights).astype(np.float32),
        label_answers=np.concatenate(parts.answers),
        pairs=np.array(parts.pairs, np.int32).reshape(-1, 2),
        references=np.array(parts.references, np.float32),
        examples=tuple(examples),
    )


class _Parts:
    """What a row is joined from."""

    def __init__(self) -> None:
        self.ids: list[Ids] = []
        self.positions: list[Any] = []
        self.labels: list[Any] = []
        self.owners: list[Any] = []
        self.weights: list[Any] = []
        self.answers: list[Bools] = []
        self.blocks: list[Block] = []
        self.pairs: list[tuple[int, int]] = []
        self.references: list[float] = []
        self._start = self._question = 0

    def add(self, example: Example) -> None:
        """Lays an example after those before."""
        context = Span(self._start, self._start + len(example.context))
        if len(example.context):
            self._lay(example.context, 0, self._context_labels(example), Block(context, None))
        first = self._question
        for asked in example.asked:
            own = np.concatenate([asked.prompt, asked.answer])
            target = np.full(len(own), IGNORE)
            told = 0 if asked.whole else len(asked.prompt) - 1
            target[told:-1] = own[told + 1 :]
            span = Span(self._start, self._start + len(own))
            seen = context if len(example.context) else None
            self._lay(own, len(example.context), target, Block(span, seen))
            self._count(example, asked)
            if asked.preferred is not None:
                self.pairs.append((first + asked.preferred, self._question))
            self.references.append(np.nan if asked.reference is None else asked.reference)
            self._question += 1

    def _lay(self, ids: Ids, position: int, labels: Any, block: Block) -> None:
        self.ids.append(ids)
        self.positions.append(np.arange(len(ids)) + position)
        self.labels.append(labels)
        self.blocks.append(block)
        self._start += len(ids)

    def _context_labels(self, example: Example) -> Any:
        """The next token of each, where the question that the context is of is told whole."""
        labels = np.full(len(example.context), IGNORE)
        whole = [asked for asked in example.asked if asked.whole]
        if whole:
            # Labels are sorted by place, and owners by question: it has to be the first.
            assert len(whole) == 1 and whole[0] is example.asked[0], "a context is told once"
            labels[:] = [*example.context[1:], whole[0].prompt[0]]
        return labels

    def _count(self, example: Example, asked: Asked) -> None:
        number = example.supervised_of(asked)
        self.owners.append(np.full(number, self._question))
        self.weights.append(np.ones(number) if asked.weights is None else asked.weights)
        self.answers.append(np.arange(number) >= number - len(asked.answer))


@dataclass(frozen=True, slots=True)
class Price:
    """Forward FLOPs of a model, by what causes them; `train.flops.price` reads a model's."""

    token: int = 2 * 6_980_000_000
    """Of the matrix products in the layers, for each token. The defaults are Mistral 7B's."""
    pair: int = 4 * 32 * 4096
    """Of attention in all layers, for each query and key that it sees."""
    label: int = 2 * 4096 * 32000
    """Of the output head, for each supervised token."""
    frozen: int = 0
    """Of `token`, products with weights that stay: they get no gradient of their own."""
    frozen_label: int = 0
    """The same of `label`."""

    def of(self, example: Example) -> int:
        """Forward FLOPs of an example: its context once, and each question over the context."""
        return (
            self.token * example.tokens
            + self.pair * pairs(example)
            + self.label * example.supervised
        )


def pairs(example: Example) -> int:
    """Queries times the keys that each sees, causally: what attention costs, block by block."""
    context = len(example.context)
    own = (len(asked.prompt) + len(asked.answer) for asked in example.asked)
    return _triangle(context) + sum(n * context + _triangle(n) for n in own)


def _triangle(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def plan(
    examples: Sequence[Example], max_tokens: int, ranks: int = 1, price: Price = Price()
) -> list[list[list[int]]]:  # fmt: skip
    """For each rank the same number of micro-batches, as indices into `examples`.

    Micro-batches hold at most `max_tokens` tokens; those that run at the same time cost about the
    same (data/balance.py), the dearest come first. One is empty only if there are fewer examples
    than micro-batches. A function of the arguments alone. Raises ConfigError if one example is
    longer than `max_tokens`.
    """
    longest = max(example.tokens for example in examples)
    if longest > max_tokens:
        raise ConfigError(
            f"an example has {longest} tokens, more than max_tokens={max_tokens}; raise max_tokens"
        )
    costs = [price.of(example) // UNIT for example in examples]
    sizes = [example.tokens for example in examples]
    rounds = spread(costs, sizes, max_tokens, ranks)
    return [[together[rank] for together in rounds] for rank in range(ranks)]
