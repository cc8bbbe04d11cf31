import numpy as np
import pytest

from fullcontext.report import data_figures, drawing, figures
from fullcontext.report.curves import measure
from fullcontext.report.runs import read
from tests.report.folders import answers, u_shape, write_answers, write_run


def outcomes(folder):
    return measure([read(folder)], ["demo"], 5, 100, 0)


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
    folder = write_run(tmp_path / "run")
    write_answers(folder, 0, answers(u_shape, task="a$b"))
    found = measure([read(folder)], ['_$x^{$<script>"'], 5, 100, 0)
    drawn = figures.score_by_depth(found, tmp_path)
    assert "<script>" not in drawn.svg
    assert (tmp_path / "depth_a_b.png").exists()


def test_colour_and_marker_tell_64_runs_apart():
    assert len({(drawing.colour(run), drawing.marker(run)) for run in range(64)}) == 64


def test_many_runs_get_a_panel_each(tmp_path):
    folder = write_run(tmp_path / "run")
    write_answers(folder, 0, answers(u_shape))
    few, many = ([read(folder)] * n for n in (figures.CROWD, figures.CROWD + 1))
    assert figures.small_multiples(measure(few, ["x"] * len(few), 5, 100, 0)) == []
    drawn = figures.small_multiples(measure(many, ["x"] * len(many), 5, 100, 0))
    assert [outcome.run for outcome, _ in drawn] == list(range(figures.CROWD + 1))


def test_long_series_are_thinned_to_means_of_blocks():
    points = [(float(step), 10.0 * step, float(step % 2)) for step in range(100)]
    x, y = figures.thinned(points, "tokens", 50)
    assert len(x) == 50
    assert x[0] == 5 and np.allclose(y, 0.5)


def test_a_metric_without_tokens_has_no_token_figure(trained, tmp_path):
    run = read(trained)
    bare = [{key: value for key, value in line.items() if key != "tokens"} for line in run.metrics]
    (trained / "metrics.jsonl").write_text("".join(f"{line}\n".replace("'", '"') for line in bare))
    run = read(trained)
    assert figures.training([run], ["demo"], "loss", "tokens", tmp_path) is None
    assert figures.training([run], ["demo"], "loss", "step", tmp_path) is not None
    assert figures.training([run], ["demo"], "absent", "step", tmp_path) is None


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
