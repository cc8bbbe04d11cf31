"""LongPPL (arXiv 2410.23771): the perplexity of the tokens that need a long context.

An evaluator reads a text whole and through short views. A token is key where its log-probability
falls by more than `alpha` when its context is cut (long-short difference), and is above `beta` with
the whole context (long-context likelihood). LongPPL is the perplexity of the evaluated model on the
key tokens, found again in its own tokens by their characters. Nothing here is random.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fullcontext.config import PerplexityConfig, Precision

Floats = npt.NDArray[np.float64]
CHUNK_TOKENS = 1024
"""Tokens whose logits are held at once: 32K tokens of a large vocabulary are gigabytes."""


class Span(NamedTuple):
    """Characters [start, stop) of a text."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What a model makes of a text."""

    nll: float
    """Mean negative log-likelihood of its tokens, the first left out; nats."""
    tokens: int
    key_nll: float | None
    """The same over the key tokens; None if there is none."""
    key_tokens: int


@torch.no_grad()
def nll(model: Any, ids: Sequence[int], precision: Precision = Precision.fp32) -> Floats:
    """Negative log-likelihood of each token after those before it, shape (tokens - 1,); nats."""
    device = next(model.parameters()).device
    inputs = torch.tensor(ids, device=device)
    cap = getattr(model.config, "final_logit_softcapping", None)
    found = []
    with torch.autocast(device.type, torch.bfloat16, enabled=precision is Precision.bf16):
        hidden = model.get_decoder()(input_ids=inputs[None], use_cache=False).last_hidden_state[0]
        for start in range(0, len(ids) - 1, CHUNK_TOKENS):
            stop = min(start + CHUNK_TOKENS, len(ids) - 1)
            logits = model.get_output_embeddings()(hidden[start:stop]).float()
            if cap is not None:
                logits = cap * torch.tanh(logits / cap)
            wanted = inputs[start + 1 : stop + 1]
            found.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="none"))
    return torch.cat(found).double().cpu().numpy()


def key_tokens(
    model: Any, ids: Sequence[int], config: PerplexityConfig, precision: Precision = Precision.fp32
) -> list[int]:
    """Places of the key tokens, rising.

    Short views start every `sliding_window` tokens; each says its last `sliding_window` tokens,
    which therefore see at least `trunc_len` before them. The first view is the whole text up to
    there, so that no token before trunc_len + sliding_window can be key.
    """
    size, step = config.trunc_len, config.sliding_window
    whole = nll(model, ids, precision)
    keys: list[int] = []
    for start in range(0, len(ids) - size, step):
        stop = min(start + size + step, len(ids))
        short = nll(model, ids[start:stop], precision)[size - 1 :]
        long = whole[start + size - 1 : stop - 1]
        is_key = (short - long > config.alpha) & (long < -config.beta)
        keys += (start + size + np.flatnonzero(is_key)).tolist()
    return keys


def spans(offsets: Sequence[tuple[int, int]], keys: Sequence[int]) -> list[Span]:
    """Characters of the key tokens, neighbours joined: (0, 2) (2, 5) (7, 8) give (0, 5) (7, 8)."""
    found: list[Span] = []
    for start, stop in (offsets[key] for key in keys):
        if found and found[-1].stop == start:
            found[-1] = Span(found[-1].start, stop)
        else:
            found.append(Span(start, stop))
    return found


def inside(offsets: Sequence[tuple[int, int]], wanted: Sequence[Span]) -> list[int]:
    """Places of the tokens whose characters lie in one of the spans, which rise; never the first,
    which nothing predicts."""
    starts = [span.start for span in wanted]
    found = []
    for place, (start, stop) in enumerate(offsets):
        last = bisect_right(starts, start) - 1
        if place > 0 and stop > start and last >= 0 and stop <= wanted[last].stop:
            found.append(place)
    return found


class Evaluator(NamedTuple):
    """The model that says which tokens are key."""

    model: Any
    tokenizer: Any


def measure(
    text: str, model: Any, tokenizer: Any, evaluator: Evaluator, config: PerplexityConfig,
    precision: Precision = Precision.fp32,
) -> Perplexity:  # fmt: skip
    """Perplexity and LongPPL of a text.

    The evaluator reads it with the special tokens of its tokenizer, the evaluated model without,
    as the paper's code does; with a tokenizer that gives no offsets neither can be found again.
    """
    read = evaluator.tokenizer(text, return_offsets_mapping=True)
    keys = key_tokens(evaluator.model, read["input_ids"], config, precision)
    own = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    losses = nll(model, own["input_ids"], precision)
    places = inside(own["offset_mapping"], spans(read["offset_mapping"], keys))
    key = losses[np.array(places) - 1] if places else None
    return Perplexity(
        float(losses.mean()), len(losses), None if key is None else float(key.mean()), len(places)
    )


def over_texts(measured: Sequence[Perplexity]) -> dict[str, float]:
    """Perplexity over all tokens, and over all key tokens if there are any."""
    total = sum(each.tokens for each in measured)
    found = {"ppl": math.exp(sum(each.nll * each.tokens for each in measured) / total)}
    keys = sum(each.key_tokens for each in measured)
    if keys:
        nats = sum((each.key_nll or 0.0) * each.key_tokens for each in measured)
        found["longppl"] = math.exp(nats / keys)
    return found
