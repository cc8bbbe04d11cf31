"""Negative log-likelihood of the answers (IN2, section 2.2: "loss on the answer only")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fullcontext.config import Normalise
from fullcontext.data.pairs import preferred
from fullcontext.model.context_parallel import Exchange
from fullcontext.objective.batch import Batch, LossSum, batch, token_nll
from fullcontext.records import Example, Row


@dataclass(frozen=True, slots=True)
class Sft:
    """Mean over tokens, which may have weights, or over examples."""

    normalise: Normalise

    def supervise(self, examples: Sequence[Example]) -> list[Example]:
        """Of pairs of answers the preferred ones alone; everything else as it is."""
        return [preferred(example) for example in examples]

    def count(self, examples: Sequence[Example]) -> float:
        """Supervised tokens by their weights, or questions."""
        asked = [asked for example in examples for asked in example.asked]
        if self.normalise is Normalise.example:
            return float(len(asked))
        weighed = [len(a.answer) if a.weights is None else float(a.weights.sum()) for a in asked]
        return float(sum(weighed))

    def batch(self, row: Row, device: torch.device, exchange: Exchange | None) -> Batch:
        """The row, or this rank's piece of it."""
        return batch(row, self.normalise, device, exchange)

    def loss(self, model: Any, given: Batch) -> LossSum:
        """Answer-only negative log-likelihood, as a sum and what to divide it by."""
        return loss(model, given)


def loss(model: Any, given: Batch) -> LossSum:
    """See `Sft.loss`; the normalisation is in the weights of the batch."""
    nll = token_nll(model, given)
    return LossSum((nll * given.weights).sum(), float(given.weights.sum()), nll.detach())
