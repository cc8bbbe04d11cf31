"""Assembled ids are the ids of the assembled text, whatever is chosen."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullcontext.compose import compose_verb
from fullcontext.config import AnswerStyle, Chat, EvidenceOrder, Placement, QuestionPosition
from fullcontext.data.mixture import Mixture
from fullcontext.data.table import Store
from fullcontext.data.tokens import Encoder, Prompt
from tests.data import stores
from tests.data.tokenizers import FAMILIES, family

DATA = replace(
    compose_verb("train", ["data=in2_laptop", "model=tiny"]).data,
    mixture={"fine_grained": 0.4, "integration": 0.4, "short_context": 0.1, "instruction": 0.1},
    context_range=[800, 2400],
)


@cache
def store(name: str, separator: str) -> tuple[Encoder, Store]:
    encoder, folder = Encoder(family(name)), Path(mkdtemp())
    books = stores.library(24, 4)
    content = stores.write(
        folder, encoder, [books[:12], books[12:]], separator=separator,
        instructions=[("Say “yes”: now", "Yes, 1,000 times!"), ("Add 1 and 1.", "2")],
    )  # fmt: skip
    return encoder, Store(folder, content)


def mixture(name: str, separator: str = "\n", chat: Chat = Chat.inst, **changes) -> Mixture:
    encoder, opened = store(name, separator)
    data = replace(DATA, separator=separator, **changes)
    return Mixture(data, Prompt(data, chat, encoder), opened, 0, 16)


def check(drawn: Mixture, index: int) -> None:
    """The ids of example `index` are those of its text, which is the prompt around segments."""
    tokenizer = drawn.dictionaries.prompt.encoder.tokenizer
    example = drawn.example(index)
    for asked in example.asked:
        ids = np.concatenate([example.context, asked.prompt, asked.answer])
        bos = int(ids[0] == tokenizer.bos_token_id)
        text = tokenizer.decode(ids[bos:-1], clean_up_tokenization_spaces=False)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids[bos:-1].tolist()
        if asked.kind != "instruction":
            assert_made_of_segments(drawn, text, asked.id)


def assert_made_of_segments(drawn: Mixture, text: str, id: str) -> None:
    """The text is the prompt of the question around whole segments, but for one that is cut."""
    opened, prompt = drawn.assembler.store, drawn.dictionaries.prompt
    row = opened.columns["id"].to_pylist().index(id)
    question = opened.at(row).question.question
    before, after = prompt.text(["\0"], question).split("\0")
    assert (
        text.startswith(before) and after in text and text.endswith(opened.at(row).question.answer)
    )
    context = text[len(before) : text.rindex(after)]
    known = sorted((opened.segments.text(n) for n in range(len(opened.segments))), key=len)
    for held in (opened.segments.text(n) for n in opened.at(row).evidence):
        assert held in context
    for segment in reversed(known):
        context = context.replace(segment, "")
    left = [line for line in context.split("\n") if line and not line.startswith("[")]
    assert not left or any("\n".join(left)[:20] in segment for segment in known)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=25)
@given(
    index=st.integers(0, 300),
    placement=st.sampled_from(Placement),
    order=st.sampled_from(EvidenceOrder),
    position=st.sampled_from(QuestionPosition),
    style=st.sampled_from(AnswerStyle),
    separator=st.sampled_from(["\n", "\n\n"]),
    chat=st.sampled_from([Chat.inst, Chat.none]),
)
def test_an_example_is_its_text_tokenised(  # noqa: PLR0913, PLR0917 - drawn one by one
    name, index, placement, order, position, style, separator, chat
) -> None:
    drawn = mixture(
        name, separator, chat, placement=placement, evidence_order=order,
        question_position=position, answer_style=style,
    )  # fmt: skip
    check(drawn, index)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=8)
@given(step=st.integers(0, 50), shared=st.integers(2, 5), style=st.sampled_from(AnswerStyle))
def test_a_shared_context_is_its_text_tokenised_for_every_question(name, step, shared, style):
    check(mixture(name, questions_per_context=shared, answer_style=style), 16 * step + 3)


@pytest.mark.parametrize("name", FAMILIES)
@given(
    text=st.text(min_size=1, max_size=40),
    answer=st.text(min_size=1, max_size=20),
)
def test_questions_and_answers_of_any_text_are_exact(name, text, answer) -> None:
    prompt, tokenizer = Prompt(DATA, Chat.inst, store(name, "\n")[0]), family(name)
    question, answer = f"Q{text}", answer.strip() or "a"
    if any(special in question + answer for special in prompt.encoder.specials):
        return
    asked = prompt.ask(question, answer)
    whole = "a\n" + f"### Instruction:\n{question} [/INST] {answer}"
    expected = tokenizer(whole, add_special_tokens=False)["input_ids"]
    start = tokenizer("a\n", add_special_tokens=False)["input_ids"]
    assert [*start, *asked.prompt, *asked.answer[:-1]] == expected


@pytest.mark.parametrize("name", FAMILIES)
@given(lines=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=3))
def test_the_end_of_a_context_of_any_text_is_exact(name, lines) -> None:
    from fullcontext.data.segments import paragraphs

    prompt = Prompt(DATA, Chat.inst, store(name, "\n")[0])
    for text in paragraphs("\n".join(lines)):
        if any(special in text for special in prompt.encoder.specials):
            continue
        known = prompt.encoder.encode(text + "\n")
        assert prompt.ending(known, text.encode()).tolist() == prompt.last(text).tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_words_are_apart_in_every_family_we_know(name) -> None:
    assert Encoder(family(name)).words_apart


def test_words_that_run_into_each_other_are_noticed() -> None:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE

    from fullcontext.data.tokens import words_apart

    lines = Tokenizer(BPE({"a": 0, " ": 1, "a ": 2}, [("a", " ")]))
    lines.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    assert not words_apart(lines)
    lines.pre_tokenizer = None
    assert not words_apart(lines)
