import json

import pytest

from fullcontext.compose import ConfigError
from fullcontext.report.runs import find, read
from tests.report.folders import answer, answers, u_shape, write_answers, write_run


def test_a_run_is_read_whole(trained):
    run = read(trained)
    assert (run.name, run.status.state, run.status.steps) == ("demo", "finished", 4)
    assert run.config["probe"] == {"bins": 5}
    assert [(each.task, each.step) for each in run.probed] == [("document", 0), ("document", 4)]
    assert run.probed[0].score.tolist() == [0.5] * 40
    assert run.last("loss") == 1.0
    assert run.series("tokens")[0] == (1, 100, 100)
    assert run.warnings == ()


def test_runs_are_found_at_any_depth_and_each_once(tmp_path):
    for place in ("sweep/b/1", "sweep/a", "single"):
        write_run(tmp_path / place)
    found = find([str(tmp_path / "single"), str(tmp_path)])
    assert [run.folder.relative_to(tmp_path).as_posix() for run in found] == [
        "single",
        "sweep/a",
        "sweep/b/1",
    ]


def test_a_folder_without_runs_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no run in .*empty.*config\.yaml"):
        find([str(tmp_path / "empty")])
    with pytest.raises(ConfigError, match=r"nowhere is not a folder and no \.wandb file"):
        find([str(tmp_path / "nowhere")])


def test_torn_last_line_is_tolerated(trained):
    path = trained / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 5, "lo')
    run = read(trained)
    assert (len(run.metrics), run.warnings) == (4, ())


def test_any_other_bad_line_is_warned_about(trained):
    path = trained / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "[1]", *lines[2:], ""]))
    run = read(trained)
    assert [line["step"] for line in run.metrics] == [1, 3, 4]
    assert run.warnings == (f"{path}, line 2: not a JSON object",)


def test_answers_are_written_whole_so_a_line_cut_within_a_character_is_named(trained):
    path = trained / "answers" / "document_step000004.jsonl"
    path.write_bytes(path.read_bytes() + '{"gold": "é'.encode()[:-1])
    (said,) = read(trained).warnings
    assert said.startswith(f"{path}, line ") and said.endswith(": cut off in the middle")


def test_answers_that_lack_fields_are_counted(trained):
    path = write_answers(trained, 4, answers(u_shape))
    path.write_text('{"task": "document"}\n' + path.read_text())
    run = read(trained)
    assert len(run.probed[1].score) == 40
    assert run.warnings == (f"{path}: 1 lines are no answers (fields missing or not numbers)",)


def test_an_answer_written_twice_counts_once(trained):
    write_answers(trained, 0, [answer(score=0.0), answer(score=1.0)])
    assert read(trained).probed[0].score.tolist() == [1.0]


def test_lines_of_one_step_are_merged_and_the_later_wins(tmp_path):
    folder = write_run(tmp_path / "run", steps=1)
    lines = [{"step": 1, "loss": 9.0}, {"step": 1, "loss": 4.0}, {"step": 1, "probe/code/avg": 0.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read(folder).metrics == ({"step": 1.0, "loss": 4.0, "probe/code/avg": 0.5},)


def test_not_finite_values_are_no_points_of_a_series(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n{"step": 2, "loss": null}\n')
    assert read(folder).series("loss") == []


def test_missing_files_leave_an_unknown_state(tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "config.yaml").write_text("name: chosen\n")
    run = read(folder)
    assert (run.name, run.status.state, run.metrics, run.probed) == ("chosen", "unknown", (), ())


def test_damaged_yaml_and_json_are_warned_about(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("a: [1\n")
    (folder / "status.json").write_text('{"state": "run')
    (folder / "data.json").write_text("[]")
    run = read(folder)
    assert (run.config, run.data, run.status.state) == ({}, {}, "unknown")
    assert [warning.split(": ")[1].split(" (")[0] for warning in run.warnings] == [
        "not YAML",
        "not JSON",
        "not a JSON object",
    ]
