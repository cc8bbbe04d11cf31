"""A run stops in time: before its budget is overspent, before its job ends."""

import json
from pathlib import Path

import pytest

from fullcontext import launch
from fullcontext.config import BudgetConfig
from fullcontext.train import limits
from fullcontext.train.limits import Limits
from fullcontext.train.run import run


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def after(made: Limits, clock: Clock, number: int, step_s: float, steps: int, save_s: float = 0.0):
    """Steps until one stops the run: its number and the reason."""
    for done in range(1, number + 1):
        clock.now += step_s
        why = made.reached(step_s, done, steps, save_s)
        if why:
            return done, why
    return None


def test_measured_speed_stops_a_run_that_is_going_to_overspend() -> None:
    """100 steps of 36 s on 10 devices are 10 hours; 20 steps are measured first."""
    clock = Clock()
    made = Limits(BudgetConfig(gpu_hours=8), 10, clock=clock)
    assert after(made, clock, 100, 36, steps=100) == (20, limits.BUDGET)
    clock = Clock()
    made = Limits(BudgetConfig(gpu_hours=10), 10, clock=clock)
    assert after(made, clock, 99, 36, steps=100) is None


def test_a_little_more_is_let_go_on_until_the_budget_is_spent() -> None:
    clock = Clock()
    made = Limits(BudgetConfig(gpu_hours=9.5), 10, clock=clock)
    assert after(made, clock, 99, 36, steps=100) == (95, limits.BUDGET)


def test_hours_of_earlier_processes_count() -> None:
    clock = Clock()
    made = Limits(BudgetConfig(gpu_hours=10), 10, spent_s=3600, clock=clock)
    assert after(made, clock, 5, 36, steps=100) == (1, limits.BUDGET)


@pytest.mark.parametrize(("save_s", "last"), [(0.0, 84), (30.0, 54)])
def test_the_margin_before_the_end_of_a_job_is_learned_from_saves(
    monkeypatch, save_s: float, last: int
) -> None:
    """The job ends after 100 s, a step takes 1 s; the guess is 10 s, the margin 1.5 (save + 1)."""
    clock = Clock()
    monkeypatch.setenv(limits.SLURM_END, "1100")
    made = Limits(BudgetConfig(), 1, guess_s=10, clock=clock)
    found = after(made, clock, 100, 1, steps=1000, save_s=save_s)
    assert found == (last, limits.TIME)


def test_the_last_step_is_never_stopped() -> None:
    clock = Clock()
    made = Limits(BudgetConfig(gpu_hours=0.001, minutes=0.01), 1, clock=clock)
    clock.now += 100
    assert made.reached(1, 5, 5, 0) is None


WORDS = ["experiments=debug", "max_steps=6", "profile.steps=[]"]


def test_a_run_over_budget_is_saved_says_so_and_goes_on(train_config, info, tmp_path: Path) -> None:
    budget = ["budget.gpu_hours=1e-9", "budget.after_steps=1"]
    with pytest.raises(SystemExit) as stopped:
        run(train_config(*WORDS, *budget), info(tmp_path))
    assert stopped.value.code == launch.OVER_BUDGET
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "over budget" and status["step"] == 1
    assert (tmp_path / "checkpoints" / "step_000001" / "manifest.json").exists()
    run(train_config(*WORDS), info(tmp_path))
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "finished"


def test_a_run_out_of_time_is_saved_and_asks_to_go_on(train_config, info, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(train_config(*WORDS, "budget.minutes=0.01"), info(tmp_path))
    assert stopped.value.code == launch.STOPPED
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "stopped"


def test_the_plan_beside_a_run_is_exact_in_tokens_and_flops(
    train_config, info, tmp_path: Path
) -> None:
    from fullcontext.report import planned, runs

    run(train_config(*WORDS), info(tmp_path))
    (found,) = runs.find([str(tmp_path)])
    tokens, flops, memory, *_ = planned.pairs(found)
    assert tokens[0] == tokens[1] and flops[0] == pytest.approx(flops[1], rel=1e-3)
    assert memory[0] and memory[1]
