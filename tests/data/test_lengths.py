"""Lengths follow their law, and the law's own probabilities."""

from dataclasses import replace

import numpy as np
import pytest

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import LengthLaw
from fullcontext.data.lengths import Law
from fullcontext.randomness import rng

DATA = compose_verb("train", ["data=in2_laptop", "model=tiny"]).data
DOCUMENTS = np.array([50, 150, 150, 180, 250, 999])


def law(name: str, low: int = 100, high: int = 400, documents=DOCUMENTS) -> Law:
    return Law(replace(DATA, length=LengthLaw(name), context_range=[low, high]), documents)


@pytest.mark.parametrize("name", list(LengthLaw))
def test_draws_have_the_probabilities_the_law_gives(name) -> None:
    edges = np.linspace(100, 401, 8)
    draw = rng(0, "test")
    drawn = np.array([law(name).draw(draw) for _ in range(4000)])
    assert drawn.min() >= 100 and drawn.max() <= 400
    share = [(drawn < edge).mean() for edge in edges]
    assert np.abs(share - law(name).below(edges)).max() < 0.03


def test_log_uniform_spends_as_much_on_each_doubling() -> None:
    assert law("log_uniform").below(np.array([200.5])) == pytest.approx(0.5, abs=0.01)


def test_natural_draws_documents_within_the_range() -> None:
    draw = rng(0, "test")
    assert {law("natural").draw(draw) for _ in range(100)} == {150, 180, 250}


def test_natural_without_a_document_in_the_range_is_refused_with_counts() -> None:
    with pytest.raises(ConfigError, match=r"none of the 6 documents.*\(5 are shorter, 1 longer\)"):
        law("natural", 300, 400)
