"""Dictionaries: distinct keys, right answers, asked where the placement says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import Asks, DataConfig, FormConfig, KeyValueConfig
from fullcontext.data.key_value import askable, line_of, pairs
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer
from fullcontext.randomness import rng


def mixture(train_config, *overrides: str, batch_size: int = 64) -> tuple[Mixture, Encoder]:
    config = train_config("model=symbols", "data=key_value_symbols", *overrides)
    encoder = Encoder(tokenizer.load(config.model))
    prompt = Prompt(config.data, config.model.chat, encoder)
    return Mixture(config.data, prompt, None, 0, batch_size), encoder


def ids_to_words(encoder: Encoder, ids) -> list[str]:
    return encoder.tokenizer.convert_ids_to_tokens(ids.tolist())


def test_the_answer_is_the_value_of_the_key(train_config) -> None:
    drawn, encoder = mixture(train_config, "data.questions_per_context=8")
    for example in drawn.batch(0):
        words = ids_to_words(encoder, example.context)[1:]
        keys, values, newlines = words[0::3], words[1::3], words[2::3]
        assert len(set(keys)) == len(keys) and set(newlines) == {"\n"}
        assert len(example.asked) == 8 and len({a.position for a in example.asked}) == 8
        for asked in example.asked:
            assert ids_to_words(encoder, asked.prompt) == ["?", keys[asked.position]]
            assert ids_to_words(encoder, asked.answer) == [values[asked.position], "</s>"]


def test_ends_asks_the_first_and_last_sixth(train_config) -> None:
    drawn, _ = mixture(train_config, "data.questions_per_context=4", "data.placement=ends")
    asked = {a.position for step in range(4) for e in drawn.batch(step) for a in e.asked}
    items = drawn.batch(0)[0].evidence + drawn.batch(0)[0].fillers
    assert asked == {*range(items // 6), *range(items - items // 6, items)}


def test_the_curriculum_is_a_function_of_the_step(train_config) -> None:
    first = "{steps: 2, context_range: [16, 16], placement: ends, questions_per_context: 2}"
    then = "{steps: 1, context_range: [31, 31]}"
    drawn, _ = mixture(train_config, f"data.curriculum=[{first}, {then}]")
    batches = [drawn.batch(step) for step in range(5)]
    assert [b[0].requested for b in batches] == [16, 16, 31, 43, 43]
    assert [len(b) for b in batches] == [32, 32, 64, 64, 64]
    assert [len(b[0].asked) for b in batches] == [2, 2, 1, 1, 1]
    assert {a.position for e in batches[0] for a in e.asked} == {0, 2}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.questions_per_context=60", "batch_size=60"], "holds 12 items"),
        (["data.context_range=[400,400]"], "num_keys=32"),
    ],
)
def test_impossible_requests_are_refused(train_config, overrides, message) -> None:
    with pytest.raises(ConfigError, match=message):
        mixture(train_config, *overrides, batch_size=60)


def test_a_form_that_is_too_long_for_the_shortest_context_is_refused_at_once(train_config) -> None:
    form = '{key: "{:w}", value: "{:w} {:w}", item: "{key}: {value}", answer: "{item}"}'
    words = ["data=key_value", "model=tiny", "data.context_range=[64,512]"]
    with pytest.raises(ConfigError, match=r"questions_per_context=4.*context_range\[0\]=64, holds"):
        mixture(
            train_config, *words, "data.questions_per_context=4", f"data.key_value.forms=[{form}]"
        )


def test_real_tokenizers_get_sentences(train_config) -> None:
    config = train_config("model=tiny", "data=key_value", "sharding=none")
    encoder = Encoder(tokenizer.load(config.model))
    drawn = Mixture(config.data, Prompt(config.data, config.model.chat, encoder), None, 0, 4)
    example = drawn.example(0)
    text = encoder.tokenizer.decode(example.context)
    key = encoder.tokenizer.decode(example.asked[0].prompt).split("record of ")[1].split("?")[0]
    value = encoder.tokenizer.decode(example.asked[0].answer).removesuffix("</s>").strip()
    assert f"The record of {key} is {value}.\n" in text
    assert example.requested - 20 < example.tokens <= example.requested


@pytest.mark.parametrize("questions", [1, 2, 4])
def test_stratified_asks_every_item_as_often(train_config, questions: int) -> None:
    drawn, _ = mixture(
        train_config, "data.placement=stratified", "data.depth_bins=12",
        f"data.questions_per_context={questions}",
    )  # fmt: skip
    asked = [a.position for step in range(30) for e in drawn.batch(step) for a in e.asked]
    counts = [asked.count(place) for place in range(12)]
    assert min(counts) > 0.7 * len(asked) / 12, counts


CHAPTERS = (
    '{key: "{:w}", value: "{:w} {:w}", item: "Chapter {key}:\n    {value}",'
    " question: 'Which chapter has {value}?', answer: '{key}, in full: {item}'}"
)


def test_each_context_has_one_form_and_every_form_its_share(train_config) -> None:
    config = train_config(
        "model=tiny", "data=key_value", "sharding=none", f"data.key_value.forms=[{CHAPTERS}]",
        "data.questions_per_context=4",
    )  # fmt: skip
    encoder = Encoder(tokenizer.load(config.model))
    drawn = Mixture(config.data, Prompt(config.data, config.model.chat, encoder), None, 0, 128)
    texts = [encoder.tokenizer.decode(example.context) for example in drawn.batch(0)]
    chapters = [text for text in texts if "Chapter " in text]
    assert 8 <= len(chapters) <= 24 and not any("record of" in text for text in chapters)
    assert all("record of" in text for text in texts if text not in chapters)


def test_a_form_may_ask_backwards_and_answer_with_the_whole_item(train_config) -> None:
    config = train_config(
        "model=tiny", "data=key_value", "sharding=none", f"data.key_value.forms=[{CHAPTERS}]",
    )  # fmt: skip
    encoder = Encoder(tokenizer.load(config.model))
    drawn = Mixture(config.data, Prompt(config.data, config.model.chat, encoder), None, 0, 16)
    for example in drawn.batch(0):
        context = encoder.tokenizer.decode(example.context)
        if "Chapter " not in context:
            continue
        asked = encoder.tokenizer.decode(example.asked[0].prompt)
        value = asked.split("Which chapter has ")[1].split("?")[0]
        assert len(value.split()) == 2 and context.count(f"    {value}\n") == 1
        key = context.split(f":\n    {value}\n")[0].split("Chapter ")[-1]
        answer = encoder.tokenizer.decode(example.asked[0].answer).removesuffix("</s>").strip()
        assert answer == f"{key}, in full: Chapter {key}:\n    {value}"


def test_a_question_may_quote_one_line_of_the_value_which_no_other_item_has(train_config) -> None:
    form = FormConfig(
        key="{:w}", value="{:w}\n    {:w}\n    {:d}", item="def {key}:\n    {value}",
        question='Which has "{line}"?', answer="{key}",
    )  # fmt: skip
    few_values = KeyValueConfig(num_keys=40, num_values=60)
    kept = pairs(few_values, form, 40, rng(0, "test"))
    lines = [line for _, value in kept for line in {line.strip() for line in value.splitlines()}]
    asked = [line_of(value) for _, value in kept]
    assert 0 < len(kept) < 40 and all(lines.count(line) == 1 for line in asked)
    places = [value.replace(" ", "").splitlines().index(line_of(value)) for _, value in kept]
    assert set(places) == {0, 1, 2}  # the first line, a middle one, the last

    text = (
        '{key: "{:w}", value: "{:w}\n    {:w}", item: "Chapter {key}:\n    {value}",'
        " question: 'Which has {line}?', answer: '{key}'}"
    )
    config = train_config(
        "model=tiny", "data=key_value", "sharding=none", f"data.key_value.forms=[{text}]",
    )  # fmt: skip
    encoder = Encoder(tokenizer.load(config.model))
    drawn = Mixture(config.data, Prompt(config.data, config.model.chat, encoder), None, 0, 16)
    seen = 0
    for example in drawn.batch(0):
        context = encoder.tokenizer.decode(example.context)
        if "Chapter " in context:
            line = encoder.tokenizer.decode(example.asked[0].prompt).split("Which has ")[1]
            before = context.split(f"    {line.split('?')[0]}\n")[0]
            answer = encoder.tokenizer.decode(example.asked[0].answer).removesuffix("</s>").strip()
            assert before.split("Chapter ")[-1].split(":")[0] == answer
            seen += 1
    assert seen


def test_without_forms_nothing_is_drawn_for_them(train_config) -> None:
    """A run made before there were forms has the same contexts."""
    drawn, encoder = mixture(train_config)
    generator = rng(0, "context", 5)
    keys = generator.choice(32, 15, replace=False, shuffle=True)
    values = generator.integers(16, size=15)
    first = ids_to_words(encoder, drawn.batch(0)[5].context)[1:3]
    assert first == [f"k{keys[0]}", f"v{values[0]}"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"question": "Which?"}, "question='Which.' lacks {key} or {value} or {line}"),
        ({"answer": "yes"}, "answer='yes' lacks"),
        ({"key": "{:w} {:w}"}, "one field"),
        ({"item": "{key}"}, "lacks {key} and {value}"),
    ],
)
def test_a_form_that_asks_nothing_is_refused(setting, message) -> None:
    with pytest.raises(ValueError, match=message):
        FormConfig(**setting)
    with pytest.raises(ValueError, match="forms"):
        KeyValueConfig(value="{:w}")


def nine_items(size: int, asks: str = "ends"):
    overrides = ["data=key_value_symbols", "model=symbols", "sharding=none"]
    asked = [f"data.segment_size={size}", f"data.key_value.asks={asks}"]
    return askable(compose_verb("train", [*overrides, *asked]).data, [3] * 9)


def test_a_writer_that_reads_the_ends_of_segments_leaves_their_middles_unasked() -> None:
    assert nine_items(3) == list(range(9))  # an item alone has no middle
    assert nine_items(6) == [0, 1, 2, 3, 4, 5, 6, 8]  # pairs, and 3 with the rest
    assert nine_items(9) == [0, 2, 3, 5, 6, 8]  # segments of three
    assert nine_items(12) == [0, 3, 4, 8]  # 4 items, and 5 with the rest
    assert nine_items(27) == nine_items(1000) == [0, 8]  # the whole context
    assert nine_items(27, "any") == list(range(9))


@given(st.integers(1, 40), st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_both_ends_of_the_context_are_always_askable(size: int, lengths: list[int]) -> None:
    config = DataConfig(
        name="x", mixture={"key_value": 1.0}, examples={"key_value": 1}, segment_size=size,
        key_value=KeyValueConfig(asks=Asks.ends),
    )  # fmt: skip
    able = askable(config, lengths)
    assert able == sorted(set(able)) and able[0] == 0 and able[-1] == len(lengths) - 1


def test_only_askable_items_are_asked_and_the_context_is_the_same(train_config) -> None:
    shared = ("data.questions_per_context=4", "data.segment_size=18")
    drawn, _ = mixture(train_config, *shared, "data.key_value.asks=ends")
    whole, _ = mixture(train_config, *shared)
    asked = {a.position for step in range(4) for e in drawn.batch(step) for a in e.asked}
    assert asked == {0, 5, 6, 11}
    for one, other in zip(drawn.batch(0), whole.batch(0), strict=True):
        assert one.context.tolist() == other.context.tolist()


def test_more_questions_than_ends_are_refused(train_config) -> None:
    words = ["data.segment_size=36", "data.key_value.asks=ends", "data.questions_per_context=5"]
    with pytest.raises(ConfigError, match="holds 4 items at the ends of its segments"):
        mixture(train_config, *words, "batch_size=5", batch_size=5)
