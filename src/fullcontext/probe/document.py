"""VaL's bi-directional probe: which sentence holds these words (IN2, section 3)."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from fullcontext.config import SotuCorpus
from fullcontext.data import corpus, sentences
from fullcontext.probe.items import Item, in_turn
from fullcontext.randomness import rng

LEAST_WORDS, MOST_WORDS = 17, 31
"""The range of the released sentences."""
PIECE_WORDS = 8
QUESTION = 'In above context, which sentence contains the piece "{piece}"?'


def candidates(seed: int, index: int) -> Iterator[Item]:
    """Sentences of presidents' messages in the order of context `index`."""
    draw = rng(seed, "document probe", index)
    for sentence in in_turn(_messages(), _sentences, draw):
        words = sentence.split()
        start = int(draw.integers(len(words) - PIECE_WORDS + 1))
        piece = " ".join(words[start : start + PIECE_WORDS])
        yield Item(sentence, piece, QUESTION.format(piece=piece), sentence)


@lru_cache(maxsize=1)
def _messages() -> tuple[str, ...]:
    read = corpus.read(SotuCorpus(), 0, Counter())
    return tuple(message.text for message in sorted(read, key=lambda message: message.id))


@lru_cache(maxsize=512)
def _sentences(message: str) -> tuple[str, ...]:
    found = (
        " ".join(sentence.split())
        for paragraph in message.split("\n")
        for sentence in sentences.split(paragraph)
        if sentences.is_plain(sentence, LEAST_WORDS, MOST_WORDS)
    )
    return tuple(dict.fromkeys(found))


def clash(one: Item, other: Item) -> bool:
    """Whether `other` holds the piece of `one`, or every word of its sentence."""
    return one.mark in other.text or words(one.gold) <= words(other.text)


@lru_cache(maxsize=65536)
def words(text: str) -> frozenset[str]:
    """What VaL's metric counts: lower-cased, split at white space, punctuation kept."""
    return frozenset(text.lower().split())
