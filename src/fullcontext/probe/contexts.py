"""Probed contexts: as many items as fit, none truncated, no question ambiguous."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, ProbeConfig
from fullcontext.data.tokens import Prompt
from fullcontext.probe import code, database, document, key_value
from fullcontext.probe.items import Item
from fullcontext.probe.score import score
from fullcontext.records import Asked, Example, Ids

LEAST_ITEMS = 10
"""Fewer positions than this make no curve."""


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """One context ("set" in VaL) of a task, and the questions asked of it."""

    task: str
    set: int
    items: tuple[Item, ...]
    """In their order in the context."""
    example: Example
    """The context, and the asked questions with their item's `position` and `depth`."""


@dataclass(frozen=True, slots=True)
class _Source:
    candidates: Iterator[Item]
    clash: Callable[[Item, Item], bool]
    remedy: str
    """What to change when the candidates run out."""


def build(
    prompt: Prompt, data: DataConfig, config: ProbeConfig, seed: int, max_positions: int
) -> dict[str, list[ProbeContext]]:
    """The contexts of every task: a function of the arguments alone, so checkpoints are paired.

    Raises ConfigError as `check` does, and if the tokenizer does not know the text, a context
    holds fewer than LEAST_ITEMS, or a task has too few items to fill one.
    """
    check(config, max_positions)
    return {
        task: [
            each
            for index in range(config.contexts)
            for each in _separated(context(task, prompt, data, config, seed, index), prompt)
        ]
        for task in dict.fromkeys(config.tasks)
    }


def check(config: ProbeConfig, max_positions: int) -> None:
    """Raises ConfigError for settings that no tokenizer is needed to refuse."""
    if not config.tasks:
        raise ConfigError("probe.tasks is empty; choose probe=val or probe=key_value")
    if config.context_tokens > max_positions:
        raise ConfigError(
            f"probe.context_tokens={config.context_tokens} exceeds the model's {max_positions}"
            " positions; shorten it or choose a model with more positions"
        )


def context(
    task: str, prompt: Prompt, data: DataConfig, config: ProbeConfig, seed: int, index: int
) -> ProbeContext:
    """Context `index` of a task."""
    source = _source(task, data, seed, index)
    items, asked = _fill(task, source, prompt, config)
    segments = [prompt.encoder.encode(item.text + prompt.separator) for item in items[:-1]]
    segments.append(prompt.last(items[-1].text))
    starts = [0, *accumulate(len(segment) for segment in segments)]
    questions = tuple(
        replace(asked[i], id=f"{task}-{index}-{i}", depth=starts[i] / starts[-1], position=i)
        for i in _positions(len(items), config.questions)
    )
    head = prompt.head(items[questions[0].position or 0].question)
    example = Example(index, np.concatenate([head, *segments]), questions)
    return ProbeContext(task, index, tuple(items), example)


def _separated(asked: ProbeContext, prompt: Prompt) -> list[ProbeContext]:
    """One context for all questions, or one for each where the prompt asks before the context."""
    if not prompt.asks_before:
        return [asked]
    first, *others = asked.example.asked
    assert first.position is not None
    head = prompt.head(asked.items[first.position].question)
    rest = asked.example.context[len(head) :]
    found = []
    for question in (first, *others):
        assert question.position is not None
        head = prompt.head(asked.items[question.position].question)
        example = Example(asked.set, np.concatenate([head, rest]), (question,))
        found.append(replace(asked, example=example))
    return found


def _source(task: str, data: DataConfig, seed: int, index: int) -> _Source:
    shorter = "shorten probe.context_tokens"
    match task:
        case "document":
            return _Source(document.candidates(seed, index), document.clash, shorter)
        case "code":
            return _Source(code.candidates(seed, index), code.clash, shorter)
        case "database":
            return _Source(database.candidates(seed, index), database.clash, shorter)
        case "key_value":
            pairs = key_value.candidates(data.key_value, seed, index)
            more = "raise data.key_value.num_keys and num_values"
            return _Source(pairs, key_value.clash, f"{shorter} or {more}")
        case _:
            raise AssertionError(f"no probe for {task}")


def _fill(
    task: str, source: _Source, prompt: Prompt, config: ProbeConfig
) -> tuple[list[Item], list[Asked]]:
    """Items and their questions until the next would not fit beside the longest of each."""
    items: list[Item] = []
    asked: list[Asked] = []
    head, before, longest, answer, needed = 0, 0, 0, config.max_new_tokens, 0
    for item in source.candidates:
        if not _stands(item, items, source.clash, prompt):
            continue
        question = prompt.ask(item.question, item.gold, kind=task)
        last = prompt.last(item.text)
        _refuse_unknown(task, prompt, last, question)
        longest, answer = max(longest, len(question.prompt)), max(answer, len(question.answer))
        head = max(head, len(prompt.head(item.question)))
        needed = head + before + len(last) + longest + answer
        if needed > config.context_tokens and len(items) >= LEAST_ITEMS:
            return items, asked
        items.append(item)
        asked.append(question)
        before += len(prompt.encoder.encode(item.text + prompt.separator))
        if needed > config.context_tokens and len(items) == LEAST_ITEMS:
            raise ConfigError(
                f"probe.context_tokens={config.context_tokens} holds fewer than {LEAST_ITEMS} items"
                f" of the task {task}; raise it to {needed} or more, or lower"
                f" probe.max_new_tokens={config.max_new_tokens}"
            )
    raise ConfigError(
        f"probe.context_tokens={config.context_tokens} is more than the {len(items)} unambiguous"
        f" items of the task {task} fill ({needed} tokens); {source.remedy}"
    )


def _stands(
    item: Item, items: list[Item], clash: Callable[[Item, Item], bool], prompt: Prompt
) -> bool:
    """Whether the item can join the others; text that holds a special token never can."""
    if any(special in item.text + item.question for special in prompt.encoder.specials):
        return False
    return not any(clash(item, other) or clash(other, item) for other in items)


def _refuse_unknown(task: str, prompt: Prompt, item: Ids, asked: Asked) -> None:
    unknown = prompt.encoder.tokenizer.unk_token_id
    if unknown is not None and any(unknown in ids for ids in (item, asked.prompt, asked.answer)):
        raise ConfigError(
            f"probe.tasks: the model's tokenizer does not know the words of the task {task};"
            " choose probe=key_value with the data it is made for"
            " (model=symbols: data=key_value_symbols), or a model with a tokenizer for text"
        )


def _positions(items: int, questions: int | None) -> list[int]:
    """Evenly spaced positions with the first and the last, or all of them."""
    if questions is None or questions >= items:
        return list(range(items))
    return [int(i) for i in np.linspace(0, items - 1, questions).round()]


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
        right = (o.gold for o in others if score(task, item.gold, o.gold) == 1)
        found += [f"{gold!r} is right for {item.gold!r}" for gold in right]
    return found


def _holds(task: str, text: str, mark: str) -> bool:
    # A key is a word: k1 is not in "k12 v3".
    if task == "key_value":
        return re.search(rf"(?<!\w){re.escape(mark)}(?!\w)", text) is not None
    return mark in text
