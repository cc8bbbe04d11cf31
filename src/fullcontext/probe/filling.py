"""Items of a task until a context is full."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, ProbeConfig, ProbeSource
from fullcontext.data.tokens import Prompt
from fullcontext.probe import code, database, document, key_value, pieces, spread
from fullcontext.probe.items import Item
from fullcontext.records import Asked, Ids

LEAST_ITEMS = 10
"""Fewer positions than this make no curve."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What a context of a task may be made of."""

    candidates: Iterator[Item]
    clash: Callable[[Item, Item], bool]
    remedy: str
    """What to change when the candidates run out."""


def stock(task: str, data: DataConfig, config: ProbeConfig, seed: int, index: int) -> Stock:
    """The candidates of context `index` in their order."""
    shorter = "shorten probe.context_tokens"
    match task:
        case "document":
            return Stock(_found(task, config, seed, index), document.clash, shorter)
        case "code":
            return Stock(_found(task, config, seed, index), code.clash, shorter)
        case "database":
            return Stock(_found(task, config, seed, index), database.clash, shorter)
        case "spread":
            entities = _found("database", config, seed, index)
            return Stock(spread.candidates(entities), spread.clash, shorter)
        case "key_value":
            pairs = key_value.candidates(data.key_value, seed, index)
            more = "raise data.key_value.num_keys and num_values"
            return Stock(pairs, key_value.clash, f"{shorter} or {more}")
        case _:
            raise AssertionError(f"no probe for {task}")


def _found(task: str, config: ProbeConfig, seed: int, index: int) -> Iterator[Item]:
    if config.source is ProbeSource.pieces:
        assert config.path is not None
        return pieces.candidates(task, config.path, seed, index)
    match task:
        case "document":
            return document.candidates(seed, index)
        case "code":
            return code.candidates(seed, index)
        case _:
            return database.candidates(seed, index)


class Room:
    """How much of a context is taken: head, items, and the longest question and answer."""

    def __init__(self, prompt: Prompt, config: ProbeConfig, tokens: int) -> None:
        self.prompt, self.tokens = prompt, tokens
        self.least_answer = config.max_new_tokens
        self.head = self.before = self.question = 0
        self.answer = config.max_new_tokens

    def needed(self, last: Ids, head: Ids, asked: Asked | None) -> int:
        """Tokens of a context that ends with an item, given what has joined before."""
        question = len(asked.prompt) if asked else 0
        answer = len(asked.answer) if asked else 0
        self.head, self.question = max(self.head, len(head)), max(self.question, question)
        self.answer = max(self.answer, answer)
        return self.head + self.before + len(last) + self.question + self.answer

    def take(self, item: Item) -> None:
        """An item joins."""
        self.before += len(self.prompt.encoder.encode(item.text + self.prompt.separator))


def fill(task: str, found: Stock, prompt: Prompt, config: ProbeConfig, tokens: int) -> list[Item]:
    """Items until the next would not fit beside the longest question and answer.

    Raises ConfigError if fewer than LEAST_ITEMS fit, or the candidates run out before it is full.
    """
    items: list[Item] = []
    room, needed = Room(prompt, config, tokens), 0
    for item in found.candidates:
        if not stands(item, items, found.clash, prompt):
            continue
        asked = prompt.ask(item.question, item.gold, kind=task)
        last = prompt.last(item.text)
        _refuse_unknown(task, prompt, last, asked)
        needed = room.needed(last, prompt.head(item.question), asked)
        if needed > tokens and len(items) >= LEAST_ITEMS:
            return items
        items.append(item)
        room.take(item)
        if needed > tokens and len(items) == LEAST_ITEMS:
            raise ConfigError(_too_short(task, tokens, needed, config))
    raise ConfigError(
        f"probe.context_tokens={tokens} is more than the {len(items)} unambiguous"
        f" items of the task {task} fill ({needed} tokens); {found.remedy}"
    )


def cut(task: str, items: list[Item], prompt: Prompt, config: ProbeConfig, tokens: int) -> int:
    """How many of a released context's items fit, from its beginning."""
    room = Room(prompt, config, tokens)
    for taken, item in enumerate(items):
        asked = prompt.ask(item.question, item.gold, kind=task) if item.question else None
        last = prompt.last(item.text)
        head = prompt.head(item.question)
        needed = room.needed(last, head, asked)
        if needed > tokens:
            if taken < LEAST_ITEMS:
                raise ConfigError(_too_short(task, tokens, needed, config))
            return taken
        room.take(item)
    return len(items)


def _too_short(task: str, tokens: int, needed: int, config: ProbeConfig) -> str:
    return (
        f"probe.context_tokens={tokens} holds fewer than {LEAST_ITEMS} items"
        f" of the task {task}; raise it to {needed} or more, or lower"
        f" probe.max_new_tokens={config.max_new_tokens}"
    )


def stands(
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
