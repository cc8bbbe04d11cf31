"""plan.py as it is used: the paper's run, sweeps, JSON, what cannot fit, budgets."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fullcontext.compose import ROOT, ConfigError
from fullcontext.plan import budget, hardware, points, run
from fullcontext.plan.points import Profile

PAPER = ["data=in2_mix", "model=mistral7b", "slurm=a100x128"]


def said(capsys, *words: str) -> dict:
    run.run([*words, "plan.format=json"])
    return json.loads(capsys.readouterr().out)


def test_the_papers_run_comes_out_of_three_words(capsys) -> None:
    """1.4M contexts of 18K tokens are 25.2 G; uniform lengths have a mean of 18,432, and there are
    short examples, too."""
    found = said(capsys, *PAPER)
    assert found["parameters"] == 7_241_732_096 and found["gpus"] == 128
    assert found["tokens"] == pytest.approx(25.2e9, rel=0.05)
    assert found["flops"] == pytest.approx(1.5e21, rel=0.05)
    assert found["gpu_days"] == pytest.approx(300, rel=0.05)
    assert found["mfu"] == pytest.approx(0.19)
    by_hand = found["flops"] / (128 * 312e12 * 0.19) / 13_671
    assert found["step_seconds"] == pytest.approx(by_hand)


def test_what_does_not_fit_is_said_with_a_layout_that_does(capsys) -> None:
    found = said(capsys, *PAPER, "checkpointing=none")
    assert found["fits"] is False and found["memory_gib"] > 75
    assert any("does not fit: a rank needs" in warning for warning in found["warnings"])
    fitting = [row for row in found["layouts"] if row["fits"]]
    assert found["cheapest"]["gpu_days"] == min(row["gpu_days"] for row in fitting)
    alone = said(capsys, *PAPER)  # a model of this size computes its layers again
    assert alone["fits"] is True and alone["memory_gib"] < 75


def test_a_script_without_torch_prints_one_object_in_seconds(in_folder: Path) -> None:
    start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, str(ROOT / "plan.py"), *PAPER, "plan.format=json"],
        capture_output=True, text=True, check=True, cwd=in_folder,
    )  # fmt: skip
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start < 30
    wanted = {"parameters", "tokens", "flops", "memory_gib", "step_seconds", "gpu_days"}
    assert wanted <= set(json.loads(done.stdout)) and not list(in_folder.iterdir())
    code = "import sys, fullcontext.plan.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_sweep_is_planned_point_by_point_and_summed(capsys) -> None:
    words = ["experiments=debug", "data.questions_per_context=1,2", "seed=0,1"]
    found = said(capsys, *words)
    assert len(found["points"]) == 4
    assert found["tokens"] == sum(point["tokens"] for point in found["points"])
    assert found["gpu_hours"] == pytest.approx(sum(p["gpu_hours"] for p in found["points"]))
    one, two = (found["points"][at]["tokens"] for at in (0, 2))
    assert found["points"][2]["overrides"] == ["data.questions_per_context=2", "seed=0"]
    assert two < 0.7 * one
    run.run(words)
    assert "all 4 runs" in capsys.readouterr().out


def test_a_sweep_file_is_expanded_and_the_command_line_has_the_last_word() -> None:
    assert len(points.points(["experiments=debug", "sweeps=seeds"])) == 3
    (alone,) = points.points(["experiments=debug", "sweeps=seeds", "seed=7"])
    assert alone.config.seed == 7


def test_a_slurm_profile_gives_the_devices() -> None:
    (point,) = points.points(PAPER)
    assert point.profile.devices == 128 and point.profile.per_machine == 8
    assert points.place(point.config, point.profile, "cuda").ranks == 128
    (given,) = points.points([*PAPER, "plan.gpus=16"])
    assert points.place(given.config, given.profile, "cuda").ranks == 16
    assert points.place(given.config, Profile(), "cuda").per_machine == 8


def test_the_device_is_the_profiles_or_as_given(train_config) -> None:
    assert hardware.settled(train_config().hardware, "h100x16").name == "h100"
    given = train_config("hardware=a100", "hardware.mfu=0.4").hardware
    assert hardware.settled(given, "h100x16").mfu == 0.4
    changed = hardware.settled(train_config("hardware.mfu=0.4").hardware, "a100x8")
    assert (changed.name, changed.mfu, changed.peak_flops) == ("a100", 0.4, 312e12)


def test_words_that_do_not_compose_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        points.points(["batch_size=many"])
    with pytest.raises(ConfigError, match="--fast"):
        points.points(["--fast"])


def test_a_budget_is_refused_before_anything_is_launched() -> None:
    words = [*PAPER, "budget.gpu_hours=1000"]
    with pytest.raises(ConfigError, match=r"needs about 7,\d\d\d GPU-hours.*budget.gpu_hours=1000"):
        budget.refuse(words)
    budget.refuse([*PAPER, "budget.gpu_hours=10000"])
    sweep = [*PAPER, "seed=0,1", "budget.sweep_gpu_hours=10000"]
    with pytest.raises(ConfigError, match="the 2 runs need about 14,"):
        budget.refuse(sweep)


def test_train_refuses_before_hydra_launches(in_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *PAPER, "budget.gpu_hours=1"],
        capture_output=True, text=True, check=False, cwd=in_folder,
    )  # fmt: skip
    assert done.returncode == 2 and "budget: the run needs" in done.stderr
    assert not list(in_folder.iterdir())


def test_the_reference_of_dpo_is_a_third_of_an_epoch_more(capsys) -> None:
    words = ["experiments=sealong_llama8b", "hardware=a100", "plan.gpus=8"]
    found = said(capsys, *words, "objective=dpo")
    assert found["reference_gpu_hours"] == pytest.approx(found["gpu_hours"] / 3)
    assert said(capsys, *words, "objective=orpo")["reference_gpu_hours"] == 0


def test_the_trials_of_optuna_are_held_against_the_budget_of_a_sweep() -> None:
    words = [*PAPER, "sweeps=optuna_learning_rate", "epochs=0.01"]  # 8 trials of about 3 GPU-days
    with pytest.raises(ConfigError, match=r"n_trials=8"):
        points.points(words)
    assert len(points.points(words, takes_trials=True)) == 8
    budget.refuse([*words, "budget.sweep_gpu_hours=1000"])
    with pytest.raises(ConfigError, match=r"the 8 runs need about 5\d\d GPU-hours together"):
        budget.refuse([*words, "budget.sweep_gpu_hours=500"])
