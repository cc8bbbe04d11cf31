"""LongPPL against the `longppl` package, on a model and texts of a test's size."""

import math

import numpy as np
import pytest
import torch

from fullcontext.config import PerplexityConfig
from fullcontext.evaluate import longppl
from fullcontext.evaluate.longppl import Evaluator, Perplexity, Span
from fullcontext.model import load, tokenizer

CONFIG = PerplexityConfig(trunc_len=40, sliding_window=16, alpha=0.2, beta=-12.0)
TEXT = " ".join(
    f"The {n * n} men of village {n % 7} – naïve, brave — met {n} times." for n in range(25)
)


@pytest.fixture(scope="module")
def model(evaluating):
    config = evaluating()
    torch.manual_seed(0)
    return load.load(config.model, config.positions).eval()


@pytest.fixture(scope="module")
def words(evaluating):
    return tokenizer.load(evaluating().model)


@pytest.fixture(scope="module")
def other(evaluating):
    """An evaluator with weights of its own."""
    config = evaluating()
    return load.load(config.model, config.positions, seed=7).eval()


def test_key_tokens_and_value_are_those_of_the_package(model, other, words):
    from longppl import longppl as package

    ours = longppl.measure(TEXT, model, words, Evaluator(other, words), CONFIG)
    slices = package.find_key_token(TEXT, other, words, 40, 16, alpha=0.2, beta=-12.0)
    ids = words(TEXT, return_offsets_mapping=True)
    keys = longppl.key_tokens(other, ids["input_ids"], CONFIG)
    assert longppl.spans(ids["offset_mapping"], keys) == [tuple(map(int, s)) for s in slices]
    theirs = package.compute_longppl(
        TEXT, model, other, words, words, trunc_len=40, sliding_window=16, alpha=0.2, beta=-12.0
    )
    assert 5 < ours.key_tokens == theirs["n_key_token"]
    assert math.exp(ours.key_nll) == pytest.approx(theirs["longppl"], rel=1e-4)
    assert math.exp(ours.nll) == pytest.approx(theirs["ppl"], rel=1e-4)
    assert ours.tokens == theirs["n_token"] - 1


def test_the_defaults_are_the_papers(evaluating):
    asked = evaluating().suite.perplexity
    assert (asked.trunc_len, asked.sliding_window) == (4096, 1024)
    assert (asked.alpha, asked.beta) == (2, -2)


def test_the_loss_is_transformers_own_whatever_is_held_at_once(model, monkeypatch):
    ids = torch.arange(3, 203)
    with torch.no_grad():
        expected = float(model(input_ids=ids[None], labels=ids[None]).loss)
    assert longppl.nll(model, ids.tolist()).mean() == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(longppl, "CHUNK_TOKENS", 7)
    assert longppl.nll(model, ids.tolist()).mean() == pytest.approx(expected, rel=1e-5)


def test_no_token_is_key_before_its_context_is_cut(model):
    ids = list(range(3, 203))
    keys = longppl.key_tokens(
        model, ids, PerplexityConfig(trunc_len=40, sliding_window=16, alpha=-99, beta=-99)
    )
    assert keys == list(range(40, 200))
    cut = longppl.key_tokens(
        model, ids, PerplexityConfig(trunc_len=40, sliding_window=16, alpha=1e-3, beta=-99)
    )
    assert cut and min(cut) >= 56


def test_neighbours_join_and_tokens_are_found_by_their_characters():
    offsets = [(0, 2), (2, 5), (5, 7), (7, 8)]
    assert longppl.spans(offsets, [0, 1, 3]) == [Span(0, 5), Span(7, 8)]
    assert longppl.inside([(0, 1), (1, 4), (4, 6), (7, 8)], [Span(0, 5), Span(7, 8)]) == [1, 3]
    assert longppl.inside([(0, 0), (0, 1)], []) == []


def test_texts_count_by_their_tokens():
    both = [Perplexity(1.0, 30, 2.0, 3), Perplexity(2.0, 10, None, 0)]
    found = longppl.over_texts(both)
    assert found == {"ppl": math.exp(50 / 40), "longppl": math.exp(2.0)}
    assert "longppl" not in longppl.over_texts([Perplexity(1.0, 30, None, 0)])
    assert np.isfinite(found["ppl"])
