"""What the steps of a run hold: real examples where they can be made here, else their lengths."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import (
    DataConfig,
    LengthLaw,
    NllScope,
    ObjectiveConfig,
    OrpoConfig,
    TrainConfig,
)
from fullcontext.data import manifest, reader
from fullcontext.data.groups import SHAREABLE
from fullcontext.data.lengths import Law
from fullcontext.data.mixture import Mixture
from fullcontext.data.pairs import KIND as PAIR
from fullcontext.data.pairs import Pairs, preferred, told_whole
from fullcontext.data.sampler import Sampler
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer
from fullcontext.randomness import rng
from fullcontext.records import Asked, Example, Ids

ASSEMBLED = 1024
"""Most examples that are assembled to be counted; lengths alone are drawn for `plan.sample`."""
OF_ITEM = 8
"""Tokens of a key-value question's answer where no tokenizer is at hand to count them."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Some steps of a run, evenly spread over it; each stands for as many."""

    steps: int
    """Of the whole run."""
    batches: tuple[tuple[Example, ...], ...]
    source: str
    """Where they are from, in words."""

    @property
    def each(self) -> float:
        """Steps of the run that one of `batches` stands for."""
        return self.steps / len(self.batches)


def sample(config: TrainConfig, mixture: Mixture | None = None, most: int = ASSEMBLED) -> Sampled:
    """Steps of a run. `mixture` is its data where they are open already.

    Without a store the lengths are those that the run is going to draw for the same example ids,
    and questions and answers as long as `plan` assumes.
    """
    given = mixture or _mixture(config)
    drawn = given or _Lengths(config)
    source = "examples assembled as in the run"
    if isinstance(drawn, _Lengths):
        most, source = config.plan.sample, f"lengths drawn as the run will{drawn.note}"
    places = _places(config.steps, most // config.batch_size)
    read = _reader(config.objective)
    batches = tuple(tuple(map(read, drawn.batch(step))) for step in places)
    return Sampled(config.steps, batches, source)


def _reader(objective: ObjectiveConfig) -> Callable[[Example], Example]:
    """What an objective takes of an example."""
    if not objective.needs_pairs:
        return preferred
    is_full = isinstance(objective, OrpoConfig) and objective.nll_scope is NllScope.full
    return told_whole if is_full else lambda example: example


def _places(steps: int, most: int) -> list[int]:
    """Steps in the middle of equal parts of the run; all of them if there are few."""
    number = max(1, min(steps, most))
    return [int((place + 0.5) * steps / number) for place in range(number)]


def _mixture(config: TrainConfig) -> Mixture | None:
    """The data of a run, if they can be had on this machine without making or loading anything."""
    if config.data.needs_store and manifest.read(manifest.store_path(config)) is None:
        return None
    try:
        encoder = _encoder(config.model.tokenizer, tuple(config.model.symbols.items()), config)
        store = None
        if config.data.needs_store:
            store = reader.open_store(config, manifest.tokenizer_hash(encoder))
        prompt = Prompt(config.data, config.model.chat, encoder)
        pairs = Pairs(Path(config.data.pairs), prompt) if config.data.pairs else None
        return Mixture(config.data, prompt, store, config.seed, config.batch_size, pairs)
    except ConfigError:
        return None  # train.py says what is wrong; the lengths can be told without


_encoders: dict[tuple[Any, ...], Encoder] = {}


def _encoder(name: str, symbols: tuple[tuple[str, int], ...], config: TrainConfig) -> Encoder:
    """One for all points of a sweep: loading takes most of a second."""
    if (name, symbols) not in _encoders:
        _encoders[name, symbols] = Encoder(tokenizer.load(config.model))
    return _encoders[name, symbols]


class _Lengths:
    """Examples that have lengths and nothing else."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.assumed = config, config.plan
        self.sampler = Sampler(config.data.mixture, config.data.examples, config.seed)
        self.text_tokens = config.corpus.text_tokens or config.plan.text_tokens
        is_natural = any(s.length is LengthLaw.natural for s in config.data.all_stages)
        self.note = ", questions and answers as long as plan.* assumes"
        self.note += "; data.length=natural taken as uniform for want of a store" * is_natural
        self._law = lru_cache(maxsize=16)(self._make_law)

    def _make_law(self, low: int, high: int) -> Law:
        law = self.config.data.length
        law = LengthLaw.uniform if law is LengthLaw.natural else law
        data = replace(self.config.data, context_range=[low, high], length=law, curriculum=[])
        return Law(data, None)

    def batch(self, step: int) -> Iterator[Example]:
        """The examples of a step, kind by kind."""
        data, size = self.config.data, self.config.batch_size
        if data.limit is not None:
            step %= max(1, data.limit // size)
        stage = data.at(step)
        indices: dict[str, list[int]] = {}
        for index in range(step * size, (step + 1) * size):
            indices.setdefault(self.sampler.draw(index)[0], []).append(index)
        for kind, ids in indices.items():
            is_shared = kind == "key_value" or kind in SHAREABLE
            shared = stage.questions_per_context if is_shared else 1
            for at in range(0, len(ids), shared):
                yield self._example(kind, ids[at : at + shared], stage)

    def _example(self, kind: str, ids: list[int], stage: DataConfig) -> Example:
        assumed = self.assumed
        if kind == "instruction":
            asked = _asked(ids[0], kind, assumed.instruction_tokens, assumed.response_tokens)
            return Example(ids[0], _blank(0), (asked,))
        if kind == PAIR:
            return self._pair(ids[0], stage)
        answer = OF_ITEM if kind == "key_value" else assumed.answer_tokens
        each = assumed.question_tokens + answer
        if kind == "short_context":
            context = self.text_tokens
        else:
            requested = self._law(*stage.context_range).draw(
                rng(self.config.seed, "context", ids[0])
            )
            context = max(1, requested - each * len(ids))
        questions = (_asked(index, kind, assumed.question_tokens, answer) for index in ids)
        return Example(ids[0], _blank(context), tuple(questions))

    def _pair(self, index: int, stage: DataConfig) -> Example:
        """Two answers of the length of a conversation's reply; SEALONG's have 290 tokens."""
        each = self.assumed.question_tokens, self.assumed.response_tokens
        requested = self._law(*stage.context_range).draw(rng(self.config.seed, "context", index))
        better = _asked(index, PAIR, *each)
        context = _blank(max(1, requested - sum(each)))
        return Example(index, context, (better, replace(better, preferred=0)))


def _asked(index: int, kind: str, prompt: int, answer: int) -> Asked:
    return Asked(str(index), kind, _blank(prompt), _blank(answer), index=index)


def _blank(tokens: int) -> Ids:
    """Token ids of no meaning, which take no memory."""
    return np.broadcast_to(np.int32(0), tokens)
