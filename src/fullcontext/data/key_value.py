"""Fact-free examples: a dictionary of random keys and values, and questions for its values."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, KeyValueConfig, Placement
from fullcontext.data.lengths import Law
from fullcontext.data.placement import aim
from fullcontext.data.tokens import Prompt
from fullcontext.records import Asked, Example, Ids


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
        self,
        indices: Sequence[int],
        turn: int,
        stage: DataConfig,
        generator: np.random.Generator,
    ) -> Example:
        """A context of as many items as the drawn length holds, one asked for each example id."""
        requested = Law(stage, None).draw(generator)
        settings = self.config.key_value
        everything = pairs(settings, self._most_items(requested), generator)
        first, start = self._asked(everything[0])
        fixed = len(start) + len(first.prompt) + len(first.answer) + 2
        texts, tokens, total = [], [], fixed
        for key, value in everything:
            text = settings.item.format(key=key, value=value)
            ids = self.prompt.encoder.cached(text + self.prompt.separator)
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
        asked, heads = [], []
        drawn = _positions(stage, len(items), len(indices), turn, generator)
        for index, place in zip(indices, drawn, strict=True):
            each, start = self._asked(items[place])
            depth = (place + 0.5) / len(items)
            asked.append(replace(each, index=index, depth=depth, position=place))
            heads.append(start)
        context = np.concatenate([heads[0], *tokens])
        return Example(
            indices[0], context, tuple(asked), requested, len(asked), len(items) - len(asked)
        )

    def answer_lengths(self, wanted: int, generator: np.random.Generator) -> list[int]:
        """Tokens of some random values, end token left out."""
        settings = self.config.key_value
        values = generator.integers(settings.num_values, size=wanted).tolist()
        found = [self._asked((settings.key.format(0), settings.value.format(v))) for v in values]
        return [len(asked.answer) - 1 for asked, _ in found]

    def _most_items(self, tokens: int) -> int:
        """One more than fit: no item is shorter than a key, a value and a newline."""
        return min(tokens // 3 + 1, self.config.key_value.num_keys)

    def _ask(self, item: tuple[str, str]) -> tuple[Asked, Ids]:
        """The question for an item, and what stands before its context."""
        key, value = item
        question = self.config.key_value.question.format(key=key)
        asked = self.prompt.ask(question, value, id=key, kind="key_value")
        return replace(asked, source="key_value", evidence=1), self.prompt.head(question)


def _positions(
    stage: DataConfig, items: int, questions: int, turn: int, generator: np.random.Generator
) -> list[int]:
    """Distinct places of the asked items, by the placement."""
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
            place = int(aim(stage, turn, generator) * items)
            start = min(max(0, place - questions // 2), items - questions)
            return list(range(start, start + questions))
    return sorted(generator.choice(allowed, questions, replace=False).tolist())
