import pytest

from fullcontext.compose import ConfigError
from fullcontext.report import groups, wording
from fullcontext.report.runs import read
from tests.report.folders import write_run


def runs(tmp_path, *configs, **status):
    folders = [write_run(tmp_path / f"run{index}", **status) for index in range(len(configs))]
    for folder, config in zip(folders, configs, strict=True):
        (folder / "config.yaml").write_text(config)
    return [read(folder) for folder in folders]


def test_only_differing_keys_are_shown(tmp_path):
    found = groups.differing(
        runs(
            tmp_path,
            "seed: 0\nlr: 1.0e-3\ndata: {size: 64}",
            "seed: 1\nlr: 0.001\ndata: {size: 128}",
        )
    )
    assert found == {"seed": ["0", "1"], "data.size": ["64", "128"]}


def test_names_and_claims_are_no_difference(tmp_path):
    assert groups.differing(runs(tmp_path, "name: a\nclaim: x", "name: b\nclaim: y")) == {}


def test_a_missing_section_is_no_difference_but_a_missing_key_is(tmp_path):
    found = groups.differing(
        runs(tmp_path, "data: {a: 1, b: 2}\nschedule: {peak: 1}", "data: {a: 1}")
    )
    assert found == {"data.b": ["2", wording.NOTHING]}


def test_labels_are_unique_and_short(tmp_path):
    found = [read(write_run(tmp_path / f"{index}", name="n" * 80)) for index in range(2)]
    names = [each.label for each in groups.group(found)]
    assert len(set(names)) == 2
    assert all(len(name) <= wording.LABEL_LENGTH + 3 for name in names)


def test_runs_that_differ_in_their_seed_alone_are_one_group(tmp_path):
    given = [f"seed: {seed}\nname: n{seed}\nlr: {lr}" for lr in (1, 2) for seed in (0, 1, 2)]
    found = groups.group(runs(tmp_path, *given, name=""))
    assert [(each.label, each.runs) for each in found] == [
        ("lr=1", (0, 1, 2)),
        ("lr=2", (3, 4, 5)),
    ]


def test_one_seed_twice_is_no_second_seed(tmp_path):
    found = groups.group(runs(tmp_path, *["seed: 0", "seed: 1", "seed: 0"]))
    assert [each.runs for each in found] == [(0, 1), (2,)]


def test_probes_of_two_runs_are_no_seeds_of_one_another(tmp_path):
    found = groups.group(runs(tmp_path, "run: a\nseed: 0", "run: b\nseed: 0"))
    assert [each.runs for each in found] == [(0,), (1,)]


def test_groups_of_a_sweep_are_ordered_by_value(tmp_path):
    given = runs(tmp_path, "size: 128", "size: 32", "size: 64", name="sweep")
    assert [each.label for each in groups.group(given, by_value=True)] == [
        "size=32",
        "size=64",
        "size=128",
    ]
    assert groups.group(given)[0].label == "size=128"


def test_a_baseline_is_found_by_label_value_name_and_folder(tmp_path):
    given = runs(tmp_path, "data: {size: 1}", "data: {size: 2}")
    found = groups.group(given)
    for wanted in ("run1", "size=2", "data.size=2", str(tmp_path / "run1")):
        assert groups.find(found, given, wanted).index == 1
    assert groups.find(found, given, None).index == 0
    with pytest.raises(ConfigError, match="nothing is no run on the page; give one of run0, run1"):
        groups.find(found, given, "nothing")


def test_weights_of_their_own_seed_make_runs_seeds_of_one_setting(tmp_path):
    own = [f"seed: {seed}\ninit: runs/seed{seed}" for seed in (0, 1, 10)]
    other = ["seed: 1\ninit: runs/seed10", "seed: 0\ninit: runs/seed0/other"]
    found = groups.group(runs(tmp_path, *own, *other))
    assert [each.runs for each in found] == [(0, 1, 2), (3,), (4,)]
