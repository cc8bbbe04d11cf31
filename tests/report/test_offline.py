import json
import struct
import zlib

import pytest
from wandb.proto import wandb_internal_pb2 as proto

from fullcontext.report import offline, sections
from fullcontext.report.findings import find as findings
from fullcontext.report.runs import find
from tests.report.folders import write_run


def record(kind, **values):
    """One message: run(config), history, summary or exit."""
    made = proto.Record()
    if kind == "run":
        made.run.run_id, made.run.display_name, made.run.job_type = "abc", "demo", "train"
    if kind == "exit":
        made.exit.exit_code = values["code"]
        return made.SerializeToString()
    items = {
        "run": made.run.config.update,
        "history": made.history.item,
        "summary": made.summary.update,
    }[kind]
    for key, value in values.items():
        item = items.add()
        item.key, item.value_json = key, json.dumps(value)
    return made.SerializeToString()


def framed(payloads, at=offline.HEADER):
    """LevelDB log blocks: parts that fill what is left of a block, each with its checksum."""
    found = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
    for whole_payload in payloads:
        payload, begun = whole_payload, False
        while True:
            left = offline.BLOCK - len(found) % offline.BLOCK
            if left < offline.HEADER:
                found += bytes(left)
                continue
            part, payload = payload[: left - offline.HEADER], payload[left - offline.HEADER :]
            kind = {(False, False): 1, (False, True): 2, (True, True): 3, (True, False): 4}[
                begun, bool(payload)
            ]
            crc = zlib.crc32(bytes([kind]) + part)
            found += struct.pack("<IHB", crc, len(part), kind) + part
            begun = True
            if not payload:
                break
    return found


def history(steps):
    return [record("history", global_step=s, tokens=10 * s, loss=5.0 - s) for s in steps]


def logged(tmp_path, data, name="offline-run-20260101_000000-abc"):
    path = tmp_path / name / "run-abc.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def whole():
    start = record("run", seed=3, data={"size": 64}, _wandb={"x": 1})
    return [start, *history([1, 2]), record("summary", seconds=7.5), record("exit", code=0)]


def test_config_history_and_state_come_from_the_file(tmp_path):
    path = logged(tmp_path, framed(whole()))
    for given in (path, path.parent, tmp_path):
        (run,) = find([str(given)])
        assert (run.name, run.status.id, run.status.state) == ("demo", "abc", "finished")
        assert run.config == {"seed": 3, "data": {"size": 64}}
        assert run.series("loss") == [(1, 10, 4.0), (2, 20, 3.0)]
        assert run.status.seconds == 7.5
        assert run.is_offline and run.probed == () and run.warnings == ()


def test_records_that_span_blocks_are_joined(tmp_path):
    long = record("summary", text="x" * 100_000)
    warnings = []
    read = offline.read(logged(tmp_path, framed([*whole(), long])), warnings)
    assert len(read.summary["text"]) == 100_000 and warnings == []


@pytest.mark.parametrize("cut", [1, 9, 30])
def test_a_torn_tail_is_what_a_kill_leaves(tmp_path, cut):
    (run,) = find([str(logged(tmp_path, framed(whole())[:-cut]))])
    assert run.last("loss") == 3.0 and run.warnings == ()
    assert run.status.state == "unknown" and "killed, or still running" in run.status.error


def test_a_damaged_block_is_told_and_costs_itself_alone(tmp_path):
    filler = [record("summary", text="x" * 1000) for _ in range(40)]
    data = bytearray(framed([*whole()[:-1], *filler, *history([3])]))
    data[12_000] ^= 1
    path = logged(tmp_path, bytes(data))
    (run,) = find([str(path)])
    assert [line["step"] for line in run.metrics] == [1, 2, 3]
    assert len(run.warnings) == 1 and "the rest of its block is left out" in run.warnings[0]


def test_another_file_is_no_log(tmp_path):
    path = logged(tmp_path, b"not a log at all")
    assert find([str(path)])[0].warnings == (
        f"{path}: not a transaction log of W&B (no :W&B header)",
    )


def test_a_resumed_run_is_one_run_and_later_steps_win(tmp_path):
    logged(tmp_path, framed([record("run"), *history([1, 2, 3])]))
    again = [record("run"), record("history", global_step=3, loss=0.5), record("exit", code=1)]
    logged(tmp_path, framed(again), "run-20260102_000000-abc")
    (run,) = find([str(tmp_path)])
    assert [line["loss"] for line in run.metrics] == [4.0, 3.0, 0.5]
    assert (run.status.state, run.status.error) == ("failed", "exit code 1")


def test_a_run_folder_stands_for_its_files_of_wandb(tmp_path):
    folder = write_run(tmp_path / "run", id="abc")
    path = logged(folder / "wandb", framed(whole()))
    (run,) = find([str(tmp_path)])
    assert run.folder == folder
    assert [each.folder for each in find([str(folder), str(path)])] == [folder]


def test_what_was_logged_of_probes_is_shown_without_an_interval(tmp_path):
    end = record("history", global_step=4, **{"probe/document/avg": 0.5, "probe/document/n": 20})
    logged(tmp_path, framed([record("run", seed=0), end]))
    found = findings(find([str(tmp_path)]), baseline=None, permutations=100, seed=0)
    given = sections.logged(found)
    assert given["keys"] == ["probe/document/avg"]
    assert given["rows"][0]["cells"] == ["0.5"]


def test_a_file_of_the_real_client_is_read(tmp_path, monkeypatch):
    import wandb

    for key, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(key, value)
    with wandb.init(dir=tmp_path, id="abc", name="demo", config={"a": {"b": 1}}) as run:
        for step in range(3):
            run.log({"global_step": step, "loss": 1.0 - step, "probe/code/avg": 0.25})
    (read,) = find([str(tmp_path)])
    assert (read.name, read.status.id, read.status.state) == ("demo", "abc", "finished")
    assert read.config == {"a": {"b": 1}}
    assert [line["loss"] for line in read.metrics] == [1.0, 0.0, -1.0]
    assert read.last("probe/code/avg") == 0.25
