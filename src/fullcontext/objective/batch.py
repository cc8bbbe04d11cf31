"""A row as tensors, what an objective makes of it, and the passes that objectives share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fullcontext.config import DpoConfig, Normalise, ObjectiveConfig, OrpoConfig
from fullcontext.model.context_parallel import Exchange, summed
from fullcontext.model.table import BlockTable, table
from fullcontext.records import IGNORE, Example, Ids, Row, Span


@dataclass(frozen=True, slots=True)
class LossSum:
    """A loss not yet divided: sum over micro-batches and ranks, then divide once."""

    total: Tensor
    """Weighted sum of the losses, a scalar that carries the gradient."""
    count: float
    """Sum of the weights: supervised tokens, examples or pairs."""
    token_nll: Tensor
    """Shape (supervised tokens,): the unweighted losses, without gradient, in row order."""
    share: float = 1.0
    """What of `total` and `count` this rank adds to the sums: 1 / n where n ranks that hold pieces
    of the row all have the whole total."""
    margins: Tensor | None = None
    """Shape (pairs,), without gradient: by how much each preferred answer is ahead of its rejected
    one, in the objective's own terms; None of objectives without pairs."""


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
    pairs: Ids
    """Shape (pairs, 2): questions of the row whose answers are preferred and rejected."""
    answers: Tensor
    """Shape (supervised tokens,), bool: whether each is of an answer."""
    references: Tensor
    """Shape (questions,): log-probability of each answer under the reference, nan without one."""
    blocks: BlockTable
    exchange: Exchange | None = None
    """Among the ranks that hold the other pieces."""


class Objective(Protocol):
    """What a step minimises: the sum of `loss` over micro-batches and ranks, divided by `count`."""

    def supervise(self, examples: Sequence[Example]) -> list[Example]:
        """The examples of a whole step with what of them this objective reads, and its weights."""

    def count(self, examples: Sequence[Example]) -> float:
        """What the loss of a step over `examples` is divided by."""

    def batch(self, row: Row, device: torch.device, exchange: Exchange | None) -> Batch:
        """The row, or this rank's piece of it."""

    def loss(self, model: Any, given: Batch) -> LossSum:
        """Raises nothing: what cannot be trained on is refused before."""


def load(config: ObjectiveConfig) -> Objective:
    """The objective of a run."""
    from fullcontext.objective.dpo import Dpo
    from fullcontext.objective.orpo import Orpo
    from fullcontext.objective.sft import Sft

    match config:
        case OrpoConfig():
            return Orpo(config.lambda_, config.nll_scope, config.normalise)
        case DpoConfig():
            return Dpo(config.beta)
        case _:
            return Sft(config.normalise)


def batch(
    row: Row,
    normalise: Normalise,
    device: torch.device | str = "cpu",
    exchange: Exchange | None = None,
) -> Batch:
    """The row on `device`; its tokens count as the row says, or together 1 per question.

    With an `exchange`, the piece of the row that this rank holds: labels are shifted already, so
    that no piece needs a token of the next.
    """
    at = np.flatnonzero(row.labels != IGNORE)
    weights = row.label_weights.astype(np.float64)
    if normalise is Normalise.example:
        weights = weights / np.bincount(row.label_questions, weights)[row.label_questions]
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
        pairs=row.pairs,
        answers=torch.from_numpy(row.label_answers[inside]).to(device),
        references=torch.from_numpy(row.references).to(device),
        blocks=exchange.table(row.blocks, device) if exchange else table(row.blocks, device),
        exchange=exchange,
    )


def answer_logits(model: Any, given: Batch) -> Tensor:
    """Logits (supervised tokens, vocabulary) in fp32; the head never sees another position.

    The model's own forward is called, as sharded models need it.
    """
    logits: Tensor = model(
        input_ids=given.input_ids,
        position_ids=given.position_ids,
        logits_to_keep=given.at,
        use_cache=False,
        block_table=given.blocks,
    ).logits[0]
    return logits.float()


def token_nll(model: Any, given: Batch) -> Tensor:
    """Negative log-likelihood of the supervised tokens, shape (supervised tokens,)."""
    return cross_entropy(answer_logits(model, given), given.targets, reduction="none")


def question_sums(values: Tensor, given: Batch, questions: int) -> Tensor:
    """Sums over the tokens of each question of the row, shape (questions,).

    Where ranks hold pieces of the row, over all of them; a loss made from these sums is then whole
    on each rank, and its `share` is 1 / ranks.
    """
    owner = torch.from_numpy(given.questions).long().to(values.device)
    sums = values.new_zeros(questions).index_add(0, owner, values)
    return sums if given.exchange is None else summed(sums, given.exchange.group)
