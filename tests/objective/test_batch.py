"""What an objective is given carries weights and pairs, on any layout."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from fullcontext.config import Normalise, SftConfig
from fullcontext.data.packing import pack
from fullcontext.objective import batch as objective
from fullcontext.objective.sft import Sft
from tests.objective.test_sft import EXAMPLES, example, gradient, model
from tests.ranks import together

CPU = torch.device("cpu")


def weighted(given, *weights):
    asked = [
        replace(one, weights=np.array(w, np.float32))
        for one, w in zip(given.asked, weights, strict=True)
    ]
    return replace(given, asked=tuple(asked))


def test_a_token_of_weight_zero_is_as_good_as_not_supervised() -> None:
    """The answer of three tokens is cut to its first by weights, or in fact."""
    long = weighted(example(1, 9, (3, 3)), [1, 0, 0])
    (asked,) = long.asked
    short = replace(long, asked=(replace(asked, answer=asked.answer[:1], weights=None),))
    for normalise in Normalise:
        (one, first), (other, second) = (gradient(model(), [[e]], normalise) for e in (long, short))
        assert one == pytest.approx(other, rel=1e-9)
        assert torch.allclose(first, second, atol=1e-12)


def test_weights_are_sums_over_what_they_are_divided_by() -> None:
    """Losses l1, l2 weigh 1 and 3: the mean over tokens is (l1 + 3 l2) / 4."""
    given = weighted(example(2, 5, (2, 2)), [1, 3])
    net, sft = model(), Sft(Normalise.token)
    loss = sft.loss(net, sft.batch(pack([given]), CPU, None))
    first, second = loss.token_nll.tolist()
    mean = float(loss.total.detach()) / sft.count([given])
    assert mean == pytest.approx((first + 3 * second) / 4, rel=1e-6)


def test_the_configured_objective_is_loaded() -> None:
    assert objective.load(SftConfig(normalise=Normalise.example)) == Sft(Normalise.example)


@dataclass(frozen=True)
class Preference:
    """-log sigmoid of a tenth of log p(preferred) - log p(rejected), a mean over pairs: made of
    sums that no token has on its own."""

    def count(self, examples: Any) -> float:
        return float(sum(a.preferred is not None for e in examples for a in e.asked))

    def batch(self, row: Any, device: Any, exchange: Any) -> objective.Batch:
        return objective.batch(row, Normalise.token, device, exchange)

    def loss(self, net: Any, given: objective.Batch) -> objective.LossSum:
        nll = objective.token_nll(net, given)
        sums = objective.question_sums(nll, given, int(given.pairs.max()) + 1)
        better, worse = sums[torch.from_numpy(given.pairs.T.astype(np.int64))]
        share = 1 / given.exchange.size if given.exchange else 1.0
        return objective.LossSum(
            -logsigmoid((worse - better) / 10).sum(), float(len(better)), nll.detach(), share
        )


def paired(given):
    """The second answer of an example is rejected for the first."""
    first, second = given.asked
    return replace(given, asked=(first, replace(second, preferred=0)))


PAIRS = [paired(example(i, 10 + 9 * i, (3, 2), (3, 4))) for i in range(4)]


def preferred(rows: list[list[Any]], exchange: Any = None) -> tuple[float, torch.Tensor]:
    net, preference = model(), Preference()
    total = torch.zeros((), dtype=torch.float64)
    for examples in rows:
        loss = preference.loss(net, preference.batch(pack(examples), CPU, exchange))
        loss.total.backward()
        total = total + loss.total.detach() * loss.share
    flat = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    count = preference.count([e for row in rows for e in row])
    return float(total / count), flat / count


def test_pairs_of_answers_agree_packed_and_one_by_one() -> None:
    loss, expected = preferred([[e] for e in PAIRS])
    assert loss > 0.1
    for rows in ([PAIRS], [PAIRS[:3], PAIRS[3:]]):
        other, found = preferred(rows)
        assert other == pytest.approx(loss, rel=1e-6)
        assert torch.allclose(found, expected, atol=1e-6)


def in_pieces(world: Any) -> tuple[float, np.ndarray]:
    import torch.distributed as dist

    from fullcontext.config import ContextParallelBy
    from fullcontext.model import attention
    from fullcontext.model.context_parallel import exchange

    attention.register()
    loss, flat = preferred([PAIRS], exchange(ContextParallelBy.heads, dist.group.WORLD))
    sums = torch.cat([flat, torch.tensor([loss], dtype=torch.float64)])
    dist.all_reduce(sums)
    return float(sums[-1]), sums[:-1].numpy()


def test_pairs_of_answers_agree_where_ranks_hold_pieces_of_them() -> None:
    loss, expected = preferred([[e] for e in PAIRS])
    for other, found in together(2, in_pieces):
        assert other == pytest.approx(loss, rel=1e-6)
        assert np.allclose(found, expected.numpy(), atol=1e-6)


def test_rows_without_pairs_and_weights_have_none() -> None:
    row = pack(EXAMPLES)
    assert row.pairs.shape == (0, 2)
    assert (row.label_weights == 1).all() and len(
        row.label_weights
    ) == row.label_questions.size == 18
