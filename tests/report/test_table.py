import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.report import table
from fullcontext.report.curves import measure
from fullcontext.report.runs import read
from tests.report.folders import answers, u_shape, write_answers, write_run


def runs(tmp_path, *configs):
    folders = [write_run(tmp_path / f"run{index}") for index in range(len(configs))]
    for folder, config in zip(folders, configs, strict=True):
        (folder / "config.yaml").write_text(config)
    return [read(folder) for folder in folders]


def test_only_differing_keys_are_shown(tmp_path):
    found = table.differing(
        runs(
            tmp_path,
            "seed: 0\nlr: 1.0e-3\ndata: {size: 64}",
            "seed: 1\nlr: 0.001\ndata: {size: 128}",
        )
    )
    assert found == {"seed": ["0", "1"], "data.size": ["64", "128"]}


def test_names_and_claims_are_no_difference(tmp_path):
    assert table.differing(runs(tmp_path, "name: a\nclaim: x", "name: b\nclaim: y")) == {}


def test_a_missing_section_is_no_difference_but_a_missing_key_is(tmp_path):
    found = table.differing(
        runs(tmp_path, "data: {a: 1, b: 2}\nschedule: {peak: 1}", "data: {a: 1}")
    )
    assert found == {"data.b": ["2", table.NOTHING]}


def test_labels_are_unique_and_short(tmp_path):
    found = [read(write_run(tmp_path / f"{index}", name="n" * 80)) for index in range(2)]
    names = table.labels(found)
    assert len(set(names)) == 2
    assert all(len(name) <= table.LABEL_LENGTH + 3 for name in names)


@given(st.text(), st.integers(3, 20))
def test_shortened_text_is_one_line_of_at_most_the_length(text, length):
    assert len(table.shorten(text, length)) <= length
    assert "\n" not in table.shorten(text, length)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (1234567.0, "1,234,567"), (4.0339, "4.034"), (0, "0")],
)
def test_numbers_read_well(value, text):
    assert table.number(value, 4) == text


def test_points_have_no_negative_zero():
    assert [table.points(value) for value in (0.5, -0.0001, float("nan"))] == ["50.0", "0.0", "–"]


def test_markdown_holds_the_statistics_and_escapes_pipes(trained):
    run = read(trained)
    outcomes = measure([run], ["a|b"], 5, 100, 0)
    lines = table.markdown([run], ["a|b"], outcomes, "Title").splitlines()
    assert lines[2].startswith("| run | state | final train loss | document avg |")
    assert lines[4].startswith("| a\\|b | finished | 1 | 70.0 [45.0, 87.0] | 50.0 no interval |")
    assert "n=40" in lines[4]


def test_markdown_rows_are_as_wide_as_the_header(tmp_path):
    first, second = runs(tmp_path, "seed: 0", "seed: 1")
    write_answers(second.folder, 0, answers(u_shape))
    found = [read(first.folder), read(second.folder)]
    outcomes = measure(found, ["x", "y"], 5, 100, 0)
    lines = table.markdown(found, ["x", "y"], outcomes, "t").splitlines()[2:6]
    assert len({line.count("|") for line in lines}) == 1
