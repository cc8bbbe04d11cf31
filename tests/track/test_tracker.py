"""The run folder is the record; W&B can fail in any way."""

import json
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException

from fullcontext.config import TrackingMode
from fullcontext.track import METRICS, Tracker
from fullcontext.track.identity import flat, settings
from fullcontext.track.on_wandb import wanted
from fullcontext.track.tracker import sinks


def tracker(folder: Path, config, info, step: int = 0) -> Tracker:
    return Tracker(folder, config, info(folder), name="x", verb="train", step=step)


def test_records_are_lines_and_not_finite_is_null(tmp_path, train_config, info) -> None:
    run = tracker(tmp_path, train_config("tracking=none"), info)
    run.log(1, {"loss": float("nan"), "lr": 0.5})
    run.finish()
    assert json.loads((tmp_path / METRICS).read_text()) == {"step": 1, "loss": None, "lr": 0.5}


def test_steps_that_are_done_again_are_written_once(tmp_path, train_config, info) -> None:
    config = train_config("tracking=none")
    run = tracker(tmp_path, config, info)
    for step in range(1, 6):
        run.log(step, {"loss": 0.0})
    run.finish()
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 6, "lo')
    again = tracker(tmp_path, config, info, step=3)
    again.log(4, {"loss": 1.0})
    again.finish()
    steps = [json.loads(line)["step"] for line in (tmp_path / METRICS).read_text().splitlines()]
    assert steps == [1, 2, 3, 4] and again.id == run.id


def test_without_a_key_it_goes_offline(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert wanted(TrackingMode.auto) == ("offline", "no API key")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wanted(TrackingMode.auto) == ("online", "")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wanted(TrackingMode.auto)[0] == "offline" != wanted(TrackingMode.online)[0]


def test_a_resume_keeps_the_names_of_the_first_start(tmp_path, train_config, info) -> None:
    config = train_config("tracking=none", "claim=it helps")
    chosen = info(tmp_path, experiments="demo", sweeps="seeds")
    Tracker(tmp_path, config, chosen, name="demo", verb="train").finish()
    first = (tmp_path / "identity.json").read_text()
    Tracker(tmp_path, config, info(tmp_path), name="baseline", verb="train").finish()
    kept = json.loads((tmp_path / "identity.json").read_text())
    assert first == (tmp_path / "identity.json").read_text()
    assert (kept["name"], kept["group"], kept["notes"]) == ("demo", "seeds", "it helps")
    assert kept["tags"] == ["experiments=demo", "sweeps=seeds"]


def test_the_flat_copy_has_a_value_for_every_key_below_the_top() -> None:
    tree = {"seed": 1, "data": {"limit": None, "mix": {"a": 0.5}, "range": [1, 2]}}
    assert flat(tree) == {"data/limit": None, "data/mix/a": 0.5, "data/range": "[1, 2]"}


def test_addresses_lose_their_passwords(tmp_path: Path) -> None:
    tree = {"writer": {"base_url": "https://me:pw@host/v1"}}
    found = settings(tmp_path, tree)
    assert found["writer"]["base_url"] == found["writer/base_url"] == "https://host/v1"


def test_mirrors_are_chosen_by_name(train_config, tmp_path, monkeypatch) -> None:
    def titles(*words: str) -> list[str]:
        return [s.title for s in sinks(train_config(*words).tracking, tmp_path, None, {})]

    assert titles() == titles("tracking=none") == []  # WANDB_MODE=disabled in these tests
    monkeypatch.delenv("WANDB_MODE")
    assert titles() == titles("tracking=wandb") == ["W&B"] and titles("tracking=none") == []
    assert titles("tracking=trackio") == ["trackio"]
    assert titles("tracking.mirrors=[wandb,trackio]") == ["W&B", "trackio"]
    with pytest.raises(ConfigCompositionException, match="mlflow"):
        train_config("tracking.mirrors=[mlflow]")


def test_a_figure_that_cannot_be_drawn_stops_nothing(tmp_path, train_config, info, caplog) -> None:
    run = tracker(tmp_path, train_config("tracking=none"), info)
    run._mirrors = [object()]
    run.curves(1, {"database": [object()]}, 5)
    run._mirrors = []
    run.log(2, {"loss": 0.0})
    run.finish()
    assert "not drawn" in caplog.text and (tmp_path / METRICS).read_text()
