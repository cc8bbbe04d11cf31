"""A sweep becomes a workspace and a report: as JSON, and on a server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fullcontext import workspace
from tests.report.folders import write_run
from tests.track.test_wandb import environment
from tests.wandb_backend import ENTITY, Run, backend


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two fillers with two seeds each."""
    for index, (filler, seed) in enumerate(
        [("random", 0), ("random", 1), ("hard", 0), ("hard", 1)]
    ):
        folder = write_run(tmp_path / "sweep" / str(index))
        (folder / "id.txt").write_text(f"id{index}")
        where = f"tracking: {{project: fc, entity: {ENTITY}}}"
        config = f"data: {{filler: {filler}}}\nseed: {seed}\n{where}\n"
        (folder / "config.yaml").write_text(config)
        line = {"step": 4, "tokens": 9, "loss": 1.0, "probe/code/avg": 0.5, "probe/code/litm": 0.1}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "sweep"


def test_runs_are_grouped_by_what_differs_but_the_seed(runs: Path) -> None:
    found = workspace.sweep([str(runs)])
    assert found.keys == ("data/filler",) and found.ids == ("id0", "id1", "id2", "id3")
    assert workspace.sections(found) == {
        "Training": ["loss"],
        "Probe averages": ["probe/code/avg"],
        "Lost in the middle": ["probe/code/litm"],
    }


def test_the_specification_names_runs_groups_and_panels(runs: Path) -> None:
    made = workspace.spec(workspace.sweep([str(runs)]))
    section = made["workspace"]["spec"]["section"]
    (chosen,) = section["runSets"]
    assert chosen["grouping"] == [{"section": "config", "name": "data/filler.value"}]
    assert json.dumps(["id0", "id1", "id2", "id3"]) in json.dumps(chosen["filters"])
    panels = [p for s in section["panelBankConfig"]["sections"] for p in s["panels"]]
    drawn = [
        (p["config"]["xAxis"], p["config"]["metrics"]) for p in panels if "xAxis" in p["config"]
    ]
    assert drawn == [
        ("tokens", ["loss"]), ("tokens", ["probe/code/avg"]), ("tokens", ["probe/code/litm"]),
    ]  # fmt: skip
    assert panels[-1]["viewType"] == "Run Comparer"
    text = json.dumps(made["report"])
    assert "data/filler.value" in text and "id3" in text and "probe/code/litm" in text


def test_a_server_gets_both_and_without_one_there_is_a_file(runs: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fullcontext.workspace", str(runs)]
    with backend(tmp_path / "server") as server:
        server.runs["id0"] = Run("fc", "id0")
        env = environment(tmp_path, **server.environment)
        done = subprocess.run(
            words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and server.unknown == [], done.stderr
        assert [view["displayName"] for view in server.views] == ["Sweep sweep", "Sweep sweep"]
        assert not (tmp_path / "workspace.json").exists()
    env = environment(tmp_path, WANDB_BASE_URL="http://127.0.0.1:9")
    done = subprocess.run(
        words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and "wrote workspace.json" in done.stderr
    assert set(json.loads((tmp_path / "workspace.json").read_text())) == {"workspace", "report"}


def test_a_folder_without_runs_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert workspace.main([str(tmp_path)]) == 2 and "no run" in caplog.text
