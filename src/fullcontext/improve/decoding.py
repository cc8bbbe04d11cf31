"""Many outputs of one prompt, which runs through the model once.

Its keys and values are in memory once, too: the outputs stand behind it in one cache, and a mask
keeps them from seeing each other (probe/answer.py reads questions in the same way). Copies of the
cache for 32 outputs would take 32 times the memory of the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullcontext.config import Precision, Sampling
from fullcontext.probe.answer import Cached
from fullcontext.randomness import rng
from fullcontext.records import Ids


@dataclass(frozen=True, slots=True)
class Drawn:
    """An output."""

    tokens: list[int]
    """The end token left out."""
    is_whole: bool
    """Whether it ended by itself, rather than at the most tokens."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What an output is drawn with: a function of the seed, the prompt and its number."""

    seed: int
    id: str
    number: int

    def shares(self, tokens: int) -> np.ndarray[Any, Any]:
        """A uniform number for each token."""
        return rng(self.seed, f"sample {self.id}", self.number).random(tokens)


class Sampler:
    """Draws outputs of one model."""

    def __init__(
        self,
        model: Any,
        ends: frozenset[int],
        sampling: Sampling,
        at_once: int,
        precision: Precision = Precision.fp32,
    ) -> None:
        self.model, self.ends, self.sampling = model, ends, sampling
        self.at_once, self.precision = at_once, precision

    @torch.no_grad()
    def outputs(
        self, prompt: Ids, draws: Sequence[Draws], *, greedy: bool = False
    ) -> tuple[list[Drawn], Drawn | None]:
        """An output for each of `draws`, and the greedy one if it is wanted.

        An output does not depend on which others are drawn, but for rounding: those that are
        `at_once` together are always the same. The most tokens are those that the positions of the
        model leave, at most.
        """
        cached = Cached(self.model)
        length = len(prompt)
        most = self.sampling.max_new_tokens
        most = min(most, self.model.config.max_position_embeddings - length)
        found: list[Drawn] = []
        kind = cached.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision is Precision.bf16):
            hidden = cached.read(prompt, np.arange(length), None)
            first = cached.logits(hidden[-1:])
            for start in range(0, len(draws), self.at_once):
                each = draws[start : start + self.at_once]
                shares = np.stack([draw.shares(most) for draw in each])
                found += self._decode(cached, first, shares, self.sampling.temperature)
                cached.forget(length)
            best = self._decode(cached, first, np.zeros((1, most)), 0.0)[0] if greedy else None
        return found, best

    def _decode(
        self, cached: Cached, first: Tensor, shares: np.ndarray[Any, Any], temperature: float
    ) -> list[Drawn]:
        """One output for each row of `shares`, whose columns are its tokens."""
        number, most = shares.shape
        length = len(cached.places)
        said: list[list[int]] = [[] for _ in range(number)]
        going = list(range(number))
        sees = torch.ones(number, length, dtype=torch.bool)
        logits = first.expand(number, -1)
        for step in range(most):
            share = torch.from_numpy(shares[going, step]).to(logits.device)
            for i, token in zip(
                going, pick(logits, share, temperature, self.sampling.top_p), strict=True
            ):
                said[i].append(token)
            keep = [k for k, i in enumerate(going) if said[i][-1] not in self.ends]
            going = [going[k] for k in keep]
            if not going or step == most - 1:
                break
            sees = torch.cat([sees[keep], torch.eye(len(going), dtype=torch.bool)], 1)
            hidden = cached.read(
                np.array([said[i][-1] for i in going]), np.full(len(going), length + step), sees
            )
            logits = cached.logits(hidden)
        return [self._drawn(tokens) for tokens in said]

    def _drawn(self, tokens: list[int]) -> Drawn:
        whole = tokens[-1] in self.ends
        return Drawn(tokens[:-1] if whole else tokens, whole)


def pick(logits: Tensor, shares: Tensor, temperature: float, top_p: float = 1.0) -> list[int]:
    """A token for each row of `logits`, shape (rows, vocabulary).

    At temperature 0 the likeliest; else the one at which the cumulative probability passes the
    row's share, shape (rows,), 0-1. `top_p` keeps the likeliest tokens of so much probability, the
    one that crosses it included.
    """
    if temperature == 0:
        best: list[int] = logits.argmax(-1).tolist()
        return best
    scaled = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ordered, places = scaled.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill(before >= top_p, 0.0)
        at = _at(ordered.cumsum(-1), shares)
        chosen: list[int] = places.gather(1, at[:, None])[:, 0].tolist()
        return chosen
    drawn: list[int] = _at(scaled.cumsum(-1), shares).tolist()
    return drawn


def _at(mass: Tensor, shares: Tensor) -> Tensor:
    """Where the cumulative mass of each row exceeds its share of the row's total."""
    wanted = (shares * mass[:, -1])[:, None]
    at = torch.searchsorted(mass, wanted, right=True)[:, 0]
    # A share of almost 1 may round up to the total: the first token that reaches it is drawn.
    last = torch.searchsorted(mass, mass[:, -1:].contiguous())[:, 0]
    return torch.minimum(at, last)
