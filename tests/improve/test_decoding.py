"""Outputs that share a prompt's pass are those of passes of their own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import Sampling
from fullcontext.improve.decoding import Draws, Sampler, pick
from fullcontext.model import attention
from tests.objective.test_sft import model

attention.register()
PROMPT = np.random.default_rng(0).integers(3, 97, 60).astype(np.int32)
DRAWS = [Draws(0, "q", i) for i in range(6)]


def alone(net, draw: Draws, most: int, temperature: float) -> list[int]:
    """Without any cache: the whole sequence again for each token."""
    said: list[int] = []
    for share in draw.shares(most):
        ids = torch.tensor([[*PROMPT.tolist(), *said]])
        logits = net(input_ids=ids, use_cache=False).logits[:, -1].float()
        said += pick(logits, torch.tensor([share]), temperature)
        if said[-1] == 2:
            break
    return said


@pytest.mark.parametrize("at_once", [1, 4, 6])
@torch.no_grad()
def test_outputs_are_those_of_separate_passes(at_once: int) -> None:
    net = model().eval()
    sampler = Sampler(net, frozenset({2}), Sampling(temperature=2.0, max_new_tokens=8), at_once)
    found, greedy = sampler.outputs(PROMPT, DRAWS, greedy=True)
    plain = model(implementation="sdpa").eval()
    for drawn, draw in zip(found, DRAWS, strict=True):
        said = alone(plain, draw, 8, 2.0)
        assert drawn.tokens == [token for token in said if token != 2]
        assert drawn.is_whole == (said[-1] == 2)
    assert greedy.tokens == [t for t in alone(plain, DRAWS[0], 8, 0.0) if t != 2]
    assert len({tuple(drawn.tokens) for drawn in found}) > 1


@given(st.floats(0, 0.999999), st.floats(0.1, 1))
def test_a_token_is_drawn_by_its_probability_within_top_p(share: float, top_p: float) -> None:
    """Probabilities .5, .3, .2; of top_p .6 the first two stay, as .625 and .375."""
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64))
    (token,) = pick(logits, torch.tensor([share], dtype=torch.float64), 1.0, top_p)
    kept = [p for p, before in ((0.5, 0.0), (0.3, 0.5), (0.2, 0.8)) if before < top_p - 1e-9]
    edges = np.cumsum(kept) / sum(kept)
    if (
        top_p < 0.99
        and np.abs(edges - share).min() > 1e-6
        and min(abs(top_p - 0.5), abs(top_p - 0.8)) > 1e-6
    ):
        assert token == [1, 2, 0][int(np.searchsorted(edges, share, side="right"))]


def test_a_share_of_almost_one_draws_a_token_that_can_be_drawn() -> None:
    logits = torch.tensor([[0.0, 0.0, -float("inf")]])
    assert pick(logits, torch.tensor([1.0 - 1e-17]), 1.0) == [1]
