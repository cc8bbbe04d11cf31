"""DPO (arXiv 2305.18290): the preferred answer gains on the rejected one, against a reference.

    loss = -log sigmoid(beta * (log p/p_ref (preferred) - log p/p_ref (rejected)))

p is the probability of a whole answer; those of the reference are stored (train/reference.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from fullcontext.config import Normalise
from fullcontext.model.context_parallel import Exchange
from fullcontext.objective import pairs
from fullcontext.objective.batch import Batch, LossSum, batch, token_nll
from fullcontext.records import Example, Row


@dataclass(frozen=True, slots=True)
class Dpo:
    """Mean over pairs."""

    beta: float

    def supervise(self, examples: Sequence[Example]) -> list[Example]:
        """As they are: both answers, every token once."""
        return list(examples)

    def count(self, examples: Sequence[Example]) -> float:
        """Pairs."""
        return pairs.number(examples)

    def batch(self, row: Row, device: torch.device, exchange: Exchange | None) -> Batch:
        """The row, or this rank's piece of it."""
        return batch(row, Normalise.token, device, exchange)

    def loss(self, model: Any, given: Batch) -> LossSum:
        """Sum over the pairs of a row."""
        nll = token_nll(model, given)
        gained = pairs.answer_logp(nll, given) - given.references
        preferred, rejected = pairs.sides(gained, given)
        ahead = self.beta * (preferred - rejected)
        total = -logsigmoid(ahead).sum()
        return LossSum(total, float(len(ahead)), nll.detach(), pairs.share(given), ahead.detach())
