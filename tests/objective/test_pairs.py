"""ORPO and DPO are the published formulas, in rows that hold a context once, on any layout."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, logsigmoid

from fullcontext.config import DpoConfig, NllScope, Normalise, OrpoConfig, SftConfig
from fullcontext.data.packing import pack
from fullcontext.objective import batch as objective
from fullcontext.objective.orpo import log1mexp, log_odds_ratio
from fullcontext.records import IGNORE, Example
from tests.objective.test_sft import example, model

CPU = torch.device("cpu")


def paired(seed: int, context: int, prompt: int, chosen: int, rejected: int) -> Example:
    """One question with an answer and a worse one."""
    made = example(seed, context, (prompt, chosen), (prompt, rejected))
    first, second = made.asked
    second = replace(second, prompt=first.prompt, preferred=0)
    return replace(made, asked=(replace(first, reference=-9.0), replace(second, reference=-7.5)))


PAIRS = [paired(1, 20, 3, 2, 5), paired(2, 33, 2, 4, 1), paired(3, 9, 5, 3, 3)]


def totals(config, rows: list[list[Example]], net=None):
    """Loss and gradient of a step, cut into rows."""
    net, chosen = net or model(), objective.load(config)
    net.zero_grad()
    step = chosen.supervise([each for row in rows for each in row])
    count, total, at = chosen.count(step), 0.0, 0
    for row in rows:
        examples, at = step[at : at + len(row)], at + len(row)
        loss = chosen.loss(net, chosen.batch(pack(examples), CPU, None))
        (loss.total / count).backward()
        total += float(loss.total.detach()) / count
    return total, torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def nll(net, made: Example, place: int) -> torch.Tensor:
    """Of every token but the first of one whole sequence, by plain transformers."""
    asked = made.asked[place]
    ids = np.concatenate([made.context, asked.prompt, asked.answer]).astype(np.int64)
    logits = net(input_ids=torch.from_numpy(ids)[None]).logits[0]
    return cross_entropy(logits[:-1], torch.from_numpy(ids[1:]), reduction="none")


def orpo_by_the_book(net, lambda_: float, scope: NllScope, normalise: Normalise) -> torch.Tensor:
    """As TRL and xtuner write it: mean log-probabilities, log1p(-exp), one sequence at a time."""
    told, ratios = [], []
    for made in PAIRS:
        chosen, rejected = nll(net, made, 0), nll(net, made, 1)
        answers = [len(asked.answer) for asked in made.asked]
        c, r = -chosen[-answers[0] :].mean(), -rejected[-answers[1] :].mean()
        odds = (c - r) - (torch.log1p(-torch.exp(c)) - torch.log1p(-torch.exp(r)))
        ratios.append(lambda_ * logsigmoid(odds))
        told.append(chosen if scope is NllScope.full else chosen[-answers[0] :])
    each = (
        torch.cat(told) if normalise is Normalise.token else torch.stack([t.mean() for t in told])
    )
    return each.mean() - torch.stack(ratios).mean()


@pytest.mark.parametrize("normalise", list(Normalise))
@pytest.mark.parametrize("scope", list(NllScope))
def test_orpo_is_the_public_formula_on_separate_sequences(
    scope: NllScope, normalise: Normalise
) -> None:
    plain = model(implementation="sdpa")
    expected = orpo_by_the_book(plain, 0.3, scope, normalise)
    expected.backward()
    gradient = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    config = OrpoConfig(lambda_=0.3, nll_scope=scope, normalise=normalise)
    for rows in ([PAIRS], [[each] for each in PAIRS], [PAIRS[:2], PAIRS[2:]]):
        loss, found = totals(config, rows)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-6)
        assert float((found - gradient).norm() / gradient.norm()) < 1e-5


def test_dpo_is_the_public_formula_on_separate_sequences() -> None:
    """References are -9 for every preferred answer and -7.5 for every rejected one."""
    plain = model(implementation="sdpa")
    losses = []
    for made in PAIRS:
        c, r = (
            -nll(plain, made, place)[-len(made.asked[place].answer) :].sum() for place in (0, 1)
        )
        losses.append(-logsigmoid(0.2 * ((c + 9.0) - (r + 7.5))))
    expected = torch.stack(losses).mean()
    expected.backward()
    gradient = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    for rows in ([PAIRS], [[each] for each in PAIRS]):
        loss, found = totals(DpoConfig(beta=0.2), rows)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-6)
        assert float((found - gradient).norm() / gradient.norm()) < 1e-5


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        (-0.5, -1.2, 0.024655310437083244),
        (-1.2, -0.5, 0.15209229290485382),
        (-0.01, -0.02, 0.040379706770181656),
        (-3.0, -3.0, 0.06931471824645996),
    ],
)
def test_the_odds_term_is_that_of_the_published_code(
    chosen: float, rejected: float, expected: float
) -> None:
    """Values of SEALONG's own code in float32 at lambda 0.1."""
    ratio = log_odds_ratio(torch.tensor(chosen), torch.tensor(rejected))
    assert float(-0.1 * logsigmoid(ratio)) == pytest.approx(expected, rel=1e-5)


@given(st.floats(1e-11, 50))
def test_log_one_minus_exp_is_right_to_float_precision(x: float) -> None:
    """log1p(-exp(-1e-9)) in float32 is minus infinity; the right value is log(1e-9)."""
    found = float(log1mexp(torch.tensor(-x, dtype=torch.float32)))
    rounded = float(np.float32(x))
    assert found == pytest.approx(math.log(-math.expm1(-rounded)), rel=1e-4)


def test_a_certain_answer_has_finite_odds_and_gradients() -> None:
    for c, r in ((0.0, -1.0), (0.0, 0.0), (-1e-9, -40.0), (-60.0, -1e-8)):
        both = torch.tensor([c, r], requires_grad=True)
        loss = -logsigmoid(log_odds_ratio(both[0], both[1]))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(both.grad).all(), (c, r)


def test_sft_reads_the_preferred_answers_alone() -> None:
    only = [replace(each, asked=each.asked[:1]) for each in PAIRS]
    assert [e.tokens for e in objective.load(SftConfig()).supervise(PAIRS)] == [25, 39, 17]
    loss, gradient = totals(SftConfig(), [PAIRS])
    other, expected = totals(SftConfig(), [only])
    assert loss == other and torch.equal(gradient, expected)


def test_a_pair_runs_its_context_once_and_counts_as_one_question() -> None:
    made = PAIRS[0]  # a context of 20, a prompt of 3, answers of 2 and 5
    assert made.tokens == 20 + (3 + 2) + (3 + 5) and made.questions == 1
    row = pack([made, PAIRS[1]])
    assert row.pairs.tolist() == [[0, 1], [2, 3]]
    assert row.references.tolist() == [-9.0, -7.5, -9.0, -7.5]


def test_a_prompt_that_is_told_is_supervised_but_for_its_first_token() -> None:
    """Of 20 + 3 + 2 tokens 24 are predicted, in order; the rejected answer adds 5."""
    (told,) = objective.load(OrpoConfig(nll_scope=NllScope.full)).supervise(PAIRS[:1])
    row = pack([told])
    whole = np.concatenate([told.context, told.asked[0].prompt, told.asked[0].answer])
    at = np.flatnonzero(row.labels != IGNORE)
    assert row.labels[at].tolist() == [*whole[1:], *told.asked[1].answer]
    assert row.label_questions.tolist() == [0] * 24 + [1] * 5
    assert row.label_answers.tolist() == [False] * 22 + [True] * 7
    assert told.supervised == 29 and row.label_weights[:24] == pytest.approx(1 / 24)
    assert not row.label_weights[24:].any()


def test_margins_say_how_far_preferred_answers_are_ahead() -> None:
    net, chosen = model(), objective.load(DpoConfig(beta=1.0))
    loss = chosen.loss(net, chosen.batch(pack(PAIRS), CPU, None))
    assert float(-logsigmoid(loss.margins).sum()) == pytest.approx(float(loss.total.detach()))


def test_the_settings_say_which_objective_it_is() -> None:
    assert objective.load(OrpoConfig()).weight == 0.1
    assert objective.load(OrpoConfig()).scope is NllScope.answer
    assert objective.load(DpoConfig(beta=0.5)).beta == 0.5
    with pytest.raises(ValueError, match=r"objective.normalise=token has no meaning for dpo"):
        DpoConfig(normalise=Normalise.token)
