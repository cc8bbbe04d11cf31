"""FLOPs of a step from the real lengths of its blocks, and what share of a machine that is.

A multiplication and an addition are two FLOPs. Counted are the matrix products and attention, as
torch's FlopCounterMode counts them; the backward pass takes twice the forward's, once for weights
that stay. What is computed
once more under activation checkpointing is never counted as work done, but named on its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fullcontext.data.packing import Price, pairs
from fullcontext.records import Example


@dataclass(frozen=True, slots=True)
class Work:
    """FLOPs of a step, forward and backward."""

    causal: int
    """Attention counted for the keys that each query sees."""
    full: int
    """Attention counted for all keys of a query's block, later ones too: the convention of
    6 N + 12 L d s a token (PaLM, appendix B), with s the length of the block, not of the row."""
    recomputed: int
    """What checkpointing of all layers computes once more: their forward pass."""


def price(model: Any) -> Price:
    """What a token, a query and key, and a label cost in the forward pass of `model`.

    For a dense decoder of transformers, whose matrix products are all linear modules or gated
    memory; sharded or not.
    """
    head = model.get_output_embeddings()
    outer = set(head.modules())  # of a head with an adapter, also what stands beside it
    inner, frozen = _weights(module for module in model.modules() if module not in outer)
    labelled, frozen_head = _weights(outer)
    sizes = model.config
    width = getattr(sizes, "head_dim", None) or sizes.hidden_size // sizes.num_attention_heads
    return Price(
        token=2 * inner,
        pair=4 * sizes.num_hidden_layers * sizes.num_attention_heads * width,
        label=2 * labelled,
        frozen=2 * frozen,
        frozen_label=2 * frozen_head,
    )


def _weights(modules: Iterable[Any]) -> tuple[int, int]:
    """Those that the modules' matrix products take, and how many of them stay as they are."""
    from torch import nn

    from fullcontext.model.gated_attention import Memory

    found = frozen = 0
    for module in modules:
        if isinstance(module, nn.Linear):
            number = module.in_features * module.out_features  # four bits stand two in a byte
            found += number
            frozen += number * (not module.weight.requires_grad)
        elif isinstance(module, Memory):  # a matrix a head, without a linear module
            found += sum(weight.numel() for weight in module.parameters())
    return found, frozen


def work(examples: Iterable[Example], price: Price) -> Work:
    """FLOPs of a step over `examples`, however they are packed."""
    given = list(examples)
    tokens = price.token * sum(example.tokens for example in given)
    head = price.label * sum(example.supervised for example in given)
    seen = price.pair * sum(pairs(example) for example in given)
    whole = price.pair * sum(squares(example) for example in given)
    spared = price.frozen * sum(example.tokens for example in given)
    spared += price.frozen_label * sum(example.supervised for example in given)
    return Work(
        3 * (tokens + head + seen) - spared, 3 * (tokens + head + whole) - spared, tokens + seen
    )


def squares(example: Example) -> int:
    """Queries times all keys of their blocks."""
    context = len(example.context)
    own = (len(asked.prompt) + len(asked.answer) for asked in example.asked)
    return context**2 + sum(n * (context + n) for n in own)
