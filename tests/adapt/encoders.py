"""Encoders of a few words, for BERTScore."""

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from fullcontext.config import ParaphraseConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SHAPE: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
WORDS += ["the", "cat", "sat", "on", "mat", "a", "dog", "in", "house", "red"]


def saved(folder: Path, made: Any, tokenizer: Any) -> ParaphraseConfig:
    tokenizer.save_pretrained(folder)
    made.save_pretrained(folder)
    return ParaphraseConfig(bertscore=str(folder), layer=2)


def bert(folder: Path) -> ParaphraseConfig:
    """A tiny BERT of three layers that takes 12 tokens."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    made = BertModel(BertConfig(vocab_size=len(WORDS), num_hidden_layers=3, **SHAPE))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=12)
    return saved(folder, made, tokenizer)
