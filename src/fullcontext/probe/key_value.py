"""The fact-free probe: the value of a random key (arXiv 2406.19292); needs no text."""

from collections.abc import Iterator

import numpy as np

from fullcontext.config import KeyValueConfig
from fullcontext.probe.items import Item
from fullcontext.randomness import rng


def candidates(config: KeyValueConfig, seed: int, index: int) -> Iterator[Item]:
    """Pairs in the order of context `index`; no key and no value comes twice."""
    keys = _distinct(rng(seed, "key_value probe, keys", index), config.num_keys)
    fields = config.value.count("{")
    values = _distinct(rng(seed, "key_value probe, values", index), config.num_values**fields)
    for number, other in zip(keys, values, strict=False):
        digits = [other // config.num_values**place % config.num_values for place in range(fields)]
        key, value = config.key.format(number), config.value.format(*digits)
        if key == value:
            continue
        text = config.item.format(key=key, value=value)
        yield Item(text, key, config.question.format(key=key), value)


def _distinct(draw: np.random.Generator, below: int) -> Iterator[int]:
    """All numbers below `below` in a random order, drawn as they are needed."""
    seen: set[int] = set()
    while len(seen) < below:
        number = int(draw.integers(below))
        if number not in seen:
            seen.add(number)
            yield number


def clash(one: Item, other: Item) -> bool:
    """Whether `other` has the key of `one` as key or value, or its value as value."""
    return one.mark in (other.mark, other.gold) or one.gold == other.gold
