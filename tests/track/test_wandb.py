"""The real client against a server on this machine: working, dying, hanging, refusing, absent."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from matplotlib import get_cachedir

from fullcontext.compose import ROOT
from tests.wandb_backend import KEY, Server, backend

CHILD = Path(__file__).with_name("child.py")


@dataclass
class Ended:
    """What a run said."""

    out: str
    log: str

    def seconds(self, what: str) -> float:
        return next(float(line.split()[-1]) for line in self.out.splitlines() if what in line)

    @property
    def lines(self) -> list[str]:
        """All that was printed for people."""
        return [line for line in self.log.splitlines() if "fontManager" not in line]


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB") and k != "NETRC"}
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), kept.get("PYTHONPATH")]))
    return kept | {"HOME": str(home), "PYTHONPATH": paths, "MPLCONFIGDIR": get_cachedir(), **more}


def begin(folder: Path, env: dict[str, str], **script: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), json.dumps(script)],
        env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], word: str = "") -> Ended:
    out, log = process.communicate(word, timeout=120)
    assert process.returncode == 0, log
    return Ended(out, log)


def until_logged(process: subprocess.Popen[str]) -> str:
    said = ""
    assert process.stdout is not None
    while "logged" not in said:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said += line
    return said


def steps(server: Server, folder: Path) -> list[int]:
    rows = server.run((folder / "id.txt").read_text()).history
    return [row["global_step"] for row in rows if "loss" in row]


def written(folder: Path) -> list[int]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row["step"] for row in map(json.loads, lines) if "loss" in row]


def sync(line: str, env: dict[str, str]) -> None:
    """Runs the command that a line of the run ends with."""
    env = env | {"WANDB_ERROR_REPORTING": "false"}
    command = line[line.index("wandb sync") :].replace("wandb", f"{sys.executable} -m wandb", 1)
    subprocess.run(["bash", "-c", command], env=env, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Ended]]:
    """Five steps and a probe; then a requeue that begins again after step 3, and goes to 7."""
    home = tmp_path_factory.mktemp("online")
    with backend(home / "server") as server:
        env = environment(home, **server.environment)
        first = ended(begin(home / "run", env, to=5, probe=True, words=["claim=it helps"]))
        again = {"from": 3, "to": 7, "choices": {}}
        ended(begin(home / "run", env, **again))
        yield server, home / "run", first


def test_a_working_server_gets_everything_under_its_name(online) -> None:
    server, folder, said = online
    run = server.run((folder / "id.txt").read_text())
    assert server.unknown == []
    told = run.upsert
    assert (told["groupName"], told["jobType"], told["displayName"]) == ("seeds", "train", "demo")
    assert told["tags"] == ["experiments=demo", "sweeps=seeds"] and told["notes"] == "it helps"
    assert said.lines == [
        f"W&B: {server.environment['WANDB_BASE_URL']}/lab/fullcontext/runs/{run.id}"
    ]
    assert run.complete and run.exit_code == 0


def test_the_config_is_a_tree_and_flat_with_the_commit(online) -> None:
    server, folder, _ = online
    config = server.run((folder / "id.txt").read_text()).config
    assert config["data"]["context_range"] == [4096, 32768]
    assert config["data/context_range"] == "[4096, 32768]" and config["seed"] == 0
    assert config["git/commit"] == "abc123" and config["git/dirty"] is True


def test_step_and_tokens_are_declared_and_step_is_the_axis(online) -> None:
    server, folder, _ = online
    *declared, rest = server.run((folder / "id.txt").read_text()).metrics
    names = [metric["1"] for metric in declared]  # the client's threads decide on their order
    assert sorted(names) == ["global_step", "tokens"]
    assert rest["2"] == "*" and names[rest["5"] - 1] == "global_step"


def test_a_requeue_goes_on_in_the_same_run_and_sends_no_step_twice(online) -> None:
    """But the last one that the server has, of which it may lack a part."""
    server, folder, _ = online
    assert server.run((folder / "id.txt").read_text()).inserts == 1 == len(server.runs)
    assert steps(server, folder) == [1, 2, 3, 4, 5, 5, 6, 7]
    assert written(folder) == [1, 2, 3, 4, 5, 6, 7]


def test_a_probe_becomes_a_table_a_curve_and_a_map(online) -> None:
    server, folder, _ = online
    run = server.run((folder / "id.txt").read_text())
    row = next(row for row in run.history if "curves/table" in row)
    assert row["global_step"] == 5 and row["curves/table"]["nrows"] == 10
    for name in ("curves/database", "curves/database_map"):
        image = server.folder / "files" / run.id / row[name]["path"]
        assert image.read_bytes().startswith(b"\x89PNG") and row[name]["format"] == "png"
    stored = json.loads(
        (server.folder / "files" / run.id / row["curves/table"]["path"]).read_text()
    )
    first = dict(zip(stored["columns"], stored["data"][0], strict=True))
    assert first == {
        "step": 5, "tokens": 500, "task": "database", "length": 512, "bin": 0, "depth_from": 0,
        "depth_to": 0.2, "score": 1, "strict": 0, "n": 2,
    }  # fmt: skip
    assert [line[7] for line in stored["data"]] == [1, 1, 0.5, 0, 0] * 2


def test_what_the_run_was_made_from_and_left_are_artifacts(online) -> None:
    server, folder, _ = online
    record, data, model = (server.artifact(name) for name in ("record-", "data-", "model-"))
    assert server.stored(record, "commit.txt") == (folder / "commit.txt").read_bytes()
    assert server.stored(record, "config.yaml") == (folder / "config.yaml").read_bytes()
    assert server.stored(data, "data.json") == (folder / "data.json").read_bytes()
    weights = server.manifest(model)["model.safetensors"]
    assert weights["ref"] == (folder / "export" / "model.safetensors").as_uri()
    assert not (server.folder / "artifacts" / model["id"] / "files").exists()


def test_a_killed_offline_run_is_whole_after_one_sync(tmp_path: Path) -> None:
    """Killed 2.5 s after the last record, requeued from step 3, then synced as the run said."""
    env = environment(tmp_path)
    first = begin(tmp_path / "run", env, to=5, wait=True)
    until_logged(first)
    time.sleep(2.5)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    requeued = {
        "from": 3,
        "to": 7,
        "choices": {},
        "probe": True,
        "words": ["tracking.upload_export=true"],
    }
    (line,) = ended(begin(tmp_path / "run", env, **requeued)).lines
    assert "offline (no API key)" in line
    with backend(tmp_path / "server") as server:
        sync(line, environment(tmp_path, **server.environment))
        assert sorted(set(steps(server, tmp_path / "run"))) == [1, 2, 3, 4, 5, 6, 7]
        assert len(server.runs) == 1 and server.unknown == []
        run = server.run((tmp_path / "run" / "id.txt").read_text())
        assert run.upsert["groupName"] == "seeds"
        assert server.stored(server.artifact("model-"), "model.safetensors") == b"w" * 1000


@pytest.mark.parametrize("how", ["dies", pytest.param("hangs", marks=pytest.mark.slow)])
def test_a_server_lost_on_the_way_costs_its_timeout_and_no_record(tmp_path: Path, how: str) -> None:
    with backend(tmp_path / "server") as server:
        env = environment(tmp_path, **server.environment)
        words = ["tracking.finish_timeout_s=4"]
        process = begin(tmp_path / "run", env, to=3, wait=True, more=400, words=words)
        until_logged(process)
        if how == "hangs":
            server.hangs.set()
            said = ended(process, "\n")
    if how == "dies":
        said = ended(process, "\n")
    assert said.seconds("logged more") < 2 and said.seconds("finished") < 5
    _, line = said.lines
    assert "in time" in line or "within" in line
    assert written(tmp_path / "run") == list(range(1, 401))
    with backend(tmp_path / "server", server) as server:
        sync(line, environment(tmp_path, **server.environment))
        assert steps(server, tmp_path / "run") == list(range(1, 401))


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_server_that_never_answers_means_offline_in_one_line(tmp_path: Path, how: str) -> None:
    words = ["tracking.init_timeout_s=3", "tracking.finish_timeout_s=5"]
    with backend(tmp_path / "server") as server:
        server.hangs.set()
        env = environment(tmp_path, **server.environment)
        if how == "refuses":
            env["WANDB_BASE_URL"] = "http://127.0.0.1:9"
        said = ended(begin(tmp_path / "run", env, words=words))
    (line,) = said.lines
    assert "offline" in line and "wandb sync" in line
    assert said.seconds("finished") < 5 and written(tmp_path / "run") == [1, 2, 3, 4, 5]
    assert list((tmp_path / "run").glob("wandb/offline-run-*/*.wandb"))


def test_a_dead_client_process_means_offline_in_one_line(tmp_path: Path) -> None:
    with backend(tmp_path / "server") as server:
        env = environment(tmp_path, **server.environment)
        process = begin(tmp_path / "run", env, to=3, wait=True, more=6)
        until_logged(process)
        (core,) = psutil.Process(process.pid).children()
        core.kill()
        said = ended(process, "\n")
        _, line = said.lines
        sync(line, env)
        assert sorted(set(steps(server, tmp_path / "run"))) == [1, 2, 3, 4, 5, 6]
    assert "offline" in line and written(tmp_path / "run") == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_client_process_that_hangs_holds_nobody(tmp_path: Path) -> None:
    with backend(tmp_path / "server") as server:
        env = environment(tmp_path, **server.environment)
        words = ["tracking.finish_timeout_s=3"]
        process = begin(tmp_path / "run", env, to=3, wait=True, more=4000, words=words)
        until_logged(process)
        (core,) = psutil.Process(process.pid).children()
        core.suspend()
        began = time.monotonic()
        said = ended(process, "\n")
        assert time.monotonic() - began < 10
    assert said.seconds("logged more") < 2 and said.seconds("finished") < 4
    assert "did not finish in time" in said.lines[-1]
    assert written(tmp_path / "run") == list(range(1, 4001))


def test_without_wandb_the_run_folder_is_uploaded_later(tmp_path: Path) -> None:
    (tmp_path / "broken" / "wandb").mkdir(parents=True)
    (tmp_path / "broken" / "wandb" / "__init__.py").write_text("raise ImportError('no wandb here')")
    env = environment(tmp_path)
    env["PYTHONPATH"] = f"{tmp_path / 'broken'}{os.pathsep}{env['PYTHONPATH']}"
    (line,) = ended(begin(tmp_path / "run", env, to=5, probe=True)).lines
    assert "no wandb here" in line and "python -m fullcontext.track" in line
    with backend(tmp_path / "server") as server:
        command = line[line.index("python -m") :].replace("python", sys.executable, 1)
        env = environment(tmp_path, **server.environment)
        subprocess.run(["bash", "-c", command], env=env, check=True, capture_output=True)
        assert steps(server, tmp_path / "run") == [1, 2, 3, 4, 5]
        assert server.artifact("data-") and server.artifact("model-") and not server.unknown


def test_no_file_of_a_run_holds_a_key(online) -> None:
    _, folder, said = online
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert KEY.encode() not in held and KEY not in said.log
