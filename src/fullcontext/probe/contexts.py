"""Probed contexts: as many items as fit, none truncated, no question ambiguous."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, ProbeConfig, ProbeSource
from fullcontext.data.tokens import Prompt
from fullcontext.probe import filling, released, spread
from fullcontext.probe.items import Item, Query
from fullcontext.probe.released import ReleasedSet
from fullcontext.probe.score import Context, film
from fullcontext.records import Example

log = logging.getLogger("fullcontext")


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """One context ("set" in VaL) of a task, and the questions asked of it."""

    task: str
    set: int
    length: int
    """Tokens that were asked for: prompt and longest answer counted in."""
    items: tuple[Item, ...]
    """In their order in the context."""
    queries: tuple[Query, ...]
    example: Example
    """The context, and the queries as tokens."""

    @property
    def golds(self) -> list[str]:
        """The right answers about its items; about those that are asked together, too."""
        return [item.gold for item in self.items if item.gold]

    @property
    def tokens(self) -> int:
        """Tokens that run through the model: the context once, and every query."""
        return self.example.tokens


def golds(sets: Iterable[ProbeContext]) -> dict[Context, list[str]]:
    """What score.with_strict wants to know of some contexts."""
    return {(each.task, each.length, each.set): each.golds for each in sets}


def build(
    prompt: Prompt, data: DataConfig, config: ProbeConfig, seed: int, max_positions: int
) -> dict[str, list[ProbeContext]]:
    """The contexts of every task, lengths rising: a function of the arguments alone, so that
    checkpoints are paired.

    Raises ConfigError as `check` does, and if the tokenizer does not know the text, a context
    holds fewer than filling.LEAST_ITEMS, or a task has too few items to fill one.
    """
    check(config, max_positions)
    return {
        task: [
            each
            for tokens in config.lengths
            for index in range(_sets(task, config))
            for each in _separated(context(task, prompt, data, config, seed, index, tokens), prompt)
        ]
        for task in dict.fromkeys(config.tasks)
    }


def check(config: ProbeConfig, max_positions: int) -> None:
    """Raises ConfigError for settings that no tokenizer is needed to refuse."""
    if not config.tasks:
        raise ConfigError("probe.tasks is empty; choose probe=val or probe=key_value")
    if config.longest > max_positions:
        raise ConfigError(
            f"probe.context_tokens={config.longest} exceeds the model's {max_positions}"
            " positions; shorten it or choose a model with more positions"
        )


def context(  # noqa: PLR0913, PLR0917 - what a context is a function of
    task: str,
    prompt: Prompt,
    data: DataConfig,
    config: ProbeConfig,
    seed: int,
    index: int,
    tokens: int | None = None,
) -> ProbeContext:
    """Context `index` of a task with at most `tokens` (the longest of the config's lengths)."""
    tokens = tokens or config.longest
    if config.source is ProbeSource.released:
        return _released(task, prompt, config, index, tokens)
    items = filling.fill(
        task, filling.stock(task, data, config, seed, index), prompt, config, tokens
    )
    depths = _depths(items, prompt)
    if task == "spread":
        queries = spread.queries(items, depths, config.questions, seed, index)
    else:
        places = positions(list(range(len(items))), config.questions)
        queries = [Query(items[i].question, items[i].gold, i, depths[i]) for i in places]
    return _context(task, index, tokens, items, queries, prompt)


def _released(
    task: str, prompt: Prompt, config: ProbeConfig, index: int, tokens: int
) -> ProbeContext:
    assert config.path is not None
    given = _read(task, config.path)[index]
    fitting = filling.cut(task, list(given.items), prompt, config, tokens)
    items = list(given.items[:fitting])
    if fitting < len(given.items):
        log.info(
            "%s, set %d: the first %d of %d items fit into %d tokens",
            task, given.set, fitting, len(given.items), tokens,
        )  # fmt: skip
    depths = _depths(items, prompt)
    asked = [i for i, item in enumerate(items) if item.question]
    places = positions(asked, config.questions)
    queries = [Query(items[i].question, items[i].gold, i, depths[i]) for i in places]
    return _context(task, given.set, tokens, items, queries, prompt)


@lru_cache(maxsize=8)
def _read(task: str, path: str) -> list[ReleasedSet]:
    return [released.unambiguous(task, each) for each in released.read(task, path)]


def _sets(task: str, config: ProbeConfig) -> int:
    if config.source is not ProbeSource.released:
        return config.contexts
    assert config.path is not None
    there = len(_read(task, config.path))
    if there < config.contexts:
        log.warning("probe.contexts=%d, but the release has %d of %s", config.contexts, there, task)
    return min(config.contexts, there)


def _depths(items: Sequence[Item], prompt: Prompt) -> list[float]:
    lengths = [len(prompt.encoder.encode(item.text + prompt.separator)) for item in items[:-1]]
    starts = [0, *accumulate([*lengths, len(prompt.last(items[-1].text))])]
    return [start / starts[-1] for start in starts[:-1]]


def _context(
    task: str,
    index: int,
    tokens: int,
    items: Sequence[Item],
    queries: Sequence[Query],
    prompt: Prompt,
) -> ProbeContext:
    segments = [prompt.encoder.encode(item.text + prompt.separator) for item in items[:-1]]
    segments.append(prompt.last(items[-1].text))
    asked = tuple(
        replace(
            prompt.ask(query.question, query.gold, kind=task),
            id=f"{task}-{tokens}-{index}-{query.position}",
            depth=query.depth,
            position=query.position,
        )
        for query in queries
    )
    example = Example(index, np.concatenate([prompt.head(queries[0].question), *segments]), asked)
    return ProbeContext(task, index, tokens, tuple(items), tuple(queries), example)


def _separated(asked: ProbeContext, prompt: Prompt) -> list[ProbeContext]:
    """One context for all questions, or one for each where the prompt asks before the context."""
    if not prompt.asks_before:
        return [asked]
    rest = asked.example.context[len(prompt.head(asked.queries[0].question)) :]
    found = []
    for query, question in zip(asked.queries, asked.example.asked, strict=True):
        head = prompt.head(query.question)
        example = Example(asked.set, np.concatenate([head, rest]), (question,))
        found.append(replace(asked, queries=(query,), example=example))
    return found


def positions(there: list[int], questions: int | None) -> list[int]:
    """Evenly spaced ones of some positions with the first and the last, or all of them."""
    if questions is None or questions >= len(there):
        return there
    return [there[int(i)] for i in np.linspace(0, len(there) - 1, questions).round()]


def within(
    asked: dict[str, list[ProbeContext]], budget: int | None
) -> dict[str, list[ProbeContext]]:
    """The first contexts of each task and length, as many as a budget of tokens reads.

    Of every task and length equally many are asked, shorter ones of the budget first. Raises
    ConfigError if it does not reach for one of each.
    """
    if budget is None:
        return asked
    sets = sorted({each.set for given in asked.values() for each in given})
    used = 0
    taken: set[int] = set()
    for index in sets:
        cost = sum(each.tokens for given in asked.values() for each in given if each.set == index)
        if used + cost > budget and not taken:
            raise ConfigError(
                f"probe.budget_tokens={budget} does not reach for one context of each task and"
                f" length ({cost} tokens); raise it, or lower probe.questions"
            )
        if used + cost > budget:
            break
        used += cost
        taken.add(index)
    return {task: [each for each in given if each.set in taken] for task, given in asked.items()}


def ambiguities(task: str, items: Sequence[Item]) -> list[str]:
    """Every way in which the questions of a context have more than one answer; none is expected.

    Looks at all pairs by the metric itself, independently of the tasks' `clash`.
    """
    found = []
    for item in items:
        holding = [other for other in items if _holds(task, other.text, item.mark)]
        if holding != [item]:
            found.append(f"{item.mark!r} is in {len(holding)} items")
        others = (other for other in items if other is not item)
        right = (o.gold for o in others if film(task, item.gold, o.gold) == 1)
        found += [f"{gold!r} is right for {item.gold!r}" for gold in right]
    return found


def _holds(task: str, text: str, mark: str) -> bool:
    # A key is a word: k1 is not in "k12 v3".
    if task == "key_value":
        return re.search(rf"(?<!\w){re.escape(mark)}(?!\w)", text) is not None
    return mark in text
