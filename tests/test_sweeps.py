"""Sweeps compare what they say: equal tokens, an experiment's own scale, published figures."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from fullcontext import compose, entry, sweeping
from fullcontext.compose import ROOT, ConfigError, compose_verb, plain
from fullcontext.config import TrainConfig, expected
from tests.test_configs import options, points, verb_of

EQUAL_TOKENS = ["context_range", "length_law", "mixture_drop_one", "mixture_short"]


def reckoned(config: TrainConfig) -> float:
    return config.steps * config.batch_size * config.data.mean_tokens


@pytest.mark.parametrize("name", EQUAL_TOKENS)
@pytest.mark.parametrize("experiment", [None, "demo"])
def test_points_of_other_lengths_read_as_many_tokens(name: str, experiment: str | None) -> None:
    chosen = [f"sweeps={name}", *([f"experiments={experiment}"] if experiment else [])]
    configs = [compose_verb("train", [*chosen, *point]) for point in points(*chosen)]
    tokens = [reckoned(config) for config in configs]
    one_step = max(config.batch_size * config.data.mean_tokens for config in configs)
    assert max(tokens) - min(tokens) <= one_step
    assert len({config.steps for config in configs}) > 1


def test_tokens_are_counted_by_the_mean_of_the_law() -> None:
    shape = ["data=key_value_symbols", "model=symbols", "sharding=none", "batch_size=10"]
    of = [*shape, "data.context_range=[20,40]", "tokens=30000"]
    assert compose_verb("train", of).steps == 100  # 30 tokens an example
    assert compose_verb("train", [*of, "data.length=fixed"]).steps == 75  # 40
    log = compose_verb("train", [*of, "data.length=log_uniform"]).data.mean_tokens
    assert log == pytest.approx(20 / math.log(2))
    assert compose_verb("train", [*of, "data.questions_per_context=2"]).steps == 200
    assert compose_verb("train", [*of, "max_steps=50"]).steps == 50


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tokens=0"], "tokens=0.0 is out of range"),
        (["tokens=1e9", "data.length=natural"], "tokens=1e.09 beside data.length=natural"),
        (["tokens=1e9", "data.curriculum=[{steps: 5}]"], "tokens=1e.09 beside data.curriculum"),
        (["positions.yarn_factor=1"], "yarn_factor=1.0 is out of range"),
        (["positions.sliding_window=0"], "sliding_window=0 is out of range"),
    ],
)
def test_what_cannot_be_compared_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_verb("train", overrides)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("probe/gossip/avg", 5, "'gossip' is unknown; choose from document"),
        ("probe/document/best", 5, "'best' is unknown; choose from avg"),
        ("probe/document/32K/avg", 5, "'32K' is no number of tokens"),
        ("loss", 5, "expected.loss is no metric; write probe/TASK/STATISTIC"),
        ("adapt/in_contxt/long/judge", 5, "'in_contxt' is unknown; choose from closed_book"),
        ("adapt/in_context/long/jugde", 5, "'jugde' is unknown; choose from exact"),
        ("probe/val/avg", 850, r"avg=850 is out of range.*\[-100, 100\]"),
    ],
)
def test_a_figure_that_no_report_measures_is_refused(name, value, message: str) -> None:
    expected.checked("expected", {"probe/document/32768/gap": 11.5, "eval/race/acc": 46.0})
    with pytest.raises(ValueError, match=message):
        expected.checked("expected", {name: value})


def test_a_sweep_at_the_scale_of_an_experiment_replaces_the_papers() -> None:
    sizes = {point[0] for point in points("sweeps=segment_size")}
    assert sizes == {f"data.segment_size={2**power}" for power in range(5, 11)}
    chosen = ["experiments=miniature", "sweeps=segment_size"]
    assert {point[0] for point in points(*chosen)} == {
        f"data.segment_size={3 * items}" for items in (1, 3, 6, 12)
    }
    config = compose_verb("train", [*chosen, "data.segment_size=36", "seed=2"])
    assert config.init == "outputs/train/miniature_base/seed2"
    assert config.steps * config.batch_size / config.data.questions_per_context == 43_200


def test_the_rows_of_the_papers_ablations_have_their_figures() -> None:
    published = {
        "film7b_backbone": (47.3, 56.2), "film7b_backbone_v01": (20.1, 52.5),
        "film7b_instructions": (50.9, 52.3), "film7b": (85.9, 13.9),
        "film7b_1pct": (70.1, 34.5), "film7b_10pct": (80.6, 25.3),
        "film7b_20pct": (80.3, 23.6), "film7b_50pct": (84.8, 16.7),
        "film7b_theta_2e6": (83.8, 16.5), "film7b_theta_1e7": (84.9, 14.3),
        "film7b_theta_1e8": (84.6, 14.0),
    }  # fmt: skip
    for name, figures in published.items():
        config = compose_verb(verb_of(name), [f"experiments={name}"])
        found = [config.expected[f"probe/val/32768/{key}"] for key in ("avg", "gap")]
        assert tuple(found) == figures and 32768 in config.probe.lengths and config.claim
        for key, value in zip(("avg", "gap"), figures, strict=True):
            tasks = [config.expected[f"probe/{t}/32768/{key}"] for t in config.probe.tasks]
            assert sum(tasks) / 3 == pytest.approx(value, abs=0.07), (name, key)


def test_an_ablation_differs_from_its_baseline_in_what_it_names() -> None:
    base = plain(compose_verb("train", ["experiments=film7b_20pct"]))
    for name, changed in {
        "film7b": {"epochs"},
        "film7b_theta_1e7": {"positions"},
        "film7b_instructions": {"data", "epochs"},
        "film7b_window": {"positions"},
        "film7b_window_both": {"model"},
    }.items():
        other = plain(compose_verb("train", [f"experiments={name}"]))
        differing = {key for key in base if base[key] != other[key]}
        assert differing - {"claim", "expected"} == changed, name
    same = compose_verb("train", ["experiments=film7b_20pct"]).steps
    instructions = compose_verb("train", ["experiments=film7b_instructions"])
    assert instructions.steps == same == 2734


def test_curves_without_published_figures_expect_none() -> None:
    for name in ("film7b_window", "film7b_window_both", "film7b_yarn_64k"):
        config = compose_verb(verb_of(name), [f"experiments={name}"])
        assert config.claim and not config.expected


def test_a_sweep_by_optuna_says_what_is_missing(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "sweeps=optuna_learning_rate"])
    monkeypatch.setattr(sweeping, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        entry.launch(lambda: None)
    said = capsys.readouterr().err
    assert "hydra-optuna-sweeper, which is not installed; pip install 'fullcontext[optuna]'" in said
    assert "learning_rate_batch_size" in said


def test_optuna_draws_two_runs_of_its_own(tmp_path: Path) -> None:
    words = [
        "model=symbols", "data=key_value_symbols", "sharding=none", "tracking=none", "threads=1",
        "precision=fp32", "max_tokens=1024", "max_steps=1", "sweeps=optuna_learning_rate",
        "hydra.sweeper.n_trials=2", f"hydra.sweep.dir={tmp_path}",
    ]  # fmt: skip
    command = [sys.executable, str(ROOT / "train.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "Best value" in done.stdout, done.stdout + done.stderr
    rates = {
        compose.read_yaml(tmp_path / run / "config.yaml", TrainConfig).schedule.peak
        for run in ("0", "1")
    }
    assert len(rates) == 2 and all(1e-7 <= rate <= 1e-5 for rate in rates)


def test_every_sweep_of_the_list_is_there() -> None:
    wanted = {
        "segment_size", "segment_size_evidence", "segment_size_filler", "mixture_drop_one",
        "mixture_short", "context_range", "placement", "filler", "rope_theta", "data_fraction",
        "questions_per_context", "normalise", "learning_rate_batch_size", "sharding", "seeds",
    }  # fmt: skip
    assert wanted <= set(options("sweeps"))
