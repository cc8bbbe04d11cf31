"""A run goes on as what it was; only its layout may change."""

from dataclasses import replace
from pathlib import Path

import pytest

from fullcontext.compose import ConfigError, write_yaml
from fullcontext.config import Strategy
from fullcontext.train import resuming


def test_resume_of_nothing_is_refused(train_config, info, tmp_path: Path) -> None:
    config = train_config(f"resume={tmp_path}")
    with pytest.raises(ConfigError, match=r"holds no run \(no config.yaml\)"):
        resuming.settled(config, info(tmp_path))


def test_a_folder_with_another_run_is_refused_by_key(train_config, info, tmp_path: Path) -> None:
    write_yaml(train_config(), tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"batch_size: 128 there, 64 here.*resume="):
        resuming.settled(train_config("batch_size=64"), info(tmp_path))
    assert resuming.settled(train_config("tracking=none"), info(tmp_path)).batch_size == 128


def test_resume_takes_no_other_setting(train_config, info, tmp_path: Path) -> None:
    write_yaml(train_config("batch_size=64"), tmp_path / "config.yaml")
    config = train_config(f"resume={tmp_path}")
    assert resuming.settled(config, info(tmp_path)).batch_size == 64
    with pytest.raises(ConfigError, match=r"remove seed=3, or start a new run.*init="):
        resuming.settled(config, replace(info(tmp_path), overrides=["seed=3"]))


def test_a_run_may_go_on_in_another_layout(train_config, info, tmp_path: Path) -> None:
    write_yaml(
        train_config("batch_size=64", "sharding.accumulate=sharded"), tmp_path / "config.yaml"
    )
    words = ["sharding.cpu_offload=false", "checkpoint.keep=7", "threads=3"]
    config = train_config(f"resume={tmp_path}", *words)
    settled = resuming.settled(config, replace(info(tmp_path), overrides=words))
    assert (settled.threads, settled.checkpoint.keep, settled.batch_size) == (3, 7, 64)
    assert not settled.sharding.cpu_offload
    assert settled.sharding.accumulate == "sharded", "what is not given is the run's own"
    words = ["sharding=none"]
    config = train_config(f"resume={tmp_path}", *words)
    settled = resuming.settled(config, replace(info(tmp_path), overrides=words))
    assert settled.sharding.strategy is Strategy.none


def test_a_layout_that_does_not_fit_the_run_is_refused(train_config, info, tmp_path: Path) -> None:
    write_yaml(train_config(), tmp_path / "config.yaml")
    words = ["max_tokens=100000", "sharding.strategy=none"]
    config = train_config("sharding.cpu_offload=false", *words)
    config = replace(config, resume=str(tmp_path))
    with pytest.raises(ConfigError, match=r"cpu_offload=True needs a model that is spread"):
        resuming.settled(config, replace(info(tmp_path), overrides=words))
