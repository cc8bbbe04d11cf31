"""Published figures stand beside what was obtained, at the length they were published for."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from fullcontext.compose import RunInfo
from fullcontext.config import ReportConfig
from fullcontext.report import expected, findings, table
from fullcontext.report.run import run
from fullcontext.report.runs import find
from tests.report.folders import answers, u_shape, write_answers, write_run

VAL = ("document", "code", "database")


def write(folder: Path, figures: dict[str, float], seed: int = 0) -> Path:
    write_run(folder)
    config = {"seed": seed, "probe": {"bins": 5}, "claim": None, "expected": figures}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def found(*folders: Path) -> findings.Findings:
    runs = find([str(folder) for folder in folders])
    return findings.find(runs, baseline=None, permutations=100, seed=0)


def lines(*folders: Path) -> dict[str, tuple[str, str]]:
    """Metric -> obtained and difference as they are shown."""
    figures = expected.figures(found(*folders))
    return {each.metric: (expected.obtained(each), expected.difference(each)) for each in figures}


def test_a_probe_is_held_against_its_figure_in_points_of_100(tmp_path: Path) -> None:
    figures = {"probe/document/avg": 75.0, "probe/document/gap": 40.0, "probe/document/litm": 50}
    folder = write(tmp_path / "one", figures)
    write_answers(folder, 4, answers(u_shape))  # 4 of 10 items at 1, 6 at 0.5: 0.7 on average
    shown = lines(folder)
    assert shown["probe/document/avg"][0].startswith("70.0 [")
    assert shown["probe/document/avg"][1] == "-5.0"
    assert shown["probe/document/gap"] == ("50.0", "+10.0")
    assert shown["probe/document/litm"][1] == "0.0"


def test_all_is_the_mean_of_the_three_tasks_and_needs_all_of_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", {"probe/val/avg": 60.0})
    for task, score in zip(VAL, (0.2, 0.4, 0.9), strict=True):
        assert lines(folder)["probe/val/avg"] == ("not measured", "not measured")
        write_answers(folder, 4, answers(lambda _, score=score: score, task=task))
    assert lines(folder)["probe/val/avg"] == ("50.0", "-10.0")


def test_another_length_is_not_what_was_published(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", {"probe/document/32768/avg": 82.9})
    write_answers(folder, 4, answers(u_shape))
    assert lines(folder)["probe/document/32768/avg"] == ("not measured", "not measured")


def test_an_evaluation_is_read_from_its_results(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", {"eval/race/acc": 45.6, "eval/average/4096": 92.8})
    scores = [
        {"task": "race", "metric": "acc", "value": 0.5, "shown": True},
        {"task": "race", "metric": "acc", "value": 0.1, "shown": False},
    ]
    averages = [{"metric": "4096", "value": 0.9, "tasks": 13}]
    (folder / "results.json").write_text(json.dumps({"scores": scores, "averages": averages}))
    assert lines(folder) == {
        "eval/race/acc": ("50.0", "+4.4"), "eval/average/4096": ("90.0", "-2.8")
    }  # fmt: skip
    (folder / "results.json").write_text('{"scores": [{"task": "race"}]}')
    assert "not measured" in lines(folder)["eval/race/acc"]
    assert any("results.json" in each for each in found(folder).runs[0].warnings)


def test_seeds_of_one_configuration_are_one_row_with_a_spread(tmp_path: Path) -> None:
    for seed, score in enumerate((0.4, 0.6)):
        folder = write(tmp_path / f"{seed}", {"probe/document/avg": 50.0}, seed)
        write_answers(folder, 4, answers(lambda _, score=score: score))
    (shown,) = expected.figures(found(tmp_path / "0", tmp_path / "1"))
    assert shown.group.runs == (0, 1) and shown.spread == pytest.approx(0.02**0.5)
    assert expected.obtained(shown).endswith("± 14.1")


def test_expectations_do_not_part_runs_into_groups(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"probe/document/avg": 50.0}, seed=0)
    other = write(tmp_path / "other", {}, seed=1)
    assert len(found(one, other).groups) == 1


def test_page_csv_and_latex_say_it_and_what_was_not_measured(tmp_path: Path) -> None:
    figures = {"probe/document/avg": 75.0, "probe/code/32768/gap": 27.7}
    folder = write(tmp_path / "one", figures)
    write_answers(folder, 4, answers(u_shape))
    out = tmp_path / "out"
    run(
        ReportConfig(runs=[str(folder)], permutations=100, output=str(out)),
        RunInfo(tmp_path, {}, []),
    )
    page = (out / "report.html").read_text()
    assert "Expected and obtained" in page and page.count("not measured") == 2
    for name in ("table.md", "table.tex"):
        text = (out / name).read_text()
        assert "Expected and obtained" in text and "-5.0" in text and "not measured" in text
    rows = list(csv.DictReader((out / "statistics.csv").read_text().splitlines()))
    value = {(r["task"], r["length"], r["statistic"]): r["value"] for r in rows}
    assert value["document", "", "expected avg"] == "0.75"
    assert float(value["document", "", "avg minus expected"]) == pytest.approx(-0.05)
    assert value["code", "32768", "expected gap"] == "0.277"
    assert value["code", "32768", "gap minus expected"] == "not measured"


def test_without_figures_there_is_no_table(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", {})
    assert table.expected(found(folder)) is None
