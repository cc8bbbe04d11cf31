"""Tasks of a few questions, and a model of two layers that answers at random but firmly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fullcontext.compose import RunInfo, compose_verb
from fullcontext.config import EvaluateConfig
from fullcontext.model import load, tokenizer

CHOICE = """\
task: tiny_choice
dataset_path: made/up
dataset_name: easy
output_type: multiple_choice
test_split: test
fewshot_split: train
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: answer
doc_to_choice: choices
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
SAYING = """\
task: tiny_saying
dataset_path: made/up
dataset_name: easy
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["zzz"], max_gen_toks: 4, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
GROUP = """\
group: tiny_group
task: [tiny_choice, tiny_saying]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""
COLOURS = ["red", "blue", "green", "a very long colour"]


@pytest.fixture(scope="session")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    texts = {"choice": CHOICE, "saying": SAYING, "group": GROUP}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tasks name: made/up, configuration easy."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "made" / "up" / "easy").mkdir(parents=True)
    for split, number in (("test", 8), ("train", 4)):
        rows = [
            {
                "question": f"What has the number {i * 7} {split}?",
                "choices": COLOURS,
                "answer": i % 4,
            }
            for i in range(number)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "made" / "up" / "easy" / f"{split}.jsonl").write_text(lines)
    return folder


@pytest.fixture(scope="session")
def evaluating(tasks_folder: Path, data_folder: Path) -> Callable[..., EvaluateConfig]:
    """The typed config of `evaluate.py suite=custom OVERRIDES` at the size of a test."""

    def make(*overrides: str) -> EvaluateConfig:
        config = compose_verb(
            "evaluate",
            [
                "suite=custom", "suite.tasks=[tiny_choice,tiny_saying]", "precision=fp32",
                f"tasks.include={tasks_folder}", f"data_folder={data_folder}", *overrides,
            ],
        )  # fmt: skip
        sizes = config.model.architecture
        sizes.hidden_size, sizes.num_layers, sizes.intermediate_size = 64, 2, 64
        sizes.initializer_range = 0.4
        return config

    return make


@pytest.fixture(scope="session")
def model_folder(
    evaluating: Callable[..., EvaluateConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That model and its tokenizer as a Hugging Face folder."""
    config, folder = evaluating(), tmp_path_factory.mktemp("model")
    model: Any = load.load(config.model, config.positions)
    model.config._attn_implementation = "sdpa"
    model.save_pretrained(folder)
    tokenizer.load(config.model).save_pretrained(folder)
    return folder


@pytest.fixture
def run_info() -> Callable[..., RunInfo]:
    return lambda folder, *overrides: RunInfo(folder, {}, list(overrides))
