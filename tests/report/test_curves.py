from dataclasses import replace

import pytest

from fullcontext.report.curves import common_bins, measure
from fullcontext.report.groups import group
from fullcontext.report.runs import read
from tests.report.folders import answers, u_shape, write_answers, write_run


def outcomes(*folders, bins=5):
    runs = [read(folder) for folder in folders]
    return measure(runs, group(runs), bins, 100, 0)


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
    together = [each for each in outcomes(other, trained) if each.index == 1]
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


def seeded(tmp_path, scores, questions=None):
    """Runs of seeds 0, 1, ... that were asked the same, or their own, questions."""
    folders = []
    for seed, score in enumerate(scores):
        folder = write_run(tmp_path / f"s{seed}")
        (folder / "config.yaml").write_text(f"seed: {seed}\nprobe: {{bins: 5}}\n")
        given = answers(lambda depth, score=score: score)
        if questions:
            given = [replace(each, question=f"{questions[seed]} {each.set}?") for each in given]
        write_answers(folder, 4, given)
        folders.append(folder)
    return folders


def test_seeds_enter_as_the_mean_of_each_question_they_share(tmp_path):
    (only,) = outcomes(*seeded(tmp_path, [0.2, 0.4, 0.9]))
    assert only.score.items == 40 and only.score.sets == 4
    assert only.score.contrasts["avg"].value == pytest.approx(0.5)
    assert only.spread("avg") == pytest.approx(0.3606, abs=1e-4)  # of 0.2, 0.4 and 0.9
    assert [each["avg"] for each in only.seeds.values()] == pytest.approx([0.2, 0.4, 0.9])


def test_seeds_that_were_asked_other_questions_add_contexts(tmp_path):
    (only,) = outcomes(*seeded(tmp_path, [0.2, 0.4], questions=["Who", "Where"]))
    assert only.score.items == 80 and only.score.sets == 8
    assert only.score.contrasts["avg"].value == pytest.approx(0.3)


def test_lengths_are_never_pooled(trained):
    long = [replace(each, length=2048, score=0.0) for each in answers(u_shape)]
    short = [replace(each, length=1024, score=1.0) for each in answers(u_shape)]
    write_answers(trained, 4, long + short)
    last = [each for each in outcomes(trained) if each.subject.length]
    assert [each.subject.title for each in last] == ["document at 1K", "document at 2K"]
    assert [each.score.contrasts["avg"].value for each in last] == [1.0, 0.0]


def test_the_strict_score_stands_beside_the_other(trained):
    write_answers(trained, 4, [replace(each, strict=0.25) for each in answers(u_shape)])
    before, after = outcomes(trained)
    assert before.strict is None
    assert after.strict.contrasts["avg"].value == 0.25


def test_a_run_that_stopped_early_is_left_out_of_its_group_and_told(tmp_path):
    folders = seeded(tmp_path, [0.2, 0.4])
    (folders[1] / "answers" / "document_step000004.jsonl").rename(
        folders[1] / "answers" / "document_step000002.jsonl"
    )
    before, after = outcomes(*folders)
    assert (before.step, list(before.seeds), after.step, list(after.seeds)) == (2, [1], 4, [0])
    assert "1 of 2 runs were probed at this step" in after.cautions
