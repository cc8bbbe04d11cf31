"""What adapting to a document takes."""

import json
from collections import Counter

import pytest

from fullcontext.adapt.documents import Given
from fullcontext.adapt.lessons import Lessons, Text
from fullcontext.compose import ConfigError, compose_verb
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer
from fullcontext.plan import adaptation
from tests.adapt.symbols import SYMBOLS, dictionary


@pytest.mark.parametrize("words", [(), ("contextualise.use=true", "contextualise.tokens=60")])
def test_tokens_of_the_plan_are_those_of_the_lessons(words: tuple[str, ...]) -> None:
    config = compose_verb("adapt", [*SYMBOLS, *words])
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    given = Given("book", "book", dictionary(20), ())
    lessons = Lessons(config, given, Text(given, prompt, Counter()), (), None)
    real = sum(e.tokens for n in range(lessons.epochs) for e in lessons.epoch(n))
    begun = len(lessons.epoch(0)) * lessons.epochs if words else 0  # <s> before the sample
    assert adaptation.plan(config).tokens == real - begun


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
    assert found.read_flops == pytest.approx(read, rel=0.02)  # the memory's own products
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


def test_what_does_not_compose_is_refused() -> None:
    with pytest.raises(ConfigError, match="document is not given"):
        adaptation.run(["model=tiny"])
