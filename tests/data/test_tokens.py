"""Joined token arrays are the tokens of the joined text, for every tokenizer family."""

from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import Chat
from fullcontext.data.segments import paragraphs
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.records import IGNORE
from tests.data.tokenizers import FAMILIES, family

characters = st.characters(codec="utf-8", exclude_categories=("Cs", "Co", "Cn"))
lines = st.text(st.one_of(characters, st.sampled_from(list(".,;:!?()'\" \t-_#/1aA"))), max_size=40)
documents = st.lists(lines, min_size=1, max_size=6).map("\n".join).map(paragraphs)


@pytest.mark.parametrize("name", FAMILIES)
@given(documents.filter(bool), st.sampled_from(["\n", "\n\n"]))
def test_segments_join_as_arrays(name: str, pieces: list[str], separator: str) -> None:
    tokenizer, encoder = family(name), Encoder(family(name))
    pieces = [p for p in pieces if not any(s in p for s in encoder.specials)]
    joined = [encoder.encode(piece + separator).tolist() for piece in pieces]
    start = encoder.encode_start("Context:\n").tolist()
    whole = tokenizer("Context:\n" + "".join(p + separator for p in pieces) + "a")["input_ids"]
    bos = 1 if whole[0] == tokenizer.bos_token_id else 0
    assert [*start, *chain.from_iterable(joined)] == whole[bos:-1]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_whole_example_is_its_text_tokenised(name: str, train_config) -> None:
    data = train_config("experiments=demo").data
    tokenizer, chat = family(name), Chat.inst
    encoder = Encoder(tokenizer)
    prompt = Prompt(data, chat, encoder)
    segments = ["First (1).\nMore...", "“Second”!", "Third; and last."]
    asked = prompt.ask("What is it?", "Nothing, really.")
    ids = np.concatenate(
        [
            prompt.head("What is it?"),
            *(encoder.encode(s + "\n") for s in segments[:-1]),
            prompt.last(segments[-1]),
            asked.prompt,
            asked.answer,
        ]
    )
    text = prompt.text(segments, "What is it?") + " Nothing, really."
    expected = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
    assert ids.tolist() == expected


def test_the_prompt_is_the_papers(train_config) -> None:
    data = train_config().data
    prompt = Prompt(data, Chat.inst, Encoder(family("sentencepiece")))
    assert prompt.text(["SEGMENTS"], "QUESTION") == (
        "[INST] Below is a context and an instruction. Based on the information provided in the"
        " context, write a response for the instruction.\n\n### Context:\nSEGMENTS\n\n"
        "### Instruction:\nQUESTION [/INST]"
    )


def test_chat_templates_are_used_where_the_model_has_one(train_config) -> None:
    tokenizer = family("gpt2")
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}"
    )
    prompt = Prompt(train_config().data, Chat.template, Encoder(tokenizer))
    asked = prompt.ask("Why?", "Because.")
    assert tokenizer.decode(prompt.head("")).startswith("<user>\nBelow is a context")
    assert tokenizer.decode(asked.prompt) == "### Instruction:\nWhy?<|end|>\n<assistant>\n"
    assert tokenizer.decode(asked.answer) == "Because.<|end|>"


def test_answer_tokens_alone_carry_loss(train_config) -> None:
    from fullcontext.data.packing import pack
    from fullcontext.records import Example

    tokenizer = family("sentencepiece")
    prompt = Prompt(train_config().data, Chat.inst, Encoder(tokenizer))
    row = pack(
        [Example(0, np.append(prompt.head(""), prompt.last("Text.")), (prompt.ask("Q?", "A b."),))]
    )
    labels = row.labels[row.labels != IGNORE]
    assert tokenizer.decode(labels) == "A b.</s>"


def test_a_tokenizer_that_merges_over_newlines_is_refused() -> None:
    class Merging:
        all_special_tokens = ()
        bos_token_id, eos_token_id = None, 0
        model = None
        get_added_tokens_decoder = dict

        @property
        def backend_tokenizer(self) -> "Merging":
            return self

        def encode_batch_fast(self, texts: list[str], add_special_tokens: bool) -> list[object]:
            return [SimpleNamespace(ids=[sum(t[:3].encode()), *t[3:].encode()]) for t in texts]

    with pytest.raises(ValueError, match="merges"):
        Encoder(Merging()).encode("b c\n")
