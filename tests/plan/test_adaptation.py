"""What adapting to a document takes."""

import json
from collections import Counter

import pytest
import torch

from fullcontext.adapt import documents
from fullcontext.adapt.adapters import Adapters
from fullcontext.adapt.lessons import Lessons, Text
from fullcontext.compose import ConfigError, compose_verb, write_yaml
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, tokenizer
from fullcontext.plan import adaptation, work
from fullcontext.train import flops
from tests.adapt.symbols import SYMBOLS

TOLD = [*SYMBOLS, "auxiliary.with_context=false", "plan.question_tokens=3", "plan.answer_tokens=2"]


@pytest.mark.parametrize("words", [(), ("contextualise.use=true", "contextualise.tokens=60")])
@pytest.mark.parametrize("told", [0, 0.5, 1])
def test_tokens_of_the_plan_are_those_of_the_lessons(words: tuple[str, ...], told: float) -> None:
    config = compose_verb("adapt", [*TOLD, *words, f"documents.told={told}"])
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    given = documents.read(config, prompt, Counter())[0]
    lessons = Lessons(config, given, Text(given, prompt, Counter()), given.auxiliary, None)
    real = sum(e.tokens for n in range(lessons.epochs) for e in lessons.epoch(n))
    begun = len(lessons._segments(0)) * lessons.epochs if words else 0  # <s> before the sample
    found = adaptation.plan(config)
    assert found.tokens == real - begun
    assert found.examples == len(lessons.epoch(lessons.epochs - 1))


def test_auxiliary_questions_fit_where_they_do_in_training() -> None:
    """The document leaves room for a question and its answer within answering.limit."""
    words = ["experiments=lift_llama8b", "max_tokens=7800", "answering.limit=7800"]
    assert adaptation.plan(compose_verb("adapt", words)).examples == 32 + 10


def test_the_worst_step_is_not_that_of_most_tokens() -> None:
    """Long contexts with few labels have more tokens, segments the larger logits."""
    words = ["experiments=lift_llama8b", "hardware=a100", "epochs.batch_size=4",
             "contextualise.use=false", "segments={tokens:6000,stride:6000}"]  # fmt: skip
    both = compose_verb("adapt", [*words, "auxiliary.number=16"])
    segments = compose_verb("adapt", [*words, "auxiliary.number=0", "epochs.both=0"])
    assert adaptation.plan(both).memory.total >= adaptation.plan(segments).memory.total


@pytest.mark.parametrize(("adapter", "bytes_"), [("gated_memory", 0), ("lora", 0), ("full", 4)])
def test_the_models_own_weights_are_kept_where_they_are_trained(adapter: str, bytes_: int) -> None:
    found = adaptation.plan(compose_verb("adapt", [*TOLD, f"adapter={adapter}", "hardware=cpu"]))
    assert found.memory.parts.get("weights to give back", 0) == bytes_ * found.trained
    assert "checkpoint copy" not in found.memory.parts


@pytest.mark.parametrize("adapter", ["gated_memory", "lora", "full"])
def test_reading_takes_no_adapter_and_training_takes_that_of_the_built_model(adapter: str) -> None:
    config = compose_verb("adapt", [*TOLD, f"adapter={adapter}"])
    net = load.load(config.model, config.positions)
    read = flops.price(net).of(adaptation._example(60, 0))
    assert adaptation.plan(config).read_flops == read
    Adapters(net, config, torch.device("cpu"))
    assert work.price(adaptation._training(config)) == flops.price(net)


def test_the_model_of_a_run_is_planned(tmp_path, train_config) -> None:
    trained = train_config("data=key_value_symbols", "model=symbols", "sharding=none",
                           "model.architecture.num_layers=3")  # fmt: skip
    write_yaml(trained, tmp_path / "config.yaml")
    words = [word for word in TOLD if not word.startswith("model")]
    found = adaptation.plan(compose_verb("adapt", [*words, f"run={tmp_path}"]))
    assert found.trained == trained.model.architecture.num_parameters


def test_the_papers_document_takes_eight_steps_and_what_it_says() -> None:
    found = adaptation.plan(compose_verb("adapt", ["experiments=lift_llama8b", "hardware=a100"]))
    assert (found.document_tokens, found.steps) == (24_005, 8)
    # 32 segments a step, each after a sample of 4,096; from the fourth on ten questions of 100
    # tokens after what fits of the document, which three rows of max_tokens hold in turn.
    segments = 8 * (32 * 4096 + 62_287)
    questions = 5 * (3 * (7800 - 40) + 10 * 100)
    assert found.tokens == pytest.approx(segments + questions, rel=1e-3)
    memories = 32 * 32 * (4 * 128 * 128 + 128 * 11 + 11)
    assert found.trained == memories + 2 * (4096 + 128_256) == 68_826_624
    # Reading takes two FLOPs a weight and token, and attention's 4 * width a pair and layer.
    layers = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336)
    read = 2 * layers * 7800 + 4 * 32 * 4096 * 7800 * 7801 / 2
    assert found.read_flops == pytest.approx(read)
    assert found.crossover == pytest.approx(found.flops / found.read_flops)


def test_a_longer_document_and_more_epochs_cost_more() -> None:
    def flops(*words: str) -> float:
        return adaptation.plan(compose_verb("adapt", ["experiments=lift_llama8b", *words])).flops

    assert flops("document_tokens=48010") == pytest.approx(2 * flops(), rel=0.1)
    assert flops("epochs.both=13") > 1.5 * flops()


def test_it_is_printed_as_a_table_or_as_json(capsys) -> None:
    adaptation.run(["experiments=lift_symbols"])
    assert "150 steps" in capsys.readouterr().out
    adaptation.run(["experiments=lift_llama8b", "hardware=h100", "plan.format=json"])
    found = json.loads(capsys.readouterr().out)
    assert {"seconds", "memory_gib", "crossover_questions"} <= set(found)


def test_each_point_of_a_sweep_is_planned(capsys) -> None:
    words = ["experiments=lift_llama8b", "sweeps=lift_segment_tokens", "hardware=a100"]
    adaptation.run([*words, "plan.format=json"])
    found = json.loads(capsys.readouterr().out)["points"]
    assert [each["overrides"][0] for each in found] == [
        f"segments={{tokens:{n},stride:{n * 3 // 8}}}" for n in (512, 1024, 2048)
    ]
    assert len({each["tokens"] for each in found}) == 3, "shorter ones are more, and each is read"
    adaptation.run(["-m", "experiments=lift_llama8b", "adapter=gated_memory,lora"])
    said = capsys.readouterr().out.split("\n\n")
    assert [part.splitlines()[0] for part in said] == ["adapter=gated_memory", "adapter=lora"]


def test_what_does_not_compose_is_refused() -> None:
    with pytest.raises(ConfigError, match="document is not given"):
        adaptation.run(["model=tiny"])
