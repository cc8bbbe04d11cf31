"""Fact-free examples: a dictionary of random keys and values, and questions for its values."""

from dataclasses import replace
from functools import lru_cache

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
        self, index: int, questions: int, step: int, generator: np.random.Generator
    ) -> Example:
        """A context of as many items as the drawn length holds, with `questions` of them asked."""
        requested = draw_length(self.config, generator, step)
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
            for place in self._places(questions, len(items), index, generator)
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

    def _places(
        self, questions: int, items: int, index: int, generator: np.random.Generator
    ) -> list[int]:
        """Distinct places of the asked items, by the placement."""
        if questions > items:
            raise ConfigError(
                f"data.questions_per_context={questions}, but the shortest context,"
                f" data.context_range[0]={self.config.context_range[0]}, holds {items} items; raise"
                " it or ask fewer"
            )
        allowed = self._allowed(questions, items)
        if allowed is not None:
            return sorted(generator.choice(allowed, questions, replace=False).tolist())
        before = places(self.config.placement, 1, items - 1, index, self.config, generator)[0]
        return [before] if questions == 1 else sorted(_around(before, questions, items))

    def _allowed(self, questions: int, items: int) -> list[int] | None:
        """Where several questions may ask: `ends` is the first and last sixth, at least."""
        match self.config.placement:
            case Placement.shuffle:
                return list(range(items))
            case Placement.ends:
                edge = max(1, items // 6, -(-questions // 2))
                return [i for i in range(items) if i < edge or i >= items - edge]
            case _:
                return None


def _around(place: int, count: int, items: int) -> range:
    start = min(max(0, place - count // 2), items - count)
    return range(start, start + count)
