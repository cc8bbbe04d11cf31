import json

import numpy as np
import pytest

from fullcontext.report import data_figures, drawing, figures, findings, panels, training
from fullcontext.report.runs import read
from tests.report.folders import answers, u_shape, write_answers, write_run


def found(*folders, **settings):
    given = {"baseline": None, "permutations": 100, "seed": 0}
    return findings.find([read(folder) for folder in folders], **(given | settings))


def outcomes(*folders):
    return found(*folders).outcomes


def test_a_depth_figure_is_written_and_draws_both_steps(trained, tmp_path):
    drawn = figures.score_by_depth(outcomes(trained), tmp_path)
    assert (tmp_path / "depth_document.png").stat().st_size > 10_000
    assert drawn.svg.count('class="run r0"') == 4  # two lines with their bands
    assert "n per bin 8, 4 contexts, 95 % bands by context" in drawn.svg
    assert "demo at step 0: 50, 50, 50, 50, 50" in drawn.alt


def test_the_diagnostic_is_never_called_accuracy(trained, tmp_path):
    drawn = figures.logp_by_depth(outcomes(trained), tmp_path)
    assert drawn is not None
    assert "diagnostic, not accuracy" in drawn.title


def test_svg_follows_the_page_in_colours_and_ids(trained, tmp_path):
    svg = figures.score_by_depth(outcomes(trained), tmp_path).svg
    assert "var(--run-0)" in svg and "var(--ink)" in svg
    assert drawing.LIGHT[0] not in svg and drawing.INK not in svg
    assert "http" not in svg and "<style" not in svg
    assert 'id="axes_1"' not in svg and 'id="depth_document-axes_1"' in svg


def test_run_names_are_escaped_and_no_formulas(tmp_path):
    folder = write_run(tmp_path / "run", name='_$x^{$<script>"')
    write_answers(folder, 0, answers(u_shape, task="a$b"))
    drawn = figures.score_by_depth(outcomes(folder), tmp_path)
    assert "<script>" not in drawn.svg
    assert (tmp_path / "depth_a_b.png").exists()


def test_colour_and_marker_tell_64_runs_apart():
    assert len({(drawing.colour(run), drawing.marker(run)) for run in range(64)}) == 64


def test_many_runs_get_a_panel_each(tmp_path):
    folders = [write_run(tmp_path / f"run{at}") for at in range(figures.CROWD + 1)]
    for folder in folders:
        write_answers(folder, 0, answers(u_shape))
    assert panels.small(outcomes(*folders[:-1])) == []
    drawn = panels.small(outcomes(*folders))
    assert [outcome.index for outcome, _ in drawn] == list(range(figures.CROWD + 1))
    assert "by depth bin 100, 50, 50, 50, 100" in drawn[0][1]


def test_of_very_many_groups_the_baseline_and_both_ends_are_drawn(tmp_path):
    folders = [write_run(tmp_path / f"run{at:02d}") for at in range(30)]
    for at, folder in enumerate(folders):
        (folder / "config.yaml").write_text(f"lr: {at}\nprobe: {{bins: 5}}\n")
        write_answers(folder, 0, answers(lambda depth, at=at: at / 30))
    shown = figures.drawn(found(*folders, baseline="lr=15"))
    assert shown == [*range(11), 15, *range(18, 30)]


def test_long_series_are_thinned_to_means_of_blocks():
    step = np.arange(100.0)
    line = training.thinned(training.Series(10 * step, step % 2), 50)
    assert len(line.x) == 50
    assert line.x[0] == 5 and np.allclose(line.y, 0.5)


def test_the_mean_of_seeds_goes_as_far_as_all_of_them():
    x = np.arange(1.0, 11)
    line = training.mean([training.Series(x, 0 * x), training.Series(x[:5], 0 * x[:5] + 1)])
    assert (line.x[0], line.x[-1]) == (1, 5) and np.allclose(line.y, 0.5)


def test_a_metric_without_tokens_has_no_token_figure(trained, tmp_path):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    bare = [{key: value for key, value in line.items() if key != "tokens"} for line in lines]
    (trained / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in bare))
    history = training.History(found(trained), [0])
    assert training.figures(history, "tokens", tmp_path) == []
    titles = [each.title for each in training.figures(history, "step", tmp_path)]
    assert titles == ["training loss", "learning rate", "gradient norm", "loss: fine grained"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"edges": [0, 1], "requested": [1, 2], "realised": [1, 2]},
        {"edges": [0, 1, 2], "requested": [1, 2], "realised": [0, 0]},
        {"edges": [0, 1, 2], "requested": None, "realised": [1, "x"]},
    ],
)
def test_histograms_without_usable_counts_are_left_out(given, tmp_path):
    assert data_figures.realised(given, "length", "length", tmp_path) is None


def test_the_run_folder_gets_a_figure_of_lengths_depths_and_answers(tmp_path):
    report = {
        "length": {"edges": [0, 10, 20], "requested": [4, 4], "realised": [3, 5]},
        "depth": {"edges": [0, 0.5, 1], "expected": None, "realised": [8, 0]},
        "answer_length": {"edges": [1, 2, 4], "requested": [1, 1], "realised": [2, 2]},
    }
    data_figures.write(report, tmp_path / "figures")
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    assert written == {"data_length.png", "data_depth.png", "data_answer_length.png"}
    drawn = data_figures.realised(report["length"], "length", "length", tmp_path)
    assert "Realised: 38, 62 percent. Requested: 50, 50 percent." in drawn.alt
    alone = data_figures.realised(report["depth"], "depth", "depth", tmp_path)
    assert "Realised: 100, 0 percent." in alone.alt and "Requested" not in alone.alt
