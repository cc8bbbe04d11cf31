"""Fact-free examples: a dictionary of random keys and values, and questions for its values."""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, KeyValueConfig, Placement
from fullcontext.data.contexts import draw_length, places
from fullcontext.data.tokens import Prompt
from fullcontext.records import Asked, Example


def pairs(
    config: KeyValueConfig, items: int, generator: np.random.Generator
) -> list[tuple[str, str]]:
    """Distinct keys with random values."""
    if items > config.num_keys:
        raise ConfigError(
            f"a context of {items} items needs as many keys, but data.key_value.num_keys="
            f"{config.num_keys}; raise it or shorten the contexts"
        )
    keys = generator.choice(config.num_keys, items, replace=False, shuffle=True)
    values = generator.integers(config.num_values, size=items)
    return [
        (config.key.format(key), config.value.format(value))
        for key, value in zip(keys.tolist(), values.tolist(), strict=True)
    ]


class Dictionaries:
    """Makes key-value examples: nothing is read, everything follows from the generator."""

    def __init__(self, config: DataConfig, prompt: Prompt) -> None:
        self.config, self.prompt = config, prompt
        self._asked = lru_cache(maxsize=1 << 16)(self._ask)

    def example(
        self, index: int, turn: int, stage: DataConfig, generator: np.random.Generator
    ) -> Example:
        """A context of as many items as the drawn length holds, `questions_per_context` of them
        asked."""
        requested = draw_length(stage, generator)
        settings, encode = self.config.key_value, self.prompt.encoder.cached
        everything = pairs(settings, self._most_items(requested), generator)
        first = self._asked(everything[0])
        fixed = len(self.prompt.head) + len(first.prompt) + len(first.answer) + 2
        texts, tokens, total = [], [], fixed
        for key, value in everything:
            text = settings.item.format(key=key, value=value)
            ids = encode(text + self.prompt.separator)
            if total + len(ids) > requested:
                break
            texts.append(text)
            tokens.append(ids)
            total += len(ids)
        else:
            raise ConfigError(
                f"data.key_value.num_keys={settings.num_keys} distinct keys fill {total} of"
                f" {requested} tokens; raise it or shorten the contexts (data.context_range)"
            )
        tokens[-1] = self.prompt.last(texts[-1])
        items = everything[: len(texts)]
        asked = tuple(
            replace(self._asked(items[place]), depth=(place + 0.5) / len(items), position=place)
            for place in _positions(stage, len(items), turn, generator)
        )
        context = np.concatenate([self.prompt.head, *tokens]).astype(np.int32)
        return Example(index, context, asked, requested, len(asked), len(items) - len(asked))

    def _most_items(self, tokens: int) -> int:
        """One more than fit: no item is shorter than a key, a value and a newline."""
        return min(tokens // 3 + 1, self.config.key_value.num_keys)

    def _ask(self, item: tuple[str, str]) -> Asked:
        key, value = item
        question = self.config.key_value.question.format(key=key)
        return self.prompt.ask(question, value, id=key, kind="key_value")


def _positions(
    stage: DataConfig, items: int, turn: int, generator: np.random.Generator
) -> list[int]:
    """Distinct places of the asked items, by the placement."""
    questions = stage.questions_per_context
    if questions > items:
        raise ConfigError(
            f"data.questions_per_context={questions}, but the shortest context,"
            f" data.context_range[0]={stage.context_range[0]}, holds {items} items; raise it or"
            " ask fewer"
        )
    match stage.placement:
        case Placement.shuffle:
            allowed = list(range(items))
        case Placement.ends:
            edge = max(1, items // 6, -(-questions // 2))
            allowed = [i for i in range(items) if i < edge or i >= items - edge]
        case Placement.stratified if questions > 1:
            edges = np.linspace(0, items, questions + 1).round().astype(int)
            return [int(generator.integers(a, b)) for a, b in pairwise(edges)]
        case _:
            place = places(stage, 1, items - 1, turn, generator)[0]
            start = min(max(0, place - questions // 2), items - questions)
            return list(range(start, start + questions))
    return sorted(generator.choice(allowed, questions, replace=False).tolist())
