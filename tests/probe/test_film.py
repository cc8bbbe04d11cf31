import pytest

from fullcontext.compose import ConfigError
from fullcontext.probe import film

from .test_asking import an_answer


def rows(scores, items=None):
    """(set, position) -> score; as many items as there are positions, unless said."""
    items = items or max(position for _, position in scores) + 1
    return [
        an_answer(set=set_id, position=position, score=value, items=items)
        for (set_id, position), value in scores.items()
    ]


def test_a_bin_is_the_mean_over_sets_and_leaves_out_its_last_position():
    # Two sets of two bins of 3 positions; positions 2 and 5 are not looked at.
    given = {(0, p): v for p, v in enumerate([1, 1, 0, 0, 0, 1])}
    given |= {(1, p): v for p, v in enumerate([1, 0, 0, 0, 1, 1])}
    found = film.figures(rows(given), 3)
    assert found.bins == [0.75, 0.25]  # (1 + 0.5) / 2 and (0 + 0.5) / 2
    assert found.avg == 0.5
    assert found.gap == 0.5
    assert found.std == [0.25, 0.25]  # population: of 1 and 0.5, of 0 and 0.5


def test_every_set_counts_the_same_however_many_of_it_are_skipped():
    given = {(0, 0): 1, (0, 1): 1, (0, 2): 0, (1, 0): 0, (1, 2): 0}
    assert film.figures(rows(given), 3).avg == 0.5


def test_what_follows_the_last_whole_bin_is_left_out():
    given = {(0, p): float(p < 3) for p in range(5)}
    assert film.figures(rows(given), 3).bins == [1.0]


def test_a_skipped_last_position_costs_no_bin():
    # Six items, the last one skipped: the release still draws two bins.
    assert film.figures(rows({(0, p): float(p < 3) for p in range(5)}, items=6), 3).bins == [1, 0]


def test_a_set_without_an_answer_in_a_bin_is_refused():
    with pytest.raises(ConfigError, match="set 1 has no answer in bin 0 of 3"):
        film.figures(rows({(0, 0): 1, (0, 2): 1, (1, 2): 1}), 3)
    with pytest.raises(ConfigError, match=r"fill no bin of 50; lower probe\.bin_items"):
        film.figures(rows({(0, 0): 1}), 50)
