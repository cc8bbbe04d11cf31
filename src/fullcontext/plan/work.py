"""FLOPs of a step by what causes them: what has to be computed, and what train.py computes."""

from collections.abc import Sequence
from dataclasses import dataclass

from fullcontext.config import Checkpointing, TrainConfig
from fullcontext.data.packing import Price, plan
from fullcontext.data.packing import pairs as seen
from fullcontext.plan.weights import beside_head, of_adapters, products
from fullcontext.records import Example


@dataclass(frozen=True, slots=True)
class Load:
    """What a micro-batch holds, counted in what costs time or memory."""

    tokens: int
    keys: int
    """Keys that attention takes, block by block: a context counts again for its questions."""
    masked: int
    """Queries times keys under a mask: those of questions over their context."""
    squares: int
    """Queries times keys of all blocks, as the kernels compute them."""
    pairs: int
    """Queries times the keys that each sees."""
    labels: int
    blocks: int
    """1 where attention runs over the row as it is."""


@dataclass(frozen=True, slots=True)
class Executed:
    """FLOPs that all ranks together run in a step, forward and backward, as torch's
    FlopCounterMode counts them with the MATH kernel of attention (which computes whole squares)."""

    products: int
    """Of the matrix products in the layers."""
    attention: int
    head: int
    recomputed: int
    """What checkpointed layers compute again: all but their last product, whose result nobody
    needs twice."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.products + self.attention + self.head + self.recomputed


def price(config: TrainConfig) -> Price:
    """What a token, a query and key, and a label cost in the forward pass: train.flops.price of the
    built model, from its sizes."""
    sizes = config.model.architecture
    own = sum(inputs * outputs for inputs, outputs in products(sizes).values())
    head = 2 * sizes.hidden_size * sizes.vocab_size
    return Price(
        token=2 * sizes.num_layers * (own + of_adapters(sizes, config.adapter)),
        pair=4 * sizes.num_layers * sizes.num_heads * sizes.head_dim,
        label=head + 2 * beside_head(sizes, config.adapter),
        frozen=2 * sizes.num_layers * own * config.adapter.is_on,
        frozen_label=head * config.adapter.is_on,
    )


def recomputed_layers(checkpointing: Checkpointing, layers: int) -> int:
    """How many layers run their forward pass twice: every one, or every other from the first on."""
    match checkpointing:
        case Checkpointing.full:
            return layers
        case Checkpointing.selective:
            return -(-layers // 2)
        case _:
            return 0


def load(examples: Sequence[Example]) -> Load:
    """What a row of some examples holds."""
    tokens = keys = masked = squares = pairs = labels = blocks = 0
    for example in examples:
        context, own = len(example.context), [len(a.prompt) + len(a.answer) for a in example.asked]
        tokens += context + sum(own)
        labels += example.supervised
        pairs += seen(example)
        # The questions of a context run as one block with a mask, those without one alone.
        asked = [sum(own)] if context else own
        over = sum(asked) * (context + sum(asked)) if context else 0
        keys += 2 * context + sum(own) if context else sum(own)
        masked += over
        squares += context**2 + (over or sum(n * n for n in own))
        blocks += len(asked) + bool(context)
    return Load(tokens, keys, masked, squares, pairs, labels, blocks)


def rounds(config: TrainConfig, examples: Sequence[Example], ranks: int) -> list[list[Load]]:
    """The micro-batches that run at the same time, dearest first: a Load for each share of a step.

    A share is a rank, or the ranks that hold pieces of the same rows.
    """
    shares = max(1, ranks // config.sharding.context_parallel)
    given = list(examples)
    plans = plan(given, config.row_tokens, shares, price(config))
    shortest = min(given, key=lambda example: example.tokens)
    loads = [[load([given[i] for i in m] or [shortest]) for m in own] for own in plans]
    return [list(each) for each in zip(*loads, strict=True)]


def executed(config: TrainConfig, loads: Sequence[Load]) -> Executed:
    """FLOPs of some micro-batches. With context parallelism by keys, attention is counted as it is
    by heads; its kernel runs in chunks and computes less."""
    sizes = config.model.architecture
    each = price(config)
    tokens = sum(load.tokens for load in loads)
    squares = sum(load.squares for load in loads)
    again = recomputed_layers(config.checkpointing, sizes.num_layers)
    last = 2 * sizes.hidden_size * sizes.intermediate_size
    layer = (each.token // sizes.num_layers - last) * tokens
    layer += each.pair // sizes.num_layers * squares
    return Executed(
        products=(3 * each.token - each.frozen) * tokens,
        attention=3 * each.pair * squares,
        head=(3 * each.label - each.frozen_label) * sum(load.labels for load in loads),
        recomputed=again * layer,
    )
