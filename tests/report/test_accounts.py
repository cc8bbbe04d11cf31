from fullcontext.report import findings
from fullcontext.report.accounts import SHOWN, cost, data_groups, fits
from fullcontext.report.runs import read
from tests.report.folders import write_run


def amounts(examples):
    return {"examples": examples, "tokens": 10 * examples, "supervised_tokens": examples}


def found(*runs):
    return findings.find(list(runs), baseline=None, permutations=100, seed=0)


def test_hours_are_seconds_times_ranks_and_add_up(tmp_path):
    gpu = write_run(tmp_path / "a", seconds=1800.0, ranks=8, device="cuda")
    cpu = write_run(tmp_path / "b", seconds=3600.0, ranks=2, device="cpu")
    (cpu / "config.yaml").write_text("seed: 0\nlr: 1\n")
    given = cost(found(read(gpu), read(cpu)))
    assert [row["hours"] for row in given["rows"]] == ["4 GPU-h", "2 CPU-h"]
    assert given["total"] == "4 GPU-h + 2 CPU-h"
    assert not given["mfu"]


def test_accounts_are_tables_with_shares_and_the_smallest_sources_together(trained):
    run = read(trained)
    sources = {f"host{i:02d}": amounts(3) for i in range(SHOWN)} | {
        "a": amounts(1),
        "b": amounts(2),
    }
    run.data["by_source"] = sources
    run.data["by_length"] = {"4-7": amounts(1), "8-11": amounts(3)}
    run.data["by_depth"] = {"0-1": amounts(4)}
    lengths, by_source = data_groups(found(run))[0]["amounts"]
    assert [row["cells"][0]["share"] for row in lengths["rows"]] == ["25.0 %", "75.0 %"]
    assert [row["cells"][1]["value"] for row in lengths["rows"]] == ["10", "30"]
    assert by_source["rows"][-1]["name"] == "others" and len(by_source["rows"]) == SHOWN + 1
    assert by_source["rows"][-1]["cells"][0]["value"] == "3"
    assert by_source["note"] == f" The {SHOWN} largest of {SHOWN + 2}; data.json has them all."


def test_both_tests_of_fit_are_named_and_one_that_fails_is_enough():
    given = {"law": "uniform", "p_value": 0.5, "ks_p_value": 0.001}
    assert fits(given, "law") == (
        "law uniform. chi-square: p 0.5, Kolmogorov-Smirnov: p 0.001: departs from what was"
        " requested."
    )
    assert fits({"law": "fixed"}, "law") == "law fixed. No test recorded."
