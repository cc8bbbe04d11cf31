"""What an adaptation came to."""

import pytest

from fullcontext.adapt import accounts, outcome


def answer(mode: str, adapted: bool, exact: float | None, kind: str = "") -> dict:
    scores = {"exact": exact}
    return {"mode": mode, "adapted": adapted, "kind": kind, "scores": scores, "cut": False}


def test_means_are_by_mode_adapter_and_kind_and_over_all_kinds() -> None:
    found = [
        answer("closed_book", True, 1.0, "a"),
        answer("closed_book", True, 0.0, "b"),
        answer("closed_book", True, None, "b"),
        answer("closed_book", False, 0.0, "a"),
    ]
    rows = {(r["adapted"], r["kind"]): r for r in accounts.means(found)}
    assert rows[True, "all"]["scores"]["exact"] == {"mean": 0.5, "questions": 2, "without": 1}
    assert rows[True, "all"]["questions"] == 3
    assert rows[True, "b"]["scores"]["exact"] == {"mean": 0.0, "questions": 1, "without": 1}
    assert rows[False, "all"]["scores"]["exact"]["mean"] == 0.0


def test_adapting_pays_when_the_readings_that_it_saves_cost_as_much() -> None:
    context, closed = {"read_s": 2.0, "each_s": 1.0}, {"read_s": 0.0, "each_s": 0.5}
    found = accounts.crossover(100.0, context, closed)
    assert found["alone"] == pytest.approx(100 / 2.5)
    assert found["cached"] == pytest.approx(98 / 0.5)


def test_it_never_pays_where_closed_book_answers_cost_no_less() -> None:
    same = {"read_s": 0.0, "each_s": 1.0}
    assert accounts.crossover(1.0, same, same) == {"alone": None, "cached": None}


def test_the_drop_on_others_is_what_the_adapter_takes_away() -> None:
    rows = accounts.means([answer("others", False, 1.0), answer("others", False, 1.0),
                           answer("others", True, 1.0), answer("others", True, 0.0)])  # fmt: skip
    assert accounts.drop(rows, "exact") == 0.5
    assert accounts.drop(rows[:1], "exact") is None


def test_tokens_left_out_with_and_without_the_adapter_are_counted_once() -> None:
    training = {"cpu_s": 1.0, "wall_s": 1.0, "weights": 2}
    modes = {"in_context": {"left_out": 7}, "in_context, unadapted": {"left_out": 7}}
    cost = {"training": training, "questions_cpu_s": 0.0, "modes": modes, "crossover": None}
    assert accounts.merged([cost, cost])["left_out"] == 14


def test_what_pays_between_two_numbers_of_questions_pays_from_the_larger_one_on() -> None:
    training = {"cpu_s": 1.0, "wall_s": 1.0, "weights": 2}
    pays = {"alone": 3.2, "cached": None}
    cost = {"training": training, "questions_cpu_s": 0.0, "modes": {}, "crossover": pays}
    total = accounts.merged([cost])
    said = outcome.costs({"costs": total, "drop_on_others": None, "expected": {}})
    assert said[1].endswith("pays from 4 questions on") and said[2].endswith("never pays")
    assert len(said) == 3, "an earlier version did not count the tokens of answers"


def test_how_long_the_answers_were_is_said_beside_what_they_cost() -> None:
    def spent(tokens: float) -> dict[str, float]:
        return {"questions": 2, "read_s": 1.0, "each_s": 1.0, "tokens": tokens, "left_out": 0}

    cost = {
        "training": {"cpu_s": 1.0, "wall_s": 1.0, "weights": 2}, "questions_cpu_s": 0.0,
        "modes": {"closed_book": spent(12), "in_context, unadapted": spent(100)},
        "crossover": {"alone": 3.0, "cached": 3.0},
    }  # fmt: skip
    total = accounts.merged([cost, cost])
    said = outcome.costs({"costs": total, "drop_on_others": None, "expected": {}})
    assert "12.0 tokens closed-book and 100.0 in context" in said[-1]


def test_what_writing_the_questions_took_is_said() -> None:
    training = {"cpu_s": 3.0, "wall_s": 1.0, "weights": 2}
    cost = {"training": training, "questions_cpu_s": 1.5, "modes": {}, "crossover": None}
    total = accounts.merged([cost, {**cost, "questions_cpu_s": 0.5}])
    said = outcome.costs({"costs": total, "drop_on_others": None, "expected": {}})
    assert said == [
        "adapting: 3.0 CPU-seconds a document, 1.0 to write its questions, 2 weights trained"
    ]


def test_costs_of_several_other_documents_are_averaged_over_documents_and_questions() -> None:
    one = {"questions": 1, "read_s": 1.0, "each_s": 1.0, "tokens": 2.0, "left_out": 2}
    three = {"questions": 3, "read_s": 2.0, "each_s": 5.0, "tokens": 10.0, "left_out": 1}
    assert accounts.averaged([one]) == one
    assert accounts.averaged([one, three]) == {
        "questions": 4, "read_s": 1.5, "each_s": 4.0, "tokens": 8.0, "left_out": 3,
    }  # fmt: skip
