"""What is learnt of a document."""

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given as draws
from hypothesis import strategies as st

from fullcontext.adapt.documents import Given
from fullcontext.adapt.lessons import Lessons, Text, grouped, pieces
from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import AdaptConfig
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer
from fullcontext.randomness import rng
from tests.adapt.symbols import SYMBOLS, dictionary

IN_CONTEXT = ("contextualise.use=true", "contextualise.tokens=60")


@cache
def composed(*words: str) -> tuple[AdaptConfig, Prompt]:
    config = compose_verb("adapt", [*SYMBOLS, *words])
    return config, Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))


def lessons(*words: str, text: str = dictionary(20), auxiliary: Any = ()) -> Lessons:
    config, prompt = composed(*words)
    given = Given("book", "book", text, ())
    return Lessons(config, given, Text(given, prompt, Counter()), auxiliary, None)


def test_a_text_of_24000_tokens_has_32_segments_of_62272_tokens_in_all() -> None:
    spans = pieces(24_000, 2048, 768)
    assert len(spans) == 32 and sum(stop - start for start, stop in spans) == 62_272


def test_trailing_segments_are_shorter_and_kept() -> None:
    assert [stop - start for start, stop in pieces(2048, 2048, 768)] == [2048, 1280, 512]


@draws(st.integers(1, 5000), st.integers(2, 600), st.integers(1, 600))
def test_segments_leave_no_token_out(tokens: int, length: int, stride: int) -> None:
    covered = np.zeros(tokens, bool)
    for start, stop in pieces(tokens, length, min(stride, length)):
        assert 0 < stop - start <= length
        covered[start:stop] = True
    assert covered.all()


@draws(st.integers(40, 200), st.integers(10, 39), st.integers(0, 1000))
def test_a_sample_has_as_many_tokens_from_the_head_and_the_tail(
    items: int, tokens: int, seed: int
) -> None:
    made = lessons(text=dictionary(items))
    text = made.text
    text._gap = lambda: np.array([-1], np.int32)
    found = text.sample(tokens, rng(seed, "sample"))
    own = found[found != -1]
    assert len(own) == tokens
    cut = np.flatnonzero(found == -1)
    head = found[: cut[0]] if len(cut) else found
    whole = text.ids.tolist()
    for piece in (head, found[cut[0] + 1 :] if len(cut) else head):
        joined = " ".join(map(str, piece.tolist()))
        assert joined in " ".join(map(str, whole))


def test_a_document_that_is_no_longer_than_the_sample_is_the_sample() -> None:
    text = lessons().text
    assert np.array_equal(text.sample(len(text.ids), rng(0, "x")), text.ids)


def test_what_does_not_fit_is_left_out_of_the_middle_and_counted() -> None:
    text = lessons().text
    text._gap = lambda: np.array([-1], np.int32)
    found, left_out = text.within(11)
    assert found.tolist() == [*text.ids[:5], -1, *text.ids[-5:]]
    assert left_out == len(text.ids) - 10 == 50
    assert text.within(60)[1] == 0


def test_segments_alone_are_learnt_whole_after_the_beginning_of_a_text() -> None:
    made = lessons("segments.tokens=30", "segments.stride=30")
    examples = made.epoch(0)
    assert [example.supervised for example in examples] == [30, 30]
    assert [example.tokens for example in examples] == [31, 31]


def test_without_such_a_token_nothing_predicts_the_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = lessons("segments.tokens=30", "segments.stride=30")
    monkeypatch.setattr(made, "_start", np.zeros(0, np.int32))
    assert [example.supervised for example in made.epoch(0)] == [29, 29]


def test_a_contextualised_segment_is_learnt_after_the_sample() -> None:
    made = lessons(*IN_CONTEXT, "segments.tokens=30", "segments.stride=30")
    first = made.epoch(0)[0].asked[0]
    assert first.prompt.tolist() == [1, *made.text.ids.tolist()]
    assert first.answer.tolist() == made.text.ids[:30].tolist()


def test_samples_differ_from_epoch_to_epoch_and_not_from_run_to_run() -> None:
    words = (*IN_CONTEXT[:1], "contextualise.tokens=9", "segments.tokens=30", "segments.stride=15")

    def prompts(epoch: int) -> list[list[int]]:
        made = lessons(*words, text=dictionary(30))
        made.text._gap = lambda: np.array([3], np.int32)
        return [e.asked[0].prompt.tolist() for e in made.epoch(epoch)]

    assert prompts(0) == prompts(0) != prompts(1)


def test_questions_come_in_the_second_stage_and_share_their_document() -> None:
    auxiliary = [("? k1", "v1"), ("? k2", "v2")]
    made = lessons("epochs.segments=1", "epochs.both=1", "segments.tokens=60", "segments.stride=60",
                   auxiliary=auxiliary)  # fmt: skip
    assert len(made.epoch(0)) == 1
    segment, questions = made.epoch(1)
    assert len(questions.asked) == 2 and len(segment.asked) == 1
    assert questions.context.tolist() == [*made.prompt.head(""), *made.text.ids]


def test_closed_book_questions_have_no_document() -> None:
    made = lessons("auxiliary.with_context=false", "epochs.segments=0", auxiliary=[("? k1", "v1")])
    assert not len(made.epoch(0)[-1].context)


def test_one_step_an_epoch_or_batches_of_every_example_once() -> None:
    words = ("segments.tokens=6", "segments.stride=6", "contextualise.use=false")
    assert len(lessons(*words).steps(0)) == 1
    steps = lessons(*words, "epochs.batch_size=4").steps(0)
    assert [len(step) for step in steps] == [4, 4, 2]
    ids = sorted(example.asked[0].id for step in steps for example in step)
    assert ids == sorted(f"segment {i}" for i in range(10))


def test_a_title_comes_first_and_lines_with_special_tokens_are_left_out() -> None:
    _, prompt = composed()
    counted: Counter[str] = Counter()
    text = Text(Given("book", "k9 v9", "k1 v1\n</s> k2\nk3 v3", ()), prompt, counted)
    assert prompt.encoder.tokenizer.decode(text.ids).split() == ["k9", "v9", "k1", "v1", "k3", "v3"]
    assert counted == {"line holds a special token": 1}


def test_a_word_that_the_tokenizer_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know the words of document book"):
        lessons(text="k1 hello\n")


def test_a_document_of_which_nothing_could_be_asked_is_refused() -> None:
    found = lessons("segments.use=false", "auxiliary.number=2", "epochs.segments=0")
    with pytest.raises(ConfigError, match="leaves nothing to learn in epoch 1, with 0 auxiliary"):
        found.epoch(0)


@draws(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 20))
def test_groups_keep_the_order_and_stay_within(sizes: list[int], most: int) -> None:
    groups = grouped(sizes, most)
    assert [place for group in groups for place in group] == list(range(len(sizes)))
    assert all(sum(sizes[i] for i in g) <= most or len(g) == 1 for g in groups)
