"""Fact-free examples: a dictionary of random keys and values, and questions for its values."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import Asks, DataConfig, FormConfig, KeyValueConfig, LengthLaw, Placement
from fullcontext.data.invented import Number
from fullcontext.data.lengths import Law
from fullcontext.data.placement import aim
from fullcontext.data.segments import accumulate
from fullcontext.data.tokens import Prompt
from fullcontext.randomness import rng
from fullcontext.records import Asked, Example, Ids

_TRIED = 8
"""Contexts of a length and form, on average, before the first step."""


def pairs(
    config: KeyValueConfig, form: FormConfig, items: int, generator: np.random.Generator
) -> list[tuple[str, str]]:
    """Distinct keys with random values; what a question quotes of a value stands in one alone."""
    if items > config.num_keys:
        raise ConfigError(
            f"a context of {items} items needs as many keys, but data.key_value.num_keys="
            f"{config.num_keys}; raise it or shorten the contexts"
        )
    keys = generator.choice(config.num_keys, items, replace=False, shuffle=True)
    fields = form.value.count("{")
    values = generator.integers(config.num_values, size=items * fields).reshape(items, fields)
    drawn = [
        (form.key.format(Number(key)), form.value.format(*map(Number, numbers)))
        for key, numbers in zip(keys.tolist(), values.tolist(), strict=True)
    ]
    if "{line}" in form.question:
        lines = Counter(line for _, value in drawn for line in set(_lines(value)))
        return [(key, value) for key, value in drawn if lines[line_of(value)] == 1]
    if "{value}" not in form.question:
        return drawn
    return list({value: (key, value) for key, value in drawn}.values())


def line_of(value: str) -> str:
    """The line of a value that a question quotes, as good as drawn: it follows from the value."""
    lines = _lines(value)
    return lines[zlib.crc32(value.encode()) % len(lines)]


def _lines(value: str) -> list[str]:
    return [line.strip() for line in value.splitlines()]


class Dictionaries:
    """Makes key-value examples: nothing is read, everything follows from the generator."""

    def __init__(self, config: DataConfig, prompt: Prompt) -> None:
        self.config, self.prompt = config, prompt
        self.forms: tuple[FormConfig, ...] = (config.key_value, *config.key_value.forms)
        self._asked = lru_cache(maxsize=1 << 16)(self._ask)

    def check(self, seed: int) -> None:
        """Raises ConfigError where a shortest or longest context cannot be made or holds fewer
        items than are asked for: words differ in tokens, so some of each form are tried."""
        for number, stage in enumerate(self.config.all_stages):
            asked = range(stage.questions_per_context)
            for tokens in sorted(set(stage.context_range)):
                one_length = replace(stage, context_range=[tokens, tokens], length=LengthLaw.fixed)
                for turn in range(_TRIED * len(self.forms)):
                    draw = rng(seed, "tried contexts", number, tokens, turn)
                    self.example(asked, turn, one_length, draw)

    def example(
        self,
        indices: Sequence[int],
        turn: int,
        stage: DataConfig,
        generator: np.random.Generator,
    ) -> Example:
        """A context of as many items as the drawn length holds, one asked for each example id."""
        requested = Law(stage, None).draw(generator)
        number = int(generator.integers(len(self.forms))) if len(self.forms) > 1 else 0
        settings, form = self.config.key_value, self.forms[number]
        everything = pairs(settings, form, self._most_items(requested), generator)
        first, start = self._asked(number, everything[0])
        fixed = len(start) + len(first.prompt) + len(first.answer) + 2
        texts, tokens, total = [], [], fixed
        for key, value in everything:
            text = form.item.format(key=key, value=value)
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
        if tokens:
            tokens[-1] = self.prompt.last(texts[-1])
        items = everything[: len(texts)]
        asked, heads = [], []
        able = askable(stage, [len(ids) for ids in tokens])
        drawn = _positions(stage, len(able), len(indices), turn, generator)
        for index, place in zip(indices, (able[at] for at in drawn), strict=True):
            each, start = self._asked(number, items[place])
            depth = (place + 0.5) / len(items)
            asked.append(replace(each, index=index, depth=depth, position=place))
            heads.append(start)
        context = np.concatenate([heads[0], *tokens])
        return Example(
            indices[0], context, tuple(asked), requested, len(asked), len(items) - len(asked)
        )

    def answer_lengths(self, wanted: int, generator: np.random.Generator) -> list[int]:
        """Tokens of the answers about some random pairs, end token left out."""
        settings = self.config.key_value
        found = []
        for each in range(wanted):
            number = each % len(self.forms)
            drawn = pairs(settings, self.forms[number], 1, generator)
            found.append(len(self._asked(number, drawn[0])[0].answer) - 1)
        return found

    def _most_items(self, tokens: int) -> int:
        """One more than fit: no item is shorter than a key, a value and a newline."""
        return min(tokens // 3 + 1, self.config.key_value.num_keys)

    def _ask(self, number: int, item: tuple[str, str]) -> tuple[Asked, Ids]:
        """The question for an item of a form, and what stands before its context."""
        form = self.forms[number]
        key, value = item
        question = form.question.format(key=key, value=value, line=line_of(value))
        text = form.item.format(key=key, value=value)
        answer = form.answer.format(key=key, value=value, item=text)
        asked = self.prompt.ask(question, answer, id=key, kind="key_value")
        return replace(asked, source="key_value", evidence=1), self.prompt.head(question)


def askable(stage: DataConfig, lengths: Sequence[int]) -> list[int]:
    """The items that questions are about, given the tokens of each.

    Nine items of three tokens with `segment_size=9` and `asks: ends` are three segments of three,
    of which [0, 2, 3, 5, 6, 8] are asked. What fills no segment is one.
    """
    if stage.key_value.asks is Asks.any:
        return list(range(len(lengths)))
    found: list[int] = []
    for start, stop in accumulate(list(lengths), stage.segment_size) or [(0, len(lengths))]:
        edge = max(1, (stop - start) // 6)
        found += [i for i in range(start, stop) if i < start + edge or i >= stop - edge]
    return found


def _positions(
    stage: DataConfig, items: int, questions: int, turn: int, generator: np.random.Generator
) -> list[int]:
    """Distinct places of the asked ones among the askable items, by the placement."""
    if questions > items:
        ends = " at the ends of its segments" * (stage.key_value.asks is Asks.ends)
        raise ConfigError(
            f"data.questions_per_context={questions}, but the shortest context,"
            f" data.context_range[0]={stage.context_range[0]}, holds {items} items{ends}; raise it"
            " or ask fewer"
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
