import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fullcontext.evaluate import deltas
from fullcontext.evaluate.outcome import Outcome, Score


def records(scores, metric="acc", **more):
    return [
        {"doc_id": i, "doc_hash": f"h{i}", "filter": "none", "scores": {metric: s}, **more}
        for i, s in enumerate(scores)
    ]


def outcome(value, task="t", metric="acc", shots=0, documents=4):
    score = Score(task, metric, "none", value, None, documents, True)
    return Outcome(task, [score], [task], {task: shots})


def compared(now, before, **more):
    return deltas.compare(
        [outcome(np.mean(now))], [outcome(np.mean(before), **more)],
        {"t": records(now)}, {"t": records(before)},
    )[0]  # fmt: skip


def test_a_delta_is_paired_document_by_document():
    """Six documents of ten changed, five for the better: 4/10, and McNemar's p is 14/64."""
    now = [1, 1, 1, 1, 1, 0, 1, 0, 1, 0]
    before = [0, 0, 0, 0, 0, 1, 1, 0, 1, 0]
    found = compared(now, before)
    assert found.delta == pytest.approx(0.4) and found.documents == 10
    assert found.p == found.holm == pytest.approx(14 / 64)
    differences = np.array(now) - np.array(before)
    half = stats.t.ppf(0.975, 9) * differences.std(ddof=1) / np.sqrt(10)
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))
    assert found.note == ""


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=30))
def test_graded_scores_have_students_paired_p(pairs):
    now, before = (np.array(side) for side in zip(*pairs, strict=True))
    low, high, p = deltas.test(now, before, [str(i) for i in range(len(pairs))])
    if low is None or set(np.unique([now, before])) <= {0, 1}:
        return
    assert p == pytest.approx(stats.ttest_rel(now, before).pvalue, abs=1e-9)
    assert (low > 0 or high < 0) == (p < 0.05) or abs(p - 0.05) < 1e-6


def test_questions_of_one_context_count_as_one():
    """Two contexts of three questions each, all of one context better: one degree of freedom."""
    now, before = np.array([1.0, 1, 1, 0, 0, 0]), np.zeros(6)
    low, high, p = deltas.test(now, before, list("aaabbb"))
    assert p == pytest.approx(0.5)  # a t of 1 with one degree of freedom
    assert (low, high) == pytest.approx((0.5 - 12.706 * 0.5, 0.5 + 12.706 * 0.5), abs=1e-3)
    alone = deltas.test(now, before, list("abcdef"))
    assert alone[2] == 0.25  # three of three: 2 / 2^3


def test_nothing_that_differs_has_no_interval_and_p_1():
    found = compared([1, 0, 1], [1, 0, 1])
    assert (found.delta, found.low, found.p) == (0, None, 1)


def test_a_task_without_samples_and_one_that_is_no_mean_are_marked():
    own, theirs = [outcome(0.5)], [outcome(0.25)]
    found = deltas.compare(own, theirs, {"t": records([1, 0])}, {})[0]
    assert (found.delta, found.p, found.note) == (0.25, None, "no samples of the same documents")
    found = deltas.compare(own, theirs, {"t": records([1, 1])}, {"t": records([1, 0])})[0]
    assert found.p is None and "not the mean of its documents" in found.note


def test_documents_that_one_side_lacks_are_counted_and_other_shots_are_said():
    found = deltas.compare(
        [outcome(0.5)], [outcome(1.0, shots=5)],
        {"t": records([1, 0, 1, 0])}, {"t": records([1, 1])},
    )[0]  # fmt: skip
    assert found.documents == 2 and found.delta == -0.5
    assert "2 documents are in one of the two only" in found.note
    assert "worked examples differ: t 0 and 5" in found.note


def test_changed_documents_do_not_pair():
    other = [row | {"doc_hash": "x"} for row in records([1, 0])]
    found = deltas.compare([outcome(0.5)], [outcome(0.5)], {"t": records([1, 0])}, {"t": other})[0]
    assert found.documents == 0
