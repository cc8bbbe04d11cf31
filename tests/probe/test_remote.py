import json
from dataclasses import replace

import pytest

from fullcontext.compose import ConfigError, RunInfo
from fullcontext.config import OpenAIAnswerer
from fullcontext.probe import run as probing
from fullcontext.probe.asking import read_answers
from tests.llm.faults import FaultServer, Good, Status


@pytest.fixture
def endpoint(small, tmp_path):
    """The verb's configuration with an endpoint instead of a model."""

    def made(server, **changes):
        answerer = OpenAIAnswerer(
            base_url=server.url, model="m", concurrency=1, tries=1, longest_pause_s=0.0,
            cache=str(tmp_path / "cache"), give_up_after=3,
        )  # fmt: skip
        probe = replace(small.probe, tasks=["code"], contexts=2)
        return replace(small, probe=probe, answerer=replace(answerer, **changes))

    return made


def right(server_requests=None):
    """Replies with the name of the function that holds the quoted line."""

    def behave(request, count):
        text = request["messages"][0]["content"]
        line = text.rsplit('code snip "', 1)[1].rsplit('"', 1)[0]
        before = text[: text.index(line)]
        return Good(before.rsplit("def ", 1)[1].split(":")[0])

    return behave


def answers(folder):
    return read_answers(folder / "answers" / "code_step000000.jsonl")


def test_an_endpoint_is_asked_context_by_context_and_scored(endpoint, tmp_path):
    with FaultServer(right()) as server:
        probing.run(endpoint(server), RunInfo(tmp_path / "run", {}, []))
        asked = [each["messages"][0]["content"] for each in server.requests]
    given = answers(tmp_path / "run")
    assert [answer.score for answer in given] == [1.0] * 6
    assert [answer.strict for answer in given] == [1.0] * 6
    # The questions of a context follow one another and share everything before the question.
    heads = [text.rsplit("In above context", 1)[0] for text in asked]
    assert heads == [heads[0]] * 3 + [heads[3]] * 3
    assert heads[0] != heads[3]
    record = (tmp_path / "run" / "answers" / "code_step000000.jsonl").read_text().splitlines()[0]
    assert json.loads(record)["mean_logp"] is None


def test_nothing_is_asked_twice_after_a_failure(endpoint, tmp_path):
    def dies(request, count):
        return right()(request, count) if count < 4 else Status(500)

    info = RunInfo(tmp_path / "run", {}, [])
    with FaultServer(dies) as server, pytest.raises(ConfigError, match="run the same command"):
        probing.run(endpoint(server), info)
    with FaultServer(right()) as server:
        config = endpoint(server)
        probing.run(config, info)  # at another port
        assert len(server.requests) == 2
    assert len(answers(tmp_path / "run")) == 6


def test_a_failure_while_others_are_asked_is_one_sentence_and_keeps_what_was_answered(
    endpoint, tmp_path
):
    def fails_last(request, count):
        return Status(500) if count == 5 else right()(request, count)

    info = RunInfo(tmp_path / "run", {}, [])
    with FaultServer(fails_last) as server, pytest.raises(ConfigError, match="has no answer"):
        probing.run(endpoint(server, concurrency=32), info)
    with FaultServer(right()) as server:
        probing.run(endpoint(server), info)
    assert len(answers(tmp_path / "run")) == 6


def test_a_name_of_the_context_that_nobody_asks_for_is_not_strictly_right(endpoint, tmp_path):
    def both(request, count):
        text = request["messages"][0]["content"]
        line = text.rsplit('code snip "', 1)[1].rsplit('"', 1)[0]
        names = [each.split(":")[0] for each in text.split("def ")[1:]]
        own = names[text[: text.index(line)].count("def ") - 1]
        return Good(f"{own} or {names[1]}" if own != names[1] else own)

    with FaultServer(both) as server:
        probing.run(endpoint(server), RunInfo(tmp_path / "run", {}, []))
    given = answers(tmp_path / "run")
    assert 1 not in [answer.position for answer in given]
    assert {answer.score for answer in given} == {1.0}
    assert {answer.strict for answer in given} == {0.0}


def test_a_refused_question_is_counted_and_has_no_answer(endpoint, tmp_path, caplog):
    def refuses(request, count):
        return Status(400, "too long") if count == 1 else right()(request, count)

    with FaultServer(refuses) as server, caplog.at_level("INFO"):
        probing.run(endpoint(server), RunInfo(tmp_path / "run", {}, []))
    assert len(answers(tmp_path / "run")) == 5
    assert "1 questions were refused and have no answer" in caplog.text


def test_an_endpoint_beside_a_run_is_refused(endpoint, tmp_path):
    with FaultServer(right()) as server:
        config = replace(endpoint(server), run=str(tmp_path))
    with pytest.raises(ConfigError, match="beside answerer=openai"):
        probing.run(config, RunInfo(tmp_path / "run", {}, []))
