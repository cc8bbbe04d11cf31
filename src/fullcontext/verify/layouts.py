"""The layouts that have to agree, each as the settings and examples in which it differs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fullcontext.config import (
    AttentionConfig,
    Checkpointing,
    ContextParallelBy,
    NllScope,
    ObjectiveConfig,
    OrpoConfig,
    Precision,
    ShardingConfig,
    Strategy,
    TrainConfig,
)
from fullcontext.randomness import rng
from fullcontext.records import Asked, Example, Ids

VOCABULARY = 128
"""Token ids of the examples and of the tiny models."""
_ALONE = 4
"""One in so many examples has no context and one question, as instructions have."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to run one optimizer step."""

    name: str
    config: TrainConfig
    ranks: int = 1
    separate: bool = False
    """Whether every question gets a context of its own."""


def examples(config: TrainConfig, number: int = 6) -> list[Example]:
    """Random examples of the composed shape: contexts with several questions, and instructions;
    for objectives over pairs with two answers to each question."""
    shared = max(2, min(4, config.data.questions_per_context))
    made, index = [], 0
    for place in range(number):
        draw = rng(config.seed, "verify", place)
        kind = config.data.kinds[place % len(config.data.kinds)]
        alone = place % _ALONE == 2
        context = np.zeros(0, np.int32) if alone else _ids(draw, int(draw.integers(20, 70)))
        asked: list[Asked] = []
        questions = 1 if alone or _tells_contexts(config.objective) else shared
        for _ in range(questions):
            asked += _answers(draw, kind, index, config.objective.needs_pairs, len(asked))
            index += 1
        made.append(Example(asked[0].index, context, tuple(asked)))
    return made


def _tells_contexts(objective: ObjectiveConfig) -> bool:
    """Whether contexts are supervised, too, so that no two questions can share one."""
    return isinstance(objective, OrpoConfig) and objective.nll_scope is NllScope.full


def _answers(
    draw: np.random.Generator, kind: str, index: int, paired: bool, before: int
) -> list[Asked]:
    """A question with its answer, or with two, of which the first is preferred."""
    prompt = _ids(draw, int(draw.integers(3, 9)))
    made = []
    for preferred in (None, before) if paired else (None,):
        answer = _ids(draw, int(draw.integers(1, 7)))
        made.append(
            Asked(
                id=str(index), kind=kind, prompt=prompt, answer=answer, index=index, depth=0.5,
                preferred=preferred, reference=-5.0 * len(answer) if paired else None,
            )
        )  # fmt: skip
    return made


def _ids(draw: np.random.Generator, number: int) -> Ids:
    return draw.integers(3, VOCABULARY, number).astype(np.int32)


def separated(given: Sequence[Example]) -> list[Example]:
    """Every question in a context of its own, with both answers if it has two."""
    return [
        replace(example, index=together[0].index, asked=tuple(together))
        for example in given
        for together in _by_question(example)
    ]


def _by_question(example: Example) -> list[list[Asked]]:
    found: dict[int, list[Asked]] = {}
    for asked in example.asked:
        first = found.setdefault(asked.index, [])
        first.append(asked if asked.preferred is None else replace(asked, preferred=0))
    return list(found.values())


def layouts(config: TrainConfig, given: Sequence[Example]) -> list[Layout]:
    """The reference first, one example at a time in one process; then what has to agree with it."""
    alone = separated(given)
    longest = max(example.tokens for example in given)
    plain = replace(
        config,
        precision=Precision.fp32,
        checkpointing=Checkpointing.none,
        sharding=ShardingConfig(),
        attention=AttentionConfig(),
        data=replace(config.data, context_range=[16, 16], curriculum=[]),  # ours are shorter
        probe=replace(config.probe, tasks=[]),
        max_tokens=longest,
    )
    single = replace(plain, max_tokens=max(example.tokens for example in alone))
    whole = sum(example.tokens for example in given)
    spread = config.sharding.strategy
    several = ShardingConfig(
        strategy=Strategy.ddp if spread is Strategy.none else spread,
        cpu_offload=config.sharding.cpu_offload,
        accumulate=config.sharding.accumulate,
        shard_size=2 if spread is Strategy.hybrid else None,
    )
    found = [
        Layout("one question at a time", single, separate=True),
        Layout("packed", replace(plain, max_tokens=sum(e.tokens for e in alone)), separate=True),
        Layout("accumulated", replace(plain, max_tokens=3 * longest), separate=True),
        Layout("shared context", replace(plain, max_tokens=whole)),
        Layout("recomputed", replace(plain, checkpointing=Checkpointing.full)),
        Layout("selectively recomputed", replace(plain, checkpointing=Checkpointing.selective)),
    ]
    for ranks in (2, 4):
        name = f"{ranks} ranks, {several.strategy.value}"
        found.append(Layout(name, replace(plain, sharding=several), ranks))
    degree = max(2, config.sharding.context_parallel)
    if degree <= 4:
        ways = [ContextParallelBy.auto, ContextParallelBy.keys]  # by heads where they divide
        for by in ways:
            cut = replace(several, context_parallel=degree, context_parallel_by=by, shard_size=None)
            name = f"context parallel {degree}, {by.value}"
            found.append(Layout(name, replace(plain, sharding=cut), degree))
    return found
