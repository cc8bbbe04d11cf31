"""ORPO (arXiv 2403.07691) as SEALONG runs it: likelihood of the preferred answer, and its odds.

    loss = NLL(preferred) - lambda * log sigmoid(log odds(preferred) - log odds(rejected))

odds(p) = p / (1 - p), where p is the geometric mean of an answer's token probabilities.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fullcontext.config import NllScope, Normalise
from fullcontext.data.pairs import told_whole
from fullcontext.model.context_parallel import Exchange
from fullcontext.objective import pairs
from fullcontext.objective.batch import Batch, LossSum, batch, question_sums, token_nll
from fullcontext.records import Asked, Example, Row

_CERTAIN = -1e-12
"""Mean log-probability beyond which an answer counts as no likelier: at 0 its odds are infinite."""


@dataclass(frozen=True, slots=True)
class Orpo:
    """Mean over pairs."""

    weight: float
    """lambda."""
    scope: NllScope
    normalise: Normalise
    """Of the likelihood: each pair counts the same, or each supervised token of the step."""

    def supervise(self, examples: Sequence[Example]) -> list[Example]:
        """Weights that make the likelihood a mean over the step's pairs or over its tokens; with
        `nll_scope: full` the prompt of the preferred answer, too."""
        is_full = self.scope is NllScope.full
        told = [told_whole(example) if is_full else example for example in examples]
        tokens = sum(e.supervised_of(a) for e in told for a in e.asked if a.preferred is None)
        each = pairs.number(told) / tokens  # the loop divides by the number of pairs
        return [self._weighed(example, each) for example in told]

    def _weighed(self, example: Example, each: float) -> Example:
        def weights(asked: Asked) -> Any:
            number = example.supervised_of(asked)
            if asked.preferred is not None:
                return np.zeros(number, np.float32)
            weight = each if self.normalise is Normalise.token else 1 / number
            return np.full(number, weight, np.float32)

        asked = (replace(a, weights=weights(a)) for a in example.asked)
        return replace(example, asked=tuple(asked))

    def count(self, examples: Sequence[Example]) -> float:
        """Pairs."""
        return pairs.number(examples)

    def batch(self, row: Row, device: torch.device, exchange: Exchange | None) -> Batch:
        """The row, or this rank's piece of it; the weights are those of `supervise`."""
        return batch(row, Normalise.token, device, exchange)

    def loss(self, model: Any, given: Batch) -> LossSum:
        """Sum over the pairs of a row."""
        nll = token_nll(model, given)
        told = question_sums(nll * given.weights, given, len(given.references)).sum()
        means = pairs.answer_logp(nll, given) / pairs.answer_tokens(given)
        ahead = log_odds_ratio(*pairs.sides(means, given))
        total = told - self.weight * logsigmoid(ahead).sum()
        return LossSum(total, float(len(ahead)), nll.detach(), pairs.share(given), ahead.detach())


def log_odds_ratio(preferred: Tensor, rejected: Tensor) -> Tensor:
    """log odds(preferred) - log odds(rejected), from mean log-probabilities of a token."""
    return preferred - rejected - (log1mexp(preferred) - log1mexp(rejected))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x <= 0, to full precision on either side of -log 2 (Maechler, 2012)."""
    x = x.clamp(max=_CERTAIN)
    # Both branches get values at which they and their gradients are finite.
    near = torch.log(-torch.expm1(x.clamp(min=-math.log(2))))
    far = torch.log1p(-torch.exp(x.clamp(max=-math.log(2))))
    return torch.where(x > -math.log(2), near, far)
