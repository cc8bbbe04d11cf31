import json
import math
from dataclasses import replace

import torch

from fullcontext.probe import asking
from fullcontext.records import Answer


def an_answer(**changes):
    given = Answer(
        task="code", set=0, position=3, items=20, depth=0.15, context_tokens=900,
        question="which?", gold="é\n", prediction="e", score=0.5, first_logp=-1.25, mean_logp=-2.5,
        length=1024, window=8192, strict=0.0,
    )  # fmt: skip
    return replace(given, **changes)


def test_every_task_is_answered_at_its_positions_in_order(text_model, text, small):
    _, prompt = text
    progress = []
    answers = asking.probe_model(
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
    first = asking.probe_model(text_model, prompt, small.data, small.probe, 0)
    assert asking.probe_model(text_model, prompt, small.data, small.probe, 0) == first
    other = asking.probe_model(text_model, prompt, small.data, small.probe, 1)
    assert other["code"][0].question != first["code"][0].question


def test_training_mode_and_global_randomness_are_left_as_they_were(text_model, text, small):
    _, prompt = text
    state = torch.random.get_rng_state()
    text_model.train()
    try:
        asking.probe_model(text_model, prompt, small.data, small.probe, 0)
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
    answers = asking.probe_model(text_model, prompt, small.data, small.probe, 0)
    assert [answer.score for given in answers.values() for answer in given] == [1.0] * 6


def test_answers_come_back_from_their_file(tmp_path):
    given = {"code": [an_answer(), an_answer(set=1)], "database": [an_answer(task="database")]}
    asking.write_answers(given, tmp_path / "answers", 60)
    names = sorted(path.name for path in (tmp_path / "answers").iterdir())
    assert names == ["code_step000060.jsonl", "database_step000060.jsonl"]
    assert asking.read_answers(tmp_path / "answers" / names[0]) == given["code"]


def test_scalars_are_named_by_task():
    given = {"code": [an_answer(depth=d / 10, score=d % 2, mean_logp=-d) for d in range(10)]}
    values = asking.scalars(given, 5)
    assert set(values) == {
        f"probe/code/{key}" for key in ("avg", "litm", "gap", "worst", "n", "mean_logp", "strict")
    }
    assert values["probe/code/avg"] == 0.5
    assert values["probe/code/n"] == 10
    assert values["probe/code/mean_logp"] == -4.5


def test_lengths_are_not_pooled_into_one_curve():
    short = [an_answer(depth=d / 10, score=1, length=512) for d in range(10)]
    long = [an_answer(depth=d / 10, score=0, length=2048) for d in range(10)]
    values = asking.scalars({"code": short + long}, 5)
    assert values["probe/code/512/avg"] == 1
    assert values["probe/code/2048/avg"] == 0
    assert values["probe/code/avg"] == 0.5
    assert values["probe/code/gap"] == 0  # each curve is flat
    assert values["probe/code/n"] == 20


def test_an_unknown_log_probability_is_null_on_disk_and_no_number_in_memory(tmp_path):
    given = an_answer(first_logp=math.nan, mean_logp=math.nan)
    asking.write_answers({"code": [given]}, tmp_path, 0)
    text = asking.answers_file(tmp_path, "code", 0).read_text()
    assert json.loads(text)["mean_logp"] is None
    (back,) = asking.read_answers(asking.answers_file(tmp_path, "code", 0))
    assert math.isnan(back.mean_logp)
    assert "mean_logp" not in {k.split("/")[-1] for k in asking.scalars({"code": [given]}, 3)}
