import json
from dataclasses import replace

import pytest
import torch

from fullcontext.compose import RunInfo, plain, read_yaml
from fullcontext.config import ProbeRunConfig
from fullcontext.probe import run as probing
from fullcontext.records import Answer


def an_answer(**changes):
    given = Answer(
        task="code", set=0, position=3, items=20, depth=0.15, context_tokens=900,
        question="which?", gold="é\n", prediction="e", score=0.5, first_logp=-1.25, mean_logp=-2.5,
    )  # fmt: skip
    return replace(given, **changes)


@pytest.fixture(scope="module")
def small(text):
    """The verb's configuration at the size of a test."""
    config, _ = text
    probe = replace(
        config.probe, tasks=["code", "key_value"], context_tokens=700, contexts=1, questions=3,
        max_new_tokens=3,
    )  # fmt: skip
    return replace(config, probe=probe)


@pytest.fixture
def asked(monkeypatch):
    """The tasks that were asked."""
    seen, ask = [], probing.ask

    def counted(model, sets, *args, **kwargs):
        seen.append(sets[0].task)
        return ask(model, sets, *args, **kwargs)

    monkeypatch.setattr(probing, "ask", counted)
    return seen


def test_every_task_is_answered_at_its_positions_in_order(text_model, text, small):
    _, prompt = text
    progress = []
    answers = probing.probe_model(
        text_model, prompt, small.data, small.probe, 0, progress=progress.append
    )
    assert list(answers) == ["code", "key_value"]
    for task, given in answers.items():
        last = given[0].items - 1
        assert [answer.position for answer in given] == [0, round(last / 2), last]
        assert all(answer.task == task and answer.mean_logp < 0 for answer in given)
    assert progress == [3, 3]


def test_two_calls_ask_the_same_so_that_checkpoints_are_paired(text_model, text, small):
    _, prompt = text
    first = probing.probe_model(text_model, prompt, small.data, small.probe, 0)
    assert probing.probe_model(text_model, prompt, small.data, small.probe, 0) == first
    other = probing.probe_model(text_model, prompt, small.data, small.probe, 1)
    assert other["code"][0].question != first["code"][0].question


def test_training_mode_and_global_randomness_are_left_as_they_were(text_model, text, small):
    _, prompt = text
    state = torch.random.get_rng_state()
    text_model.train()
    try:
        probing.probe_model(text_model, prompt, small.data, small.probe, 0)
        assert text_model.training
        assert all(parameter.grad is None for parameter in text_model.parameters())
    finally:
        text_model.eval()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_gold_reply_scores_1(text_model, text, small, monkeypatch):
    _, prompt = text
    from fullcontext.probe import answer as answering

    def gold(model, example, end, *rest):
        return [
            answering.Reply(one.answer[:-1].tolist(), one.answer * -0.1) for one in example.asked
        ]

    monkeypatch.setattr(answering, "answer", gold)
    answers = probing.probe_model(text_model, prompt, small.data, small.probe, 0)
    assert [answer.score for given in answers.values() for answer in given] == [1.0] * 6


def test_answers_come_back_from_their_file(tmp_path):
    given = {"code": [an_answer(), an_answer(set=1)], "database": [an_answer(task="database")]}
    probing.write_answers(given, tmp_path / "answers", 60)
    names = sorted(path.name for path in (tmp_path / "answers").iterdir())
    assert names == ["code_step000060.jsonl", "database_step000060.jsonl"]
    assert probing.read_answers(tmp_path / "answers" / names[0]) == given["code"]


def test_scalars_are_named_by_task():
    given = {"code": [an_answer(depth=d / 10, score=d % 2, mean_logp=-d) for d in range(10)]}
    values = probing.scalars(given, 5)
    assert set(values) == {
        f"probe/code/{key}" for key in ("avg", "litm", "gap", "worst", "n", "mean_logp")
    }
    assert values["probe/code/avg"] == 0.5
    assert values["probe/code/n"] == 10
    assert values["probe/code/mean_logp"] == -4.5


def test_the_verb_leaves_a_folder_that_says_what_was_done(small, tmp_path, asked, capsys):
    info = RunInfo(tmp_path, {}, [])
    probing.run(small, info)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["verb"], status["name"], status["state"]) == ("probe", "tiny", "finished")
    own = read_yaml(tmp_path / "config.yaml", ProbeRunConfig)
    assert plain(own) == plain(replace(small, name="tiny"))
    assert f"python report.py {tmp_path}" in " ".join(capsys.readouterr().out.split())
    assert asked == ["code", "key_value"]


def test_a_continued_folder_asks_only_what_has_no_file(small, tmp_path, asked):
    info = RunInfo(tmp_path, {}, [])
    probing.run(small, info)
    file = tmp_path / "answers" / "code_step000000.jsonl"
    before = file.read_text()
    file.unlink()
    asked.clear()
    probing.run(small, info)
    assert asked == ["code"]
    assert file.read_text() == before


def test_an_error_is_written_into_the_status(small, tmp_path, monkeypatch):
    def broken(*args):
        raise RuntimeError("the disk is full\nsomewhere")

    monkeypatch.setattr(probing, "ask", broken)
    with pytest.raises(RuntimeError):
        probing.run(small, RunInfo(tmp_path, {}, []))
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", "the disk is full")
