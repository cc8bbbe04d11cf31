"""Exported probes, run by lm-eval itself, give the scores that probe.py gives."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import TASKS, Chat
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, tokenizer
from fullcontext.probe import contexts, export, exported_scores, score
from fullcontext.probe.run import ask
from fullcontext.records import Answer

VAL = ["document", "code", "database", "spread"]


@pytest.fixture(scope="module")
def small(text):
    config, _ = text
    probe = replace(
        config.probe, tasks=VAL, context_tokens=[600, 900], contexts=1, questions=3,
        max_new_tokens=6,
    )  # fmt: skip
    return replace(config, probe=probe)


@pytest.fixture(scope="module")
def model_folder(small, tmp_path_factory) -> Path:
    """The model of the probes' tests as a Hugging Face folder, with a chat template."""
    folder = tmp_path_factory.mktemp("model")
    model = load.load(small.model, small.positions)
    model.config._attn_implementation = "sdpa"
    model.save_pretrained(folder)
    tokenizer.load(small.model).save_pretrained(folder)
    return folder


def prompt_of(small, chat: Chat) -> Prompt:
    return Prompt(small.data, chat, Encoder(tokenizer.load(small.model)))


def exported(small, chat: Chat, folder: Path) -> dict:
    prompt = prompt_of(small, chat)
    asked = contexts.build(prompt, small.data, small.probe, 0, 8192)
    export.write(asked, prompt, small.probe, folder)
    return asked


def lm_eval(folder: Path, model: Path, out: Path, *flags: str) -> dict[str, list[dict]]:
    """Task -> samples of the plain command, offline, away from this checkout."""
    command = [
        sys.executable, "-m", "lm_eval", "run", "--include_path", str(folder), "--tasks",
        export.GROUP, "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
        "--device", "cpu", "--log_samples", "--output_path", str(out), *flags,
    ]  # fmt: skip
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(out / "home")}
    done = subprocess.run(
        command, cwd=out, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    files = sorted(out.rglob("samples_*.jsonl"))
    found = {}
    for path in files:
        task = path.name.removeprefix(f"samples_{export.GROUP}_").split("_")[0]
        rows = map(json.loads, path.read_text().splitlines())
        found[task] = sorted(rows, key=lambda row: row["doc_id"])
    return found


def ours(small, asked: dict, chat: Chat) -> dict[str, list[Answer]]:
    model, prompt = load.load(small.model, small.positions).eval(), prompt_of(small, chat)
    given = {task: ask(model, sets, prompt, 6) for task, sets in asked.items()}
    return {
        task: score.with_strict(answers, contexts.golds(asked[task]))
        for task, answers in given.items()
    }


@pytest.mark.parametrize(
    ("chat", "flags"),
    [
        (Chat.inst, []),
        pytest.param(Chat.template, [], marks=pytest.mark.slow),
        pytest.param(Chat.template, ["--apply_chat_template"], marks=pytest.mark.slow),
    ],
)
def test_plain_lm_eval_says_and_scores_what_our_probe_does(
    small, model_folder, tmp_path, chat, flags
):
    asked = exported(small, chat, tmp_path / "probe")
    found = lm_eval(tmp_path / "probe", model_folder, tmp_path, *flags)
    expected = ours(small, asked, chat)
    assert set(found) == set(VAL)
    said = set()
    for task in VAL:
        assert len(found[task]) == len(expected[task]) > 5
        for row, answer in zip(found[task], expected[task], strict=True):
            doc = row["doc"]
            assert row["filtered_resps"] == [answer.prediction]
            assert (row["film"], row["strict"]) == (answer.score, answer.strict)
            assert (doc["position"], doc["set"], doc["length"]) == (
                answer.position, answer.set, answer.length
            )  # fmt: skip
            assert (doc["depth"], doc["distance"]) == (answer.depth, answer.distance)
            said.add(answer.prediction)
    assert len(said) > 3  # the model does read


def test_the_texts_give_the_ids_of_the_probe(small, tmp_path):
    exported(small, Chat.inst, tmp_path)
    readme = (tmp_path / "README.md").read_text()
    assert "gives the token ids that fullcontext asks with" in readme
    assert "- `fullcontext_spread`: 12 questions" in readme or "fullcontext_spread" in readme


def test_a_folder_that_is_written_again_keeps_no_task_of_before(small, tmp_path):
    exported(small, Chat.inst, tmp_path)
    only = replace(small, probe=replace(small.probe, tasks=["code"]))
    exported(only, Chat.inst, tmp_path)
    names = sorted(path.name for path in tmp_path.glob("*.yaml"))
    assert names == ["fullcontext.yaml", "fullcontext_code.yaml"]


def test_the_context_is_written_once_whatever_the_number_of_questions(small, tmp_path):
    asked = exported(small, Chat.inst, tmp_path)
    shared = json.loads((tmp_path / "code_contexts.json").read_text())
    assert sorted(shared) == ["600-0", "900-0"]
    for each in asked["code"]:
        kept = shared[f"{each.length}-{each.set}"]
        assert kept["golds"] == [item.gold for item in each.items]
        assert all(item.text in kept["text"] for item in each.items)


WORDS = st.lists(
    st.sampled_from(
        ["Canillo", "canillo,", "read_file", '"the', "cat.", "Parish", "a", "of", "k1"]
    ),
    max_size=6,
).map(" ".join)
ANY = st.one_of(WORDS, st.text(max_size=20))


@given(
    task=st.sampled_from(TASKS), golds=st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4),
    said=ANY, question=ANY, echo=st.booleans(),
)  # fmt: skip
def test_the_standalone_scores_are_those_of_fullcontext(task, golds, said, question, echo):
    between = {"database": ", description: ", "spread": "; label: "}.get(task)
    texts = [f"label: {a}{between}{b}" if between else a + b for a, b in golds]
    said = said + " " + texts[-1] if echo else said
    gold = texts[0]
    assert exported_scores.film(task, gold, said) == score.film(task, gold, said)
    question = f'the piece "{question}"?' if echo else question
    own = exported_scores.strict(task, gold, said, texts, question)
    assert own == score.strict(task, gold, said, texts, question)


def test_the_scores_of_the_export_need_nothing_of_ours():
    source = Path(exported_scores.__file__).read_text()
    assert "import fullcontext" not in source and "from fullcontext" not in source
    assert not np.isnan(exported_scores.film("code", "name", "name"))
