import pytest

from fullcontext.report.curves import common_bins, measure
from fullcontext.report.runs import read
from tests.report.folders import answers, u_shape, write_answers, write_run


def outcomes(*folders, bins=5):
    runs = [read(folder) for folder in folders]
    return measure(runs, [run.name for run in runs], bins, 100, 0)


def test_the_first_and_the_last_probed_step_are_measured(trained):
    write_answers(trained, 2, answers(lambda depth: 0.1))
    assert [(each.step, each.before) for each in outcomes(trained)] == [(0, True), (4, False)]


def test_a_step_probed_alone_is_not_before_anything(tmp_path):
    folder = write_run(tmp_path / "probe")
    write_answers(folder, 0, answers(u_shape))
    (only,) = outcomes(folder)
    assert not only.before and only.change == {}


def test_change_is_paired_by_question(trained):
    before, after = outcomes(trained)
    assert before.change == {}
    assert after.change["avg"].value == pytest.approx(0.2)  # 4 of 10 depths rise by 0.5
    assert after.change["litm"].value == pytest.approx(0.5)


def test_change_uses_the_shared_questions_alone(trained):
    write_answers(trained, 4, answers(u_shape, sets=6, items=8))
    before, after = outcomes(trained)
    assert (before.score.items, after.score.items) == (40, 48)
    assert after.change["avg"].value == pytest.approx(
        after.score.contrasts["avg"].value - before.score.contrasts["avg"].value
    )


def test_intervals_do_not_depend_on_the_other_runs(trained, tmp_path):
    other = write_run(tmp_path / "other")
    write_answers(other, 0, answers(lambda depth: depth))
    alone = outcomes(trained)
    together = [each for each in outcomes(other, trained) if each.run == 1]
    assert repr([each.score.contrasts for each in alone]) == repr(
        [each.score.contrasts for each in together]
    )


def test_a_diagnostic_that_was_not_written_is_none(trained):
    path = trained / "answers" / "document_step000004.jsonl"
    path.write_text(path.read_text().replace('"mean_logp": ', '"mean_logp": null, "x": '))
    before, after = outcomes(trained)
    assert before.logp is not None and after.logp is None


def test_bins_are_the_fewest_asked_for(trained, tmp_path):
    other = write_run(tmp_path / "other")
    write_answers(other, 0, answers(u_shape))
    (other / "config.yaml").write_text("probe: {bins: 4}\n")
    assert common_bins([read(trained), read(other)]) == 4
    assert common_bins([]) == 10
