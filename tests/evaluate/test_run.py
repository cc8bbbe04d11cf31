"""evaluate.py with the real lm-evaluation-harness, offline, on a model of two layers."""

import gc
import json
import sys
from pathlib import Path

import pytest

from fullcontext.compose import ConfigError
from fullcontext.evaluate import plan as planning
from fullcontext.evaluate import run as evaluating_run
from fullcontext.evaluate.run import run
from fullcontext.model import load, tokenizer
from tests.evaluate.served import serving

pytestmark = pytest.mark.filterwarnings("ignore")


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def shown(folder: Path) -> dict[str, float]:
    return {s["task"]: s["value"] for s in results(folder)["scores"] if s["shown"]}


def samples(folder: Path, task: str) -> list[dict]:
    return list(map(json.loads, (folder / "samples" / f"{task}.jsonl").read_text().splitlines()))


@pytest.fixture(scope="module")
def evaluated(evaluating, tmp_path_factory) -> Path:
    from fullcontext.compose import RunInfo

    folder = tmp_path_factory.mktemp("evaluated")
    run(evaluating("+suite.shots.tiny_choice=2"), RunInfo(folder, {}, []))
    return folder


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The entries that were asked."""
    seen, ask = [], evaluating_run._ask

    def counted(entry, *args):
        seen.append(entry.name)
        ask(entry, *args)

    monkeypatch.setattr(evaluating_run, "_ask", counted)
    return seen


def test_a_folder_says_what_was_evaluated_and_scored(evaluated):
    status = json.loads((evaluated / "status.json").read_text())
    assert (status["verb"], status["name"], status["state"]) == ("evaluate", "tiny", "finished")
    found = results(evaluated)
    assert found["shots"] == {"tiny_choice": 2, "tiny_saying": 0} and found["lm_eval"]
    for task, metric in (("tiny_choice", "acc"), ("tiny_saying", "exact_match")):
        rows = samples(evaluated, task)
        mean = sum(row["scores"][metric] for row in rows) / len(rows)
        assert len(rows) == 8 and shown(evaluated)[task] == pytest.approx(mean)
    assert len({row["prediction"] for row in samples(evaluated, "tiny_saying")}) > 1


def test_a_run_is_continued_where_it_stopped(evaluating, tmp_path, run_info, asked):
    run(evaluating("suite.tasks=[tiny_saying]"), run_info(tmp_path))
    before = (tmp_path / "samples" / "tiny_saying.jsonl").stat().st_mtime_ns
    run(evaluating(), run_info(tmp_path))
    assert asked == ["tiny_saying", "tiny_choice"]
    assert (tmp_path / "samples" / "tiny_saying.jsonl").stat().st_mtime_ns == before
    assert set(shown(tmp_path)) == {"tiny_choice", "tiny_saying"}
    with pytest.raises(ConfigError, match="holds scores with another limit"):
        run(evaluating("limit=3"), run_info(tmp_path))


def test_a_finished_folder_loads_no_model(evaluating, evaluated, run_info, monkeypatch):
    monkeypatch.setattr(planning, "_load", lambda plan: pytest.fail("a model was loaded"))
    run(evaluating("+suite.shots.tiny_choice=2"), run_info(evaluated))


def test_against_itself_nothing_differs(evaluating, evaluated, tmp_path, run_info, capsys):
    run(evaluating("+suite.shots.tiny_choice=2", f"reference={evaluated}"), run_info(tmp_path))
    for delta in results(tmp_path)["deltas"]:
        assert (delta["delta"], delta["p"], delta["holm"], delta["documents"]) == (0, 1, 1, 8)
    assert "against the reference" in capsys.readouterr().out


def test_another_model_is_compared_document_by_document(evaluating, evaluated, tmp_path, run_info):
    run(evaluating(f"reference={evaluated}", "seed=5"), run_info(tmp_path))
    found = {delta["task"]: delta for delta in results(tmp_path)["deltas"]}
    own = shown(tmp_path)["tiny_choice"] - shown(evaluated)["tiny_choice"]
    assert found["tiny_choice"]["delta"] == pytest.approx(own)
    assert found["tiny_choice"]["note"] == "worked examples differ: tiny_choice 0 and 2"


def test_a_group_shows_its_own_score(evaluating, tmp_path, run_info):
    run(evaluating("suite.tasks=[tiny_group]"), run_info(tmp_path))
    found = results(tmp_path)
    assert list(shown(tmp_path)) == ["tiny_group"]
    assert {score["task"] for score in found["scores"]} == {
        "tiny_group",
        "tiny_choice",
        "tiny_saying",
    }
    assert len(samples(tmp_path, "tiny_choice")) == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["suite.tasks=[gossip]"], "lm-eval knows no task 'gossip'.*tasks.include=FOLDER"),
        (["data_folder=nowhere"], r"the data set made/up \(easy\) is not on this machine.*nowhere"),
        (["tasks.include=nowhere"], "tasks.include='nowhere' is no folder"),
        (["reference=nowhere"], "reference='nowhere' has no results.json"),
        (["max_length=12"], r"8 documents of tiny_choice do not fit.*long=middle"),
        (["max_length=9000"], "max_length=9000 exceeds the model's 8192"),
        (["run=nowhere"], "run='nowhere' is not the folder of a training run"),
        (["step=3"], "step=3 needs a run"),
        (["model=symbols", "chat_template=true"], "no chat template"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_before_a_model_is_loaded(
    evaluating, tmp_path, run_info, monkeypatch, overrides, message
):
    monkeypatch.setattr(planning, "_load", lambda plan: pytest.fail("a model was loaded"))
    with pytest.raises(ConfigError, match=message):
        run(evaluating(*overrides), run_info(tmp_path, *overrides))


def test_without_lm_eval_the_package_is_named(evaluating, tmp_path, run_info, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.api", None)
    with pytest.raises(ConfigError, match=r"needs the package lm_eval.*fullcontext\[eval\]"):
        run(evaluating(), run_info(tmp_path))


def test_over_long_prompts_lose_their_middle_where_that_is_asked_for_and_are_counted(
    evaluating, tmp_path, run_info
):
    run(evaluating("long=middle", "max_length=11"), run_info(tmp_path))
    assert results(tmp_path)["cut"] == {"tiny_choice": 8, "tiny_saying": 8}


def test_prompts_in_the_chat_template_are_other_prompts(evaluating, evaluated, tmp_path, run_info):
    run(evaluating("chat_template=true"), run_info(tmp_path))
    one, other = (samples(folder, "tiny_saying")[0] for folder in (tmp_path, evaluated))
    assert one["doc_hash"] == other["doc_hash"] and one["prompt_hash"] != other["prompt_hash"]


@pytest.fixture
def server(evaluating, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    config = evaluating()
    model = load.load(config.model, config.positions).eval()
    model.set_attn_implementation("sdpa")
    with serving(model, tokenizer.load(config.model)) as (url, state):
        yield url, state


def test_an_endpoint_gives_the_scores_of_the_model_behind_it(
    evaluating, evaluated, server, model_folder, tmp_path, run_info
):
    url, state = server
    config = evaluating(
        f"endpoint.url={url}", "endpoint.model=served", f"endpoint.tokenizer={model_folder}",
        "endpoint.max_length=8192", "endpoint.key_variable=SOME_KEY",
        "+suite.shots.tiny_choice=2", f"reference={evaluated}",
    )  # fmt: skip
    run(config, run_info(tmp_path))
    assert shown(tmp_path) == shown(evaluated)
    own, theirs = (samples(folder, "tiny_saying") for folder in (tmp_path, evaluated))
    assert [row["prediction"] for row in own] == [row["prediction"] for row in theirs]
    assert {body["model"] for body in state.asked} == {"served"}
    assert set(state.headers) == {"Bearer secret"}
    assert json.loads((tmp_path / "status.json").read_text())["name"] == "served"


def test_a_chat_endpoint_is_asked_in_turns_and_gives_no_choices(
    evaluating, server, tmp_path, run_info
):
    url, state = server
    chat = [f"endpoint.url={url}", "endpoint.model=m", "endpoint.chat=true", "chat_template=true"]
    run(evaluating(*chat, "suite.tasks=[tiny_saying]"), run_info(tmp_path))
    assert samples(tmp_path, "tiny_saying")[0]["prediction"] == "said What has "
    assert all(body["messages"][0]["role"] == "user" for body in state.asked)
    with pytest.raises(ConfigError, match=r"tiny_choice compares log-likelihoods.*tokenizer"):
        run(evaluating(*chat), run_info(tmp_path / "other"))


def test_a_server_that_fails_or_is_not_there_is_said_in_a_sentence(
    evaluating, server, tmp_path, run_info, caplog
):
    url, state = server
    state.fails = True
    config = [f"endpoint.url={url}", "endpoint.model=m", "endpoint.tries=1"]
    with pytest.raises(ConfigError, match=r"failed 1 times.*finished tasks are kept"):
        run(evaluating(*config, "suite.tasks=[tiny_saying]"), run_info(tmp_path))
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "failed"
    many = [*config, "endpoint.concurrency=4"]
    with pytest.raises(ConfigError, match=r"failed 1 times.*finished tasks are kept"):
        run(evaluating(*many, "suite.tasks=[tiny_saying]"), run_info(tmp_path / "many"))
    gc.collect()  # what nobody waited for complains when it goes
    assert not [each for each in caplog.records if each.name == "asyncio"]
    gone = ["endpoint.url=http://127.0.0.1:9/v1", "endpoint.model=m", "suite.tasks=[tiny_saying]"]
    with pytest.raises(ConfigError, match=r"does not answer.*start the server"):
        run(evaluating(*gone), run_info(tmp_path / "gone"))


def test_perplexities_stand_beside_tasks(evaluating, tmp_path, run_info):
    small = [
        "suite.perplexity.documents=2", "suite.perplexity.tokens=300",
        "suite.perplexity.trunc_len=64", "suite.perplexity.sliding_window=32",
        "suite.perplexity.alpha=0.1", "suite.perplexity.beta=-20", "suite.tasks=[tiny_saying]",
    ]  # fmt: skip
    run(evaluating(*small), run_info(tmp_path / "one"))
    found = {(s["task"], s["metric"]): s for s in results(tmp_path / "one")["scores"]}
    assert found["longppl", "longppl"]["value"] > 1 < found["short_ppl", "ppl"]["value"]
    assert found["longppl", "ppl"]["higher_is_better"] is False
    assert [row["tokens"] for row in samples(tmp_path / "one", "longppl")] == [299, 299]
    run(evaluating(*small, "seed=5", f"reference={tmp_path / 'one'}"), run_info(tmp_path / "two"))
    deltas = {(d["task"], d["metric"]): d for d in results(tmp_path / "two")["deltas"]}
    assert deltas["short_ppl", "ppl_nats"]["documents"] == 2
    assert deltas["short_ppl", "ppl_nats"]["p"] is not None
