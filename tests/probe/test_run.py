import json
from dataclasses import replace

import pytest

from fullcontext.compose import RunInfo, plain, read_yaml
from fullcontext.config import ProbeRunConfig
from fullcontext.probe import run as probing
from fullcontext.probe.asking import read_answers


@pytest.fixture
def asked(monkeypatch):
    """The tasks that were asked."""
    seen, ask = [], probing.ask

    def counted(model, sets, *args, **kwargs):
        seen.append(sets[0].task)
        return ask(model, sets, *args, **kwargs)

    monkeypatch.setattr(probing, "ask", counted)
    return seen


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


def test_a_probe_that_is_killed_asks_each_context_once(small, tmp_path, asked, monkeypatch):
    more = replace(small, probe=replace(small.probe, tasks=["code"], contexts=3))
    info = RunInfo(tmp_path, {}, [])
    counted = probing.ask

    def killed(model, sets, *args):
        if sets[0].set == 2:
            raise KeyboardInterrupt
        return counted(model, sets, *args)

    monkeypatch.setattr(probing, "ask", killed)
    with pytest.raises(KeyboardInterrupt):
        probing.run(more, info)
    folder = tmp_path / "answers"
    partial = folder / "code_step000000.jsonl.partial"
    assert len(partial.read_text().splitlines()) == 6
    with partial.open("a") as file:
        file.write('{"task": "code", "set"')  # what a kill in the middle of a write leaves
    monkeypatch.setattr(probing, "ask", counted)
    asked.clear()
    probing.run(more, info)
    assert asked == ["code"]
    answers = read_answers(folder / "code_step000000.jsonl")
    assert [(answer.set, answer.position) for answer in answers] == [
        (set_id, position)
        for set_id in range(3)
        for position in sorted({a.position for a in answers if a.set == set_id})
    ]
    assert len(answers) == 9
    assert not partial.exists()
    assert all(answer.strict is not None for answer in answers)


def test_lengths_are_asked_one_after_another_of_the_same_items(small, tmp_path):
    several = replace(small.probe, tasks=["key_value"], context_tokens=[900, 700])
    probing.run(replace(small, probe=several), RunInfo(tmp_path, {}, []))
    answers = read_answers(tmp_path / "answers" / "key_value_step000000.jsonl")
    assert [answer.length for answer in answers] == [700] * 3 + [900] * 3
    assert answers[0].question == answers[3].question  # the first items are the same
    assert answers[2].items < answers[5].items
    assert {answer.window for answer in answers} == {small.model.architecture.max_positions}
