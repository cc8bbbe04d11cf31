from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullcontext.compose import ConfigError
from fullcontext.config import TASKS, KeyValueConfig, QuestionPosition
from fullcontext.data.tokens import Prompt
from fullcontext.probe import contexts, filling
from fullcontext.probe.items import Item

MORE = settings(max_examples=12, deadline=None)


@pytest.fixture(scope="session")
def made(text):
    """A context of Mistral's tokenizer with some settings changed."""
    config, prompt = text

    def make(task, seed=0, index=0, **changes):
        changed = replace(config.probe, **changes)
        return contexts.context(task, prompt, config.data, changed, seed, index)

    return make


@MORE
@given(
    task=st.sampled_from(TASKS),
    seed=st.integers(0, 2**31),
    index=st.integers(0, 99),
    tokens=st.integers(700, 3000),
)
def test_no_question_of_a_context_has_a_second_answer(made, task, seed, index, tokens):
    context = made(task, seed, index, context_tokens=tokens)
    assert contexts.ambiguities(task, context.items) == []


@MORE
@given(
    task=st.sampled_from(TASKS),
    seed=st.integers(0, 2**31),
    tokens=st.integers(700, 1500),
    new=st.integers(1, 128),
)
def test_a_context_is_full_but_never_too_long(made, task, seed, tokens, new):
    context = made(task, seed, context_tokens=tokens, max_new_tokens=new, questions=None)
    asked = context.example.asked
    answer = max(new, *(len(one.answer) for one in asked))
    used = len(context.example.context) + max(len(one.prompt) for one in asked) + answer
    assert tokens - 250 < used <= tokens
    assert len(context.items) >= filling.LEAST_ITEMS
    assert task == "spread" or len(asked) == len(context.items)


@pytest.mark.parametrize("task", TASKS)
def test_the_context_is_the_tokenised_text(made, text, task):
    _, prompt = text
    context = made(task)
    asked, query = context.example.asked[3], context.queries[3]
    texts = [item.text for item in context.items]
    text = prompt.text(texts, query.question)
    row = [prompt.encoder.bos, *prompt.encoder.encode_end(text, start_of_row=True)]
    assert row == [*context.example.context, *asked.prompt]


@pytest.mark.parametrize("task", TASKS)
def test_a_context_is_a_function_of_seed_and_set(made, task):
    assert made(task, 1, 2).items == made(task, 1, 2).items
    assert made(task, 1, 2).items != made(task, 1, 3).items
    assert made(task, 1, 2).items != made(task, 2, 2).items


def test_how_many_are_asked_does_not_change_the_context(made):
    few, every = made("code", questions=3), made("code", questions=None)
    assert few.items == every.items
    assert np.array_equal(few.example.context, every.example.context)


def test_asked_positions_are_evenly_spaced_from_first_to_last(made):
    context = made("code", questions=3)
    last = len(context.items) - 1
    assert [one.position for one in context.example.asked] == [0, round(last / 2), last]
    more, every = made("code", questions=1000), made("code", questions=None)
    places = [one.position for one in every.example.asked]
    assert [one.position for one in more.example.asked] == places == list(range(last + 1))


def test_depth_is_where_the_item_starts_among_the_items(made, text):
    _, prompt = text
    context = made("database", questions=None)
    depths = [one.depth for one in context.example.asked]
    assert depths[0] == 0
    assert depths == sorted(depths)
    first = len(prompt.encoder.encode(context.items[0].text + "\n"))
    assert depths[1] == first / (len(context.example.context) - len(prompt.head("")))


def test_two_answers_to_one_question_are_found():
    one = Item("a b c d", "b c", "?", "a b c d")
    assert contexts.ambiguities("document", [one]) == []
    other = Item("d c b a x", "c b", "?", "d c b a x")  # holds every word of `one`
    assert contexts.ambiguities("document", [one, other]) == ["'d c b a x' is right for 'a b c d'"]
    third = Item("y b c", "y", "?", "y b c")
    assert contexts.ambiguities("document", [one, third]) == ["'b c' is in 2 items"]


def test_text_that_holds_a_special_token_never_enters_a_context(text):
    _, prompt = text

    def keep(one, other):
        return False

    assert filling.stands(Item("x = 1", "x", "?", "x"), [], keep, prompt)
    assert not filling.stands(Item("x = '</s>'", "x", "?", "x"), [], keep, prompt)


def test_too_short_a_context_is_refused_with_the_length_that_is_enough(made):
    with pytest.raises(
        ConfigError, match=r"probe\.context_tokens=300 holds fewer than 10"
    ) as error:
        made("document", context_tokens=300)
    enough = int(str(error.value).split("raise it to ")[1].split()[0])
    assert len(made("document", context_tokens=enough).items) == filling.LEAST_ITEMS


def test_too_few_items_for_the_context_are_refused(symbols):
    config, prompt = symbols
    long = replace(config.probe, context_tokens=1000)
    with pytest.raises(ConfigError, match=r"more than the \d+ unambiguous items.*num_keys"):
        contexts.build(prompt, config.data, long, 0, 1024)


def test_more_tokens_than_positions_are_refused(text):
    config, prompt = text
    with pytest.raises(ConfigError, match="context_tokens=1024 exceeds the model's 512 positions"):
        contexts.build(prompt, config.data, config.probe, 0, 512)


def test_no_task_is_refused(text):
    config, prompt = text
    with pytest.raises(ConfigError, match=r"probe\.tasks is empty"):
        contexts.build(prompt, config.data, replace(config.probe, tasks=[]), 0, 8192)


@pytest.mark.parametrize("task", TASKS)
def test_words_the_tokenizer_does_not_know_are_refused(symbols, task):
    config, prompt = symbols
    data = replace(config.data, key_value=KeyValueConfig())
    with pytest.raises(ConfigError, match=f"does not know the words of the task {task}"):
        contexts.context(task, prompt, data, config.probe, 0, 0)


def test_symbols_are_keys_and_values_the_tokenizer_knows(symbols):
    config, prompt = symbols
    sets = contexts.build(prompt, config.data, config.probe, 0, 1024)["key_value"]
    assert len(sets) == 128
    assert all(contexts.ambiguities("key_value", each.items) == [] for each in sets)
    assert len(sets[0].items) == 12


@pytest.mark.parametrize("position", ["before", "both"])
def test_a_model_that_reads_the_question_first_is_probed_that_way(text, position):
    config, after = text
    data = replace(config.data, question_position=QuestionPosition(position))
    prompt = Prompt(data, config.model.chat, after.encoder)
    wanted = replace(config.probe, tasks=["code"], contexts=2, questions=4)
    found = contexts.build(prompt, data, wanted, 0, 8192)["code"]
    assert [each.set for each in found] == [0] * 4 + [1] * 4
    for each in found:
        (asked,) = each.example.asked
        question = each.items[asked.position].question
        whole = prompt.text([item.text for item in each.items], question)
        row = [prompt.encoder.bos, *prompt.encoder.encode_end(whole, start_of_row=True)]
        assert row == [*each.example.context, *asked.prompt]
        assert whole.index(question) < whole.index(each.items[0].text)
        used = len(row) + max(len(asked.answer), wanted.max_new_tokens)
        assert used <= wanted.context_tokens


def test_a_shorter_context_holds_the_first_items_of_a_longer_one(made):
    short, long = made("code", context_tokens=800), made("code", context_tokens=2000)
    assert long.items[: len(short.items)] == short.items
    assert len(long.items) > len(short.items)


def test_a_budget_takes_the_first_sets_of_every_task_and_length(text):
    config, prompt = text
    probe = replace(
        config.probe, tasks=["code", "database"], context_tokens=[700, 900], contexts=4, questions=3
    )
    asked = contexts.build(prompt, config.data, probe, 0, 8192)
    every = sum(each.tokens for given in asked.values() for each in given)
    half = contexts.within(asked, every // 2 + 200)
    assert {each.set for given in half.values() for each in given} == {0, 1}
    assert [len(given) for given in half.values()] == [4, 4]  # two sets of two lengths
    assert contexts.within(asked, None) == asked
    with pytest.raises(ConfigError, match="budget_tokens=100 does not reach"):
        contexts.within(asked, 100)
