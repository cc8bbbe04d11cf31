"""trackio as a mirror: what it is told, and what is said where it is missing or too old."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fullcontext.config import MirrorKind, TrackingConfig
from fullcontext.track.identity import Identity
from fullcontext.track.mirror import Attachment, Mirror, Table
from fullcontext.track.on_trackio import TrackioSink

WHO = Identity("abc", "demo", "seeds", "train", ("sweeps=seeds",), "it helps")
ROWS = Table(("task", "score"), [["code", 0.5]])


def sink(**tree: Any) -> TrackioSink:
    return TrackioSink(WHO, tree, TrackingConfig(mirrors=[MirrorKind.trackio]))


def played(tmp_path: Path) -> None:
    """Two starts of one run: steps 1 and 2, a probe and a file, then step 3."""
    picture = tmp_path / "curve.png"
    from matplotlib.figure import Figure

    Figure().savefig(picture)
    (tmp_path / "data.json").write_text("{}")
    file = Attachment("data", "data-report", (tmp_path / "data.json",))
    for steps in ([1, 2], [3]):
        mirror = Mirror(sink(**{"data/filler": "hard"}))
        for step in steps:
            mirror.log(step, {"loss": 1 / step})
        if steps == [1, 2]:
            mirror.keep("curves", lambda s: s.curves(2, ROWS, {"curves/code": picture}))
            mirror.keep("data.json", lambda s: s.attach(file))
        mirror.finish(failed=False)


def test_where_it_is_missing_the_remedy_is_said(monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    Mirror(sink()).log(1, {"loss": 1.0})
    (line,) = caplog.messages
    assert "pip install 'fullcontext[trackio]'" in line and "the run goes on" in line


def test_one_that_is_too_old_is_named(monkeypatch, caplog) -> None:
    old = ModuleType("trackio")
    old.__version__ = "0.0.6"
    monkeypatch.setitem(sys.modules, "trackio", old)
    Mirror(sink())
    (line,) = caplog.messages
    assert "0.0.6 is too old" in line and "pip install" in line


def test_it_is_told_names_config_steps_tables_and_files(monkeypatch, tmp_path, caplog) -> None:
    """Against a stand-in that only notes what it is told."""
    told: list[tuple[str, Any]] = []

    class Run:
        def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
            told.append(("log", (step, sorted(metrics))))

        def log_artifact(self, artifact: Any) -> None:
            told.append(("artifact", artifact))

        def finish(self) -> None:
            told.append(("finish", None))

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            self.name, self.type, self.files = name, type, []

        def add_file(self, path: str) -> None:
            self.files.append(Path(path).name)

    module = ModuleType("trackio")

    def init(**given: Any) -> Run:
        told.append(("init", given))
        return Run()

    for name, value in {
        "init": init, "Artifact": Artifact, "Table": lambda columns, data: (columns, data),
        "Image": lambda path: path,
    }.items():  # fmt: skip
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "trackio", module)
    played(tmp_path)
    starts = [given for what, given in told if what == "init"]
    assert [(s["name"], s["group"], s["resume"]) for s in starts] == [
        ("demo-abc", "seeds", "allow")
    ] * 2
    assert (
        starts[0]["config"]["data/filler"] == "hard" and starts[0]["config"]["notes"] == "it helps"
    )
    rows = sorted(given for what, given in told if what == "log")
    assert rows == [
        (1, ["global_step", "loss"]), (2, ["curves/code", "curves/table"]),
        (2, ["global_step", "loss"]), (3, ["global_step", "loss"]),
    ]  # fmt: skip
    (kept,) = [given for what, given in told if what == "artifact"]
    assert (kept.name, kept.type, kept.files) == ("data-abc", "data-report", ["data.json"])


def test_the_real_one_keeps_a_run_over_two_starts(tmp_path: Path, monkeypatch) -> None:
    """In a process of its own: trackio's folder is read when it is imported."""
    pytest.importorskip("trackio", minversion="0.43", reason="pip install 'fullcontext[trackio]'")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "board"))
    code = (
        "import sys, logging; from pathlib import Path; logging.basicConfig(level=20);"
        "from tests.track.test_trackio import played; played(Path(sys.argv[1]));"
        "import json, trackio; (run,) = trackio.Api().runs('fullcontext');"
        "logs = trackio.SQLiteStorage.get_logs('fullcontext', run.name);"
        "print(json.dumps([run.name, run.config['data/filler'], logs], default=str))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    name, filler, logs = json.loads(done.stdout)
    assert (name, filler) == ("demo-abc", "hard")
    assert [row["step"] for row in logs if "loss" in row] == [1, 2, 3]
    (probe,) = [row for row in logs if "curves/table" in row]
    assert probe["step"] == 2 and "curves/code" in probe
    assert "failed" not in done.stderr and "did not" not in done.stderr, done.stderr
