"""A trace holds the steps that were asked for, whole."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from fullcontext.compose import ConfigError
from fullcontext.config import ProfileConfig
from fullcontext.train import profiling


def steps(config: ProfileConfig, folder: Path, start: int = 0) -> None:
    with profiling.trace(config, folder, start) as after:
        for step in range(start, 5):
            with torch.profiler.record_function(f"step {step + 1}"):
                torch.ones(2) + 1
            after(step + 1)


def test_exactly_the_steps_asked_for_are_traced(tmp_path: Path) -> None:
    steps(ProfileConfig(steps=[2, 3]), tmp_path)
    (path,) = (tmp_path / "traces").iterdir()
    assert path.name == "steps_2-3_rank_0.json.gz"
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    names = {event["name"] for event in events if event["name"].startswith("step ")}
    assert names == {"step 2", "step 3"}


def test_nothing_is_traced_unless_asked_for_or_behind_it(tmp_path: Path) -> None:
    steps(ProfileConfig(), tmp_path)
    steps(ProfileConfig(steps=[2, 3]), tmp_path, start=2)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["[0,3]", "[3,2]", "[3]"])
def test_steps_that_are_no_range_are_refused(train_config, given: str) -> None:
    with pytest.raises(ConfigError, match=r"profile.steps=.* must be \[first, last\]"):
        train_config(f"profile.steps={given}")
