import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.report import findings, table, wording
from fullcontext.report.runs import read
from tests.report.folders import answers, u_shape, write_answers, write_run


def runs(tmp_path, *configs):
    folders = [write_run(tmp_path / f"run{index}") for index in range(len(configs))]
    for folder, config in zip(folders, configs, strict=True):
        (folder / "config.yaml").write_text(config)
    return [read(folder) for folder in folders]


@given(st.text(), st.integers(3, 20))
def test_shortened_text_is_one_line_of_at_most_the_length(text, length):
    assert len(wording.shorten(text, length)) <= length
    assert "\n" not in wording.shorten(text, length)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (1234567.0, "1,234,567"), (4.0339, "4.034"), (0, "0")],
)
def test_numbers_read_well(value, text):
    assert wording.number(value, 4) == text


def test_points_have_no_negative_zero():
    assert [wording.points(value) for value in (0.5, -0.0001, float("nan"))] == ["50.0", "0.0", "–"]


def found(given, **settings):
    return findings.find(given, **({"baseline": None, "permutations": 100, "seed": 0} | settings))


def test_markdown_holds_the_statistics_and_escapes_pipes(trained):
    (trained / "status.json").write_text('{"name": "a|b", "state": "finished"}')
    lines = table.markdown(found([read(trained)]), "Title").splitlines()
    assert lines[4].startswith("| run | state | runs | final train loss | document avg |")
    start = "| a\\|b | finished | 1 | 1 | 70.0 [45.0, 87.0] | 50.0 no interval |"
    assert lines[6].startswith(start)
    assert "n=40" in lines[6]


def test_markdown_rows_are_as_wide_as_the_header(tmp_path):
    first, second = runs(tmp_path, "lr: 0", "lr: 1")
    write_answers(second.folder, 0, answers(u_shape))
    given = found([read(first.folder), read(second.folder)])
    lines = table.markdown(given, "t").splitlines()[4:8]
    assert len({line.count("|") for line in lines}) == 1


def test_latex_is_escaped_and_rows_are_as_wide_as_the_header(tmp_path):
    given = runs(tmp_path, "a_b: 50%\nprobe: {bins: 5}", "a_b: '{x}&\\y'\nprobe: {bins: 5}")
    for run in given:
        write_answers(run.folder, 0, answers(u_shape))
    text = table.latex(found([read(run.folder) for run in given]), "t_1")
    assert r"50\%" in text and r"\{x\}\&\textbackslash{}y" in text and r"t\_1" in text
    for part in text.split(r"\toprule")[1:]:
        rows = [line for line in part.split(r"\bottomrule")[0].splitlines() if "&" in line]
        names, *body = [len(re.findall(r"(?<!\\)&", row)) for row in rows[1:]]
        assert set(body) == {names}


def test_latex_cuts_a_wide_table_between_groups_of_columns():
    header = [("", "run"), ("", "loss"), *[(f"task {n // 4}", f"c{n}") for n in range(12)]]
    whole = table.Table("Wide", header, [[f"{n}" for n in range(14)]])
    pieces = table._readable(whole)
    assert [[name for _, name in piece.header] for piece in pieces] == [
        ["run", "loss", "c0", "c1", "c2", "c3"],
        ["run", *(f"c{n}" for n in range(4, 12))],
    ]
    assert pieces[1].rows == [["0", *map(str, range(6, 14))]]
    assert pieces[0].title == "Wide, part 1 of 2"


def test_effects_have_p_values_after_holm(tmp_path):
    given = runs(tmp_path, "lr: 0\nprobe: {bins: 5}", "lr: 1\nprobe: {bins: 5}")
    write_answers(given[0].folder, 0, answers(lambda depth: 0.1))
    better = [replace(each, score=0.5 + 0.01 * each.set) for each in answers(u_shape)]
    write_answers(given[1].folder, 0, better)
    made = found([read(run.folder) for run in given])
    (effect,) = made.effects
    raw = {key: effect.found.contrasts[key].p_value for key in ("avg", "litm")}
    assert effect.found.contrasts["avg"].value == pytest.approx(0.415)
    assert effect.adjusted["avg"] == pytest.approx(2 * raw["avg"]) or np.isnan(raw["litm"])
    assert table.effects(made).rows[0][:2][0] == "run1"
