"""Negative log-likelihood of the answers (IN2, section 2.2: "loss on the answer only")."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fullcontext.config import Normalise
from fullcontext.model.context_parallel import Exchange
from fullcontext.model.table import BlockTable, table
from fullcontext.records import IGNORE, Ids, Row, Span


@dataclass(frozen=True, slots=True)
class LossSum:
    """A loss not yet divided: sum over micro-batches and ranks, then divide once."""

    total: Tensor
    """Weighted sum of the token losses, a scalar that carries the gradient."""
    count: float
    """Sum of the weights: supervised tokens, or examples."""
    token_nll: Tensor
    """Shape (supervised tokens,): the unweighted losses, without gradient, in row order."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A row, or the piece of it that this rank holds, as tensors on a device."""

    input_ids: Tensor
    """Shape (1, tokens)."""
    position_ids: Tensor
    """Shape (1, tokens)."""
    targets: Tensor
    """Shape (supervised tokens,): what is to be predicted."""
    at: Tensor
    """Shape (supervised tokens,): where it is to be predicted."""
    weights: Tensor
    """Shape (supervised tokens,)."""
    questions: Ids
    """Shape (supervised tokens,): which question of the row each belongs to; not on the device."""
    blocks: BlockTable


def batch(
    row: Row,
    normalise: Normalise,
    device: torch.device | str = "cpu",
    exchange: Exchange | None = None,
) -> Batch:
    """The row on `device`, with a weight of 1 per token, or of 1 per question.

    With an `exchange`, the piece of the row that this rank holds: labels are shifted already, so
    that no piece needs a token of the next.
    """
    at = np.flatnonzero(row.labels != IGNORE)
    if normalise is Normalise.example:
        lengths = np.bincount(row.label_questions)
        weights = 1 / lengths[row.label_questions]
    else:
        weights = np.ones(len(at))
    piece = Span(0, len(row.input_ids)) if exchange is None else exchange.piece(len(row.input_ids))
    inside = (at >= piece.start) & (at < piece.stop)
    own = slice(*piece)
    return Batch(
        input_ids=torch.from_numpy(row.input_ids[own]).long().to(device).unsqueeze(0),
        position_ids=torch.from_numpy(row.position_ids[own]).long().to(device).unsqueeze(0),
        targets=torch.from_numpy(row.labels[at[inside]]).long().to(device),
        at=torch.from_numpy(at[inside] - piece.start).to(device),
        weights=torch.from_numpy(weights[inside]).float().to(device),
        questions=row.label_questions[inside],
        blocks=exchange.table(row.blocks, device) if exchange else table(row.blocks, device),
    )


def answer_logits(model: Any, given: Batch) -> Tensor:
    """Logits (supervised tokens, vocabulary) in fp32; the head never sees another position."""
    logits: Tensor = model(
        input_ids=given.input_ids,
        position_ids=given.position_ids,
        logits_to_keep=given.at,
        use_cache=False,
        block_table=given.blocks,
    ).logits[0]
    return logits.float()


def loss(model: Any, given: Batch) -> LossSum:
    """Answer-only negative log-likelihood, as a sum and what to divide it by.

    The model's own forward is called, as sharded models need it.
    """
    nll = cross_entropy(answer_logits(model, given), given.targets, reduction="none")
    return LossSum((nll * given.weights).sum(), float(given.weights.sum()), nll.detach())
