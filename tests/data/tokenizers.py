"""One tokenizer of each family, built in code from a little text."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import mistral_common
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from fullcontext.model import tokenizer

TEXT = [
    "The receipts (in dollars) were 1,234.56; the outlays, 987.\n\nThat is all...\n",
    "def f(x):\n    return x  # why?\n\n\n\nclass A:\n\tpass\n",
    "“Quoted,” she said — twice! Ça va? 你好，世界。\r\n🙂🙂\n- a\n- b\n",
] * 20
TIKTOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(pre: Any) -> Any:
    model = Tokenizer(BPE())
    model.pre_tokenizer = pre
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    model.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=model, eos_token="<|end|>", clean_up_tokenization_spaces=False
    )


@cache
def family(name: str) -> Any:
    """`sentencepiece` (Mistral v1), `gpt2` (SmolLM2, Qwen), `tiktoken` (Llama 3) or `tekken`
    (Mistral's, with the pattern of the file that mistral-common ships)."""
    match name:
        case "sentencepiece":
            return tokenizer.mistral_v1()
        case "gpt2":
            return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
        case _:
            pattern = TIKTOKEN if name == "tiktoken" else _tekken()
            split = pre_tokenizers.Split(Regex(pattern), "isolated")
            bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            return _byte_level(pre_tokenizers.Sequence([split, bytes_]))


def _tekken() -> str:
    data = Path(mistral_common.__file__).parent / "data"
    head = (data / "tekken_240911.json").read_text("utf-8")[:2000]
    return json.loads(head[head.index('"pattern":') + 10 : head.index('"num_vocab')].rstrip(" ,\n"))


FAMILIES = ("sentencepiece", "gpt2", "tiktoken", "tekken")
