"""Mistral's v1 vocabulary as a fast tokenizer gives SentencePiece's own ids."""

from pathlib import Path

import mistral_common
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from fullcontext.compose import ConfigError
from fullcontext.model import tokenizer
from tests.data.tokenizers import family

MODEL = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
pieces = SentencePieceProcessor(model_file=str(MODEL))
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1).filter(
    lambda t: not any(special in t for special in ("<s>", "</s>", "<unk>", "\x00", "▁"))
)


@given(texts)
def test_ids_are_those_of_sentencepiece(text: str) -> None:
    ids = family("sentencepiece")(text, add_special_tokens=False)["input_ids"]
    assert ids == pieces.encode(text)


def test_repeated_spaces_where_converters_go_wrong() -> None:
    text = "a  b   c    d\n        return  x"
    ids = family("sentencepiece")(text, add_special_tokens=False)["input_ids"]
    assert ids == pieces.encode(text) and family("sentencepiece").decode(ids) == text


def test_saved_and_loaded_it_stays_the_same(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    family("sentencepiece").save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "[INST] Is  it?\n [/INST] Yes."
    assert again(text)["input_ids"] == family("sentencepiece")(text)["input_ids"]
    assert again(text)["input_ids"][0] == again.bos_token_id


def test_symbols_are_one_token_a_word() -> None:
    words = tokenizer.symbols({"k": 3, "v": 2})
    assert words("k2 v1\n? k0")["input_ids"] == [7, 9, 3, 4, 5]


def test_an_unreachable_tokenizer_is_named_with_what_helps(train_config) -> None:
    config = train_config("model=mistral7b").model
    with pytest.raises(ConfigError, match=r"Mistral-7B-Instruct-v0.2.*model.tokenizer=FOLDER"):
        tokenizer.load(config)
