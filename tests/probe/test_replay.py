import json

import pytest

from fullcontext.compose import ConfigError, RunInfo, compose_verb
from fullcontext.probe import replay
from fullcontext.probe import run as probing

LABELS = ["Canillo", "Encamp", "Ordino", "Escaldes"]


@pytest.fixture
def files(tmp_path):
    """Two sets of 4 entities; every prediction names its label, but that of line 5."""

    def write(name, lines):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    items = [
        {"prompt": "x", "label": label, "description": f"Parish {i}", "position_id": i, "set_id": s}
        for s in range(2)
        for i, label in enumerate(LABELS)
    ]
    said = [{"samples": [f" The label is {each['label']}."]} for each in items]
    said[5] = {"sample": "I do not know."}
    write("items.jsonl", items)
    write("said.jsonl", said)
    (tmp_path / "skip.json").write_text("[5]")
    return tmp_path


def config(folder, *more):
    return compose_verb(
        "probe",
        [
            "probe=replay", "probe.task=database", f"probe.items={folder}/items.jsonl",
            f"probe.predictions={folder}/said.jsonl", "probe.bin_items=2", *more,
        ],
    )  # fmt: skip


def test_the_last_line_is_the_summary_as_json(files, capsys):
    given = config(files)
    probing.run(given, RunInfo(files / "out", {}, []))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    # Bins of two of which the second is dropped: only positions 0 and 2 count; all are right.
    assert last["film"] == {"avg": 1.0, "gap": 0.0}
    assert last["strict"]["avg"] == 7 / 8
    assert last["items"] == 8
    assert {"value", "low", "high"} <= set(last["litm"])
    names = {path.name for path in (files / "out").iterdir()}
    assert {"answers", "config.yaml", "status.json"} <= names


def test_skipped_lines_are_not_scored(files):
    rows = replay.read(config(files, f"probe.skip={files}/skip.json").probe)
    assert len(rows) == 7
    assert all(row.score == 1 for row in rows)


def test_an_answer_that_lists_the_set_pleases_film_alone(files):
    said = [{"sample": ", ".join(LABELS)}] * 8
    (files / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    rows = replay.read(config(files).probe)
    assert {row.score for row in rows} == {1.0}
    assert {row.strict for row in rows} == {0.0}


def test_a_skipped_item_is_still_another_one_that_an_answer_must_not_name(files):
    said = [{"sample": label} for label in LABELS] * 2
    said[4] = {"sample": "Canillo or Encamp"}  # of set 1; Encamp there is line 5, which is skipped
    (files / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    rows = replay.read(config(files, f"probe.skip={files}/skip.json").probe)
    assert [row.strict for row in rows if row.set == 1] == [0.0, 1.0, 1.0]


def test_a_label_that_holds_what_joins_the_parts_is_kept_whole(files):
    text = (files / "items.jsonl").read_text()
    (files / "items.jsonl").write_text(text.replace("Canillo", "Canillo, description: town"))
    said = [{"sample": "town"}] * 8
    (files / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    assert {row.score for row in replay.read(config(files).probe)} == {0.0}


def test_files_that_do_not_belong_together_are_refused(files):
    lines = (files / "said.jsonl").read_text().splitlines(keepends=True)
    (files / "said.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ConfigError, match=r"items has 8 lines and probe\.predictions 7"):
        replay.read(config(files).probe)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("said.jsonl", "[]\n", "line 1: not a JSON object"),
        ("said.jsonl", "{\n", "line 1: not JSON"),
        ("items.jsonl", "", "is empty"),
        ("skip.json", "[8]", "skips line 8, but there are 8"),
        ("skip.json", "{}", "not a JSON list"),
        ("skip.json", "[0,1,2,3,4,5,6,7]", "skips every line"),
    ],
)
def test_what_is_no_file_of_the_release_is_refused(files, name, text, message):
    (files / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        replay.read(config(files, f"probe.skip={files}/skip.json").probe)


def test_the_wrong_task_is_refused(files):
    given = config(files)
    given.probe.task = "code"
    with pytest.raises(ConfigError, match=r"no 'completion'; is probe\.task=code right"):
        replay.read(given.probe)
