from fullcontext.evaluate import outcome, table
from fullcontext.evaluate.outcome import Score
from fullcontext.evaluate.tasks import Entry


def sample(doc_id, **metrics):
    return {
        "doc_id": doc_id, "doc": {"set": 1}, "target": "x", "filtered_resps": ["y"],
        "filter": "none", "metrics": list(metrics), "doc_hash": "h", "prompt_hash": "p", **metrics,
    }  # fmt: skip


def entry(*tasks, name="niah"):
    return Entry(name, [], dict.fromkeys(tasks), None)


RULER = {
    "results": {
        "niah": {
            "alias": "niah", "4096,none": -1, "4096_stderr,none": "N/A", "8192,none": 0.5,
            "8192_stderr,none": 0.1, "16384,none": 1.0, "16384_stderr,none": 0.0,
        }
    },
    "samples": {
        "niah": [
            sample(0, **{"4096": -1.0, "8192": 0.0}), sample(1, **{"4096": -1.0, "8192": 1.0}),
            sample(2, **{"4096": -1.0, "16384": 1.0}),
        ]
    },
    "higher_is_better": {"niah": {"8192": True}},
}  # fmt: skip


def test_a_length_without_samples_is_no_score():
    found = outcome.scores(entry("niah"), RULER, None)
    assert [(s.metric, s.value, s.documents) for s in found] == [
        ("8192", 0.5, 2),
        ("16384", 1.0, 1),
    ]
    assert all(score.shown for score in found)
    assert [line["scores"] for line in outcome.lines(RULER["samples"]["niah"])] == [
        {"8192": 0.0}, {"8192": 1.0}, {"16384": 1.0}
    ]  # fmt: skip


def test_an_average_is_over_tasks_and_of_each_length():
    shown = [
        Score("a", "4096", "none", 1.0, None, 1, True),
        Score("b", "4096", "none", 0.5, None, 1, True),
    ]
    assert table.averages(shown) == [("4096", 0.75, 2)]
    assert table.averages(shown[:1]) == []


def test_of_an_exported_probe_both_scorers_are_shown_unless_one_is_chosen():
    own = {"film,none": 0.5, "film_stderr,none": 0.1, "strict,none": 0.25, "seconds,none": 3.0}
    found = {"results": {"probe": own}, "n-samples": {"probe": {"effective": 4}}}
    for chosen, names in ((None, ["film", "strict"]), ("strict", ["strict"])):
        shown = [s.metric for s in outcome.scores(entry("probe", name="probe"), found, chosen)
                 if s.shown]  # fmt: skip
        assert shown == names


GROUP = {
    "groups": {"both": {"acc,none": 0.75, "acc_stderr,none": 0.1}},
    "results": {
        "both": {"acc,none": 0.75}, "a": {"acc,none": 1.0, "acc_norm,none": 0.5},
        "b": {"acc,none": 0.5, "acc_norm,none": 0.5},
    },
    "n-samples": {"a": {"effective": 2}, "b": {"effective": 2}},
    "group_subtasks": {"both": ["a", "b"]},
}  # fmt: skip


def test_of_a_group_its_own_score_is_shown_and_its_tasks_are_kept():
    found = outcome.scores(entry("a", "b", name="both"), GROUP, "acc")
    assert [(s.task, s.metric, s.shown) for s in found][:2] == [
        ("both", "acc", True),
        ("a", "acc", False),
    ]
    assert found[0].documents == 4 and len(found) == 5


def test_the_chosen_metric_is_the_one_shown():
    found = outcome.scores(
        entry("a", name="a"), {"results": {"a": GROUP["results"]["a"]}}, "acc_norm"
    )
    assert [s.metric for s in found if s.shown] == ["acc_norm"]


def test_scores_come_back_from_their_files(tmp_path):
    scores = outcome.scores(entry("niah"), RULER, None)
    kept = outcome.Outcome("niah", scores, ["niah"], {"niah": 0}, {"niah": 3}, 1.5)
    outcome.write(tmp_path, kept, {"niah": outcome.lines(RULER["samples"]["niah"])})
    assert outcome.read(tmp_path, "niah") == kept
    assert len(outcome.read_samples(tmp_path, ["niah", "gone"])["niah"]) == 3
    assert outcome.read_samples(tmp_path, ["gone"]) == {"gone": []}


def test_only_probes_carry_a_place():
    probe = sample(0, film=1.0) | {"doc": {"set": 1, "position": 2, "depth": 0.5, "task": "code"}}
    assert outcome.lines([probe])[0]["depth"] == 0.5
    assert "set" not in outcome.lines([sample(0, film=1.0)])[0]
