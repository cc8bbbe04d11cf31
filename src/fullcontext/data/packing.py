"""Examples to rows: no padding, no leak between examples, micro-batches of equal cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.data.balance import spread
from fullcontext.records import IGNORE, Block, Example, Row, Span

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
    ids, positions, labels, owners, weights = [], [], [], [], []
    blocks: list[Block] = []
    pairs: list[tuple[int, int]] = []
    start = question = 0
    for example in examples:
        context = Span(start, start + len(example.context))
        if len(example.context):
            ids.append(example.context)
            positions.append(np.arange(len(example.context)))
            labels.append(np.full(len(example.context), IGNORE))
            blocks.append(Block(context, None))
        start, first = context.stop, question
        for asked in example.asked:
            own = np.concatenate([asked.prompt, asked.answer])
            target = np.full(len(own), IGNORE)
            target[len(asked.prompt) - 1 : -1] = asked.answer
            ids.append(own)
            positions.append(np.arange(len(own)) + len(example.context))
            labels.append(target)
            owners.append(np.full(len(asked.answer), question))
            weights.append(np.ones(len(asked.answer)) if asked.weights is None else asked.weights)
            if asked.preferred is not None:
                pairs.append((first + asked.preferred, question))
            span = Span(start, start + len(own))
            blocks.append(Block(span, context if len(example.context) else None))
            start, question = span.stop, question + 1
    return Row(
        input_ids=np.concatenate(ids).astype(np.int32),
        position_ids=np.concatenate(positions).astype(np.int32),
        labels=np.concatenate(labels).astype(np.int32),
        blocks=tuple(blocks),
        label_questions=np.concatenate(owners).astype(np.int32),
        label_weights=np.concatenate(weights).astype(np.float32),
        pairs=np.array(pairs, np.int32).reshape(-1, 2),
        examples=tuple(examples),
    )


@dataclass(frozen=True, slots=True)
class Price:
    """Forward FLOPs of a model, by what causes them; `train.flops.price` reads a model's."""

    token: int = 2 * 6_980_000_000
    """Of the matrix products in the layers, for each token. The defaults are Mistral 7B's."""
    pair: int = 4 * 32 * 4096
    """Of attention in all layers, for each query and key that it sees."""
    label: int = 2 * 4096 * 32000
    """Of the output head, for each supervised token."""

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
