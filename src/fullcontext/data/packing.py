"""Examples to rows: no padding, no leak between examples, micro-batches of equal cost."""

from collections.abc import Sequence

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.records import IGNORE, Block, Example, Row, Span


def pack(examples: Sequence[Example]) -> Row:
    """Lays examples one after another.

    Two examples, a context C with questions q, r (answers upper case) and an instruction s:

        input      C C C C q q Q r R | s s S
        position   0 1 2 3 4 5 6 4 5 | 0 1 2
        label      . . . . . Q . R . | . S .
        sees       C C C C C+q.. C+r | s

    (the end token, which every answer has, is left out of the picture).
    """
    ids, positions, labels, owners = [], [], [], []
    blocks: list[Block] = []
    start = question = 0
    for example in examples:
        context = Span(start, start + len(example.context))
        if len(example.context):
            ids.append(example.context)
            positions.append(np.arange(len(example.context)))
            labels.append(np.full(len(example.context), IGNORE))
            blocks.append(Block(context, None))
        start = context.stop
        for asked in example.asked:
            own = np.concatenate([asked.prompt, asked.answer])
            target = np.full(len(own), IGNORE)
            target[len(asked.prompt) - 1 : -1] = asked.answer
            ids.append(own)
            positions.append(np.arange(len(own)) + len(example.context))
            labels.append(target)
            owners.append(np.full(len(asked.answer), question))
            span = Span(start, start + len(own))
            blocks.append(Block(span, context if len(example.context) else None))
            start, question = span.stop, question + 1
    return Row(
        input_ids=np.concatenate(ids).astype(np.int32),
        position_ids=np.concatenate(positions).astype(np.int32),
        labels=np.concatenate(labels).astype(np.int32),
        blocks=tuple(blocks),
        label_questions=np.concatenate(owners).astype(np.int32),
        examples=tuple(examples),
    )


def cost(example: Example, linear: float = 1.0, quadratic: float = 1 / 24576) -> float:
    """Relative cost of a forward and backward pass: tokens, and tokens by tokens in attention.

    The default ratio is a 7B model's: attention overtakes the matrix products at about 24K.
    """
    return linear * example.tokens + quadratic * example.tokens**2


def plan(examples: Sequence[Example], max_tokens: int, ranks: int = 1) -> list[list[list[int]]]:
    """For each rank its micro-batches, as indices into `examples`, of at most `max_tokens` tokens.

    All ranks have the same number of them. Longest processing time first over the fewest bins that
    hold the tokens; a function of the examples alone. Raises ConfigError if one example is longer
    than `max_tokens`.
    """
    longest = max(example.tokens for example in examples)
    if longest > max_tokens:
        raise ConfigError(
            f"an example has {longest} tokens, more than max_tokens={max_tokens}; raise max_tokens"
        )
    bins = -(-sum(example.tokens for example in examples) // max_tokens)
    order = sorted(range(len(examples)), key=lambda i: (-cost(examples[i]), i))
    bins = -(-bins // ranks) * ranks
    while True:
        placed = _place(examples, order, bins, max_tokens)
        if placed is not None:
            filled = [sorted(indices) for indices in placed]
            return [filled[rank::ranks] for rank in range(ranks)]
        bins += ranks


def _place(
    examples: Sequence[Example], order: list[int], bins: int, max_tokens: int
) -> list[list[int]] | None:
    placed: list[list[int]] = [[] for _ in range(bins)]
    load, tokens = [0.0] * bins, [0] * bins
    for i in order:
        room = [b for b in range(bins) if tokens[b] + examples[i].tokens <= max_tokens]
        if not room:
            return None
        chosen = min(room, key=lambda b: (load[b], b))
        placed[chosen].append(i)
        load[chosen] += cost(examples[i])
        tokens[chosen] += examples[i].tokens
    return placed
