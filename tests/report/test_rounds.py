"""Rounds of improve.py on the page: right answers, gaps with intervals, lengths."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fullcontext.improve.accounts import scalars
from fullcontext.report import rounds
from fullcontext.report.runs import Run, Status

MANIFEST = {
    "pairs": 12,
    "dropped": {"all outputs agree": 3, "only one output": 1},
    "cut": 0,
    "right": {"greedy": 0.5, "random": 0.4, "chosen": 0.45, "rejected": 0.1},
    "gaps": {"chosen_minus_random": [0.05, 0.01, 0.09], "chosen_minus_rejected": None},
    "tokens": {"outputs": 20.0, "greedy": 18.0, "chosen": 25.0, "rejected": 15.0},
}


def findings(verb: str) -> Any:
    line = {"step": 1.0, **scalars(MANIFEST)}
    run = Run(Path("x"), "x", Status(verb), {}, (line, {"step": 2.0, "loss": 1.0}), (), {}, ())
    return cast(Any, SimpleNamespace(runs=[run], names=["mine"]))


def test_a_round_has_a_row_in_points() -> None:
    (row,) = rounds.table(findings("improve"))
    assert (row["name"], row["round"], row["pairs"], row["dropped"]) == ("mine", 1, "12", "4")
    assert row["right"] == ["50.0", "40.0", "45.0", "10.0"]
    assert row["gaps"][0] == {"value": "+5.0", "interval": "+1.0, +9.0"}
    assert row["gaps"][1]["interval"] == "", "no pair could be compared"
    assert (row["tokens"], row["longer"]) == ("18.0", "+25.0%")


def test_other_runs_have_none() -> None:
    assert rounds.table(findings("train")) == []
