"""The run folder is the record; W&B can fail in any way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fullcontext.track import METRICS, Tracker, _modes


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


def test_without_a_key_it_goes_offline(monkeypatch, train_config, tmp_path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    mode = train_config().tracking.mode
    assert _modes(mode) == ["offline"]
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert _modes(mode) == ["online", "offline"]


def test_a_dying_mirror_is_dropped_with_a_word(tmp_path, train_config, info, caplog) -> None:
    class Dying:
        def log(self, values: dict[str, float]) -> None:
            raise RuntimeError("server gone")

    run = tracker(tmp_path, train_config("tracking=none"), info)
    run._run = Dying()
    run.log(1, {"loss": 0.0})
    run.log(2, {"loss": 0.0})
    run.finish()
    assert "server gone" in caplog.text and len((tmp_path / METRICS).read_text().splitlines()) == 2


@pytest.mark.parametrize("key", [None, "x" * 40])
def test_the_real_client_never_stops_a_run(tmp_path: Path, key: str | None) -> None:
    """Without a key, and with a key and a server that refuses."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    if key:
        environment["WANDB_API_KEY"] = key
    code = (
        "import sys; from pathlib import Path; from fullcontext import compose;"
        "from fullcontext.track import Tracker; folder = Path(sys.argv[1]);"
        "words = ['tracking.init_timeout_s=3', 'tracking.finish_timeout_s=3'];"
        "c = compose.compose_verb('train', words);"
        "t = Tracker(folder, c, compose.RunInfo(folder, {}, []), name='x', verb='train');"
        "t.log(1, {'loss': 1.0}); t.finish()"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, check=True, timeout=120
    )
    assert json.loads((folder / METRICS).read_text())["loss"] == 1.0
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    everything = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert key is None or key.encode() not in everything
