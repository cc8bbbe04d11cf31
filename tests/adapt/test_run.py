"""The verb: an adapter a document, answers, costs; resumed, shared, and asked again."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fullcontext.adapt import run as verb
from fullcontext.adapt import training
from fullcontext.adapt.documents import Given
from fullcontext.compose import ROOT, ConfigError, compose_verb
from tests.adapt.encoders import bert
from tests.adapt.symbols import SYMBOLS, chosen

WORDS = ["epochs.segments=2", "epochs.both=2", "schedule.peak=0.01"]
THREE = "documents.number=3"
ADAPTERS = ("gated_memory", "lora", "full")


def adapted(info, *words: str) -> Path:
    own = words if "documents=given" in words else (THREE, *words)
    config = compose_verb("adapt", [*chosen(words), *WORDS, *own])
    verb.run(config, info(Path("outputs/adapt")))
    return Path(config.output) / config.name


def weights(folder: Path) -> dict[str, str]:
    """Hash of each document's adapter."""
    return {
        path.parents[1].name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("documents/*/adapter/*.safetensors"))
    }


def answers(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_document_gets_an_adapter_answers_and_costs(in_folder, info, adapter: str) -> None:
    folder = adapted(info, f"adapter={adapter}", "answering.others=1")
    found = answers(folder)
    per = {(r["mode"], r["adapted"]) for r in found}
    assert per == {(m, a) for m in ("closed_book", "in_context", "others") for a in (True, False)}
    assert len(found) == 3 * 20 * 6
    assert all(r["document"] != r["adapter"] for r in found if r["mode"] == "others")
    results = json.loads((folder / "results.json").read_text())
    assert results["documents"] == 3 and results["costs"]["training_cpu_s"] > 0
    lessons = (folder / "documents/dictionary-0/adapter/lessons.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lessons]
    assert len(records) == 4 and records[-1]["loss"] < records[0]["loss"]
    assert (folder / "gates.svg").exists() == (adapter == "gated_memory")
    (metrics,) = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert "adapt/closed_book/adapted/all/exact" in metrics


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_depends_on_seed_and_document_alone(in_folder, info, adapter: str) -> None:
    whole = weights(adapted(info, f"adapter={adapter}", "name=whole"))
    adapted(info, f"adapter={adapter}", "name=parts", "parts=2", "part=1")
    parts = weights(adapted(info, f"adapter={adapter}", "name=parts", "parts=2", "part=0"))
    assert whole == parts and len(set(whole.values())) == len(whole) == 3
    assert weights(adapted(info, f"adapter={adapter}", "name=other", "seed=1")) != whole


def test_the_answers_that_are_there_are_scored_by_another_measure_later(
    in_folder, info, monkeypatch
) -> None:
    folder = adapted(info)
    before = answers(folder)
    monkeypatch.setattr(verb.Work, "_train", lambda *_: pytest.fail("it was learnt already"))
    monkeypatch.setattr(verb.Work, "_answer", lambda *_: pytest.fail("it was asked already"))
    (in_folder / "bert").mkdir()
    words = (f"paraphrase.bertscore={bert(in_folder / 'bert').bertscore}", "paraphrase.layer=2")
    adapted(info, *words)
    for old, new in zip(before, answers(folder), strict=True):
        added = {name: new["scores"].pop(name) for name in set(new["scores"]) - set(old["scores"])}
        assert old == new and set(added) == {"bertscore_precision", "bertscore_recall"}
    rows = json.loads((folder / "results.json").read_text())["scores"]
    assert all(0 < row["scores"]["bertscore_recall"]["mean"] <= 1 for row in rows)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_models_own_weights_come_back_bit_by_bit(
    in_folder, info, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    models = []

    def watched(model, *rest):
        models.append(model)
        seen.append({n: p.detach().clone() for n, p in model.named_parameters()})
        return original(model, *rest)

    original = training.train
    monkeypatch.setattr(training, "train", watched)
    adapted(info, f"adapter={adapter}")
    frozen = [
        n for n, p in models[0].named_parameters() if adapter == "full" or not p.requires_grad
    ]
    assert frozen and len(seen) == 3
    for before in seen[1:]:
        assert all(torch.equal(before[name], seen[0][name]) for name in frozen)


def test_what_is_finished_is_not_done_again_and_a_new_question_costs_only_its_answer(
    in_folder, info, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(f"k{i} v{i % 16}" for i in range(20))
    Path("book.txt").write_text(text)
    words = ["documents=given", "document=book.txt"]
    folder = adapted(info, *words, "question='? k1'")
    before = weights(folder)

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "train", refuse)
    adapted(info, *words, "question='? k1'")
    adapted(info, *words, "question='? k2'")
    assert weights(folder) == before
    assert {record["text"] for record in answers(folder)} == {"? k2"}


def test_other_settings_in_the_same_folder_are_refused(in_folder, info) -> None:
    adapted(info)
    with pytest.raises(ConfigError, match=r"schedule\.peak: 0.01 there, 0.02 here"):
        adapted(info, "schedule.peak=0.02")


def test_a_damaged_adapter_is_named(in_folder, info) -> None:
    folder = adapted(info)
    (path,) = folder.glob("documents/dictionary-1/adapter/*.safetensors")
    path.write_bytes(path.read_bytes()[:-8])
    for manifest in folder.glob("documents/dictionary-1/answers-*/manifest.json"):
        manifest.unlink()
    with pytest.raises(ConfigError, match="is not as it was written"):
        adapted(info)


def test_a_part_that_is_not_the_last_leaves_the_summing_up(in_folder, info, capsys) -> None:
    folder = adapted(info, "parts=2", "part=0")
    assert not (folder / "results.json").exists()
    assert "others are not" in capsys.readouterr().out
    adapted(info, "parts=2", "part=1")
    assert json.loads((folder / "results.json").read_text())["documents"] == 3


def test_documents_without_questions_are_summed_up_once_all_are_adapted_to(
    in_folder, info, capsys
) -> None:
    books = [{"text": "k1 v1"}, {"text": "k2 v2"}]
    Path("books.jsonl").write_text("\n".join(map(json.dumps, books)))
    words = ["documents=given", "document=books.jsonl", "parts=2"]
    folder = adapted(info, *words, "part=0")
    assert not (folder / "results.json").exists()
    adapted(info, *words, "part=1")
    assert json.loads((folder / "results.json").read_text())["documents"] == 2


def test_results_are_of_the_documents_of_the_command_alone(in_folder, info) -> None:
    for name in ("a", "b"):
        Path(f"{name}.txt").write_text("k1 v1\nk2 v2\n")
        folder = adapted(info, "documents=given", f"document={name}.txt", "question='? k1'")
    found = json.loads((folder / "results.json").read_text())
    assert found["documents"] == found["costs"]["documents"] == 1


def test_a_judge_may_come_after_the_adapter(in_folder) -> None:
    learnt = []
    for judge in ("judge=none", "judge=openai judge.model=x"):
        config = compose_verb("adapt", [*SYMBOLS, *judge.split()])
        given = Given("x", "x", "k1 v1", ())
        learnt.append(verb.Work(config, None, [given], None, "cpu", None)._learnt(given))
    assert learnt[0] == learnt[1]


def test_more_others_than_there_are_is_refused(in_folder, info) -> None:
    book = {"text": "k1 v1", "questions": [{"question": "? k1", "answers": ["v1"]}]}
    Path("books.jsonl").write_text("\n".join([json.dumps(book)] * 3))
    with pytest.raises(ConfigError, match="has 2 other documents with questions"):
        adapted(info, "documents=given", "document=books.jsonl", "answering.others=3")


def test_a_loss_that_is_not_finite_stops_the_document(
    in_folder, info, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_accumulate", lambda *_: float("nan"))
    with pytest.raises(ConfigError, match="step 1 on document dictionary-0 is not finite"):
        adapted(info)


@pytest.mark.slow
def test_two_processes_at_once_one_of_them_killed_leave_what_one_leaves(in_folder, info) -> None:
    words = [*SYMBOLS, *WORDS, "documents.number=4", "epochs.both=200"]
    whole = adapted(info, "documents.number=4", "epochs.both=200", "name=whole")

    def start(part: int) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "adapt.py"), *words, "name=two", "parts=2"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*command, f"part={part}"], env=environment)

    first, second = start(0), start(1)
    folder = Path("outputs/adapt/two")
    until = time.monotonic() + 120
    while not list(folder.glob("documents/*/adapter/manifest.json")) and time.monotonic() < until:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL and second.wait() == 0
    assert start(0).wait() == 0
    assert weights(folder) == weights(whole)
    assert [r["answer"] for r in answers(folder)] == [r["answer"] for r in answers(whole)]
