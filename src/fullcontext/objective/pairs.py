"""What objectives over pairs share: log-probabilities of whole answers, preferred and rejected."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fullcontext.objective.batch import Batch, question_sums
from fullcontext.records import Example


class Sides(NamedTuple):
    """One value for each pair of a row; shape (pairs,) each."""

    preferred: Tensor
    rejected: Tensor


def sides(values: Tensor, given: Batch) -> Sides:
    """The values of a row's questions, shape (questions,), by pair."""
    preferred, rejected = values[torch.from_numpy(given.pairs.T.astype(np.int64)).to(values.device)]
    return Sides(preferred, rejected)


def answer_logp(nll: Tensor, given: Batch) -> Tensor:
    """Log-probability of each question's answer, end token counted in, shape (questions,).

    `nll`, shape (supervised tokens,), may have tokens of prompts, which do not count. Whole on each
    of the ranks that hold pieces of the row.
    """
    return -question_sums(nll * given.answers, given, len(given.references))


def answer_tokens(given: Batch) -> Tensor:
    """How many tokens each of those is of."""
    ones = given.answers.to(torch.float32)
    return question_sums(ones, given, len(given.references))


def share(given: Batch) -> float:
    """What of a loss that is whole on each rank one of them adds to the sum (LossSum.share)."""
    return 1 / given.exchange.size if given.exchange else 1.0


def number(examples: Sequence[Example]) -> float:
    """How many pairs there are."""
    return float(sum(a.preferred is not None for example in examples for a in example.asked))
