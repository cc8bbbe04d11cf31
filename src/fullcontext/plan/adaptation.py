"""plan.py adapt: what adapting to a document takes, and from how many questions on it pays.

The lessons of all epochs are laid out by their lengths alone, and planned as the steps of a run of
train.py are. Answers are compared by what differs: in context the document is read first.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fullcontext.adapt.documents import read
from fullcontext.adapt.lessons import grouped, pieces
from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import (
    About,
    AdaptConfig,
    AdapterConfig,
    Format,
    HardwareConfig,
    KeyValueDocuments,
    TrainConfig,
)
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer
from fullcontext.plan import hardware, memory, speed, work
from fullcontext.plan.lengths import OF_ITEM
from fullcontext.plan.memory import GIB, Memory, Place
from fullcontext.plan.points import swept
from fullcontext.plan.weights import weights
from fullcontext.plan.work import Load
from fullcontext.probe import source
from fullcontext.records import Asked, Example
from fullcontext.train import flops

LOOGLE_TOKENS = 24_005
"""Mean of LooGLE's documents (arXiv 2311.04939)."""
SENTENCE_TOKENS = 25
CHARACTERS = 4
"""Of a token of English text."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What one document takes."""

    document_tokens: int
    examples: int
    """Of the last epoch."""
    steps: int
    tokens: int
    """That run through the model in training."""
    flops: float
    """Of training, attention causal."""
    trained: int
    """Weights of the adapter."""
    memory: Memory
    seconds: float | None
    """Of training; None where the hardware says too little."""
    read_flops: float
    """Of reading the document, or what fits of it, for answers in context."""
    read_seconds: float | None
    hardware: HardwareConfig

    @property
    def crossover(self) -> float:
        """Questions from which on adapting takes less computing than reading for each of them."""
        return self.flops / self.read_flops


def run(words: Sequence[str]) -> None:
    """Prints the plan of `adapt.py WORDS`, or of each point of a sweep. Raises ConfigError for what
    does not compose."""
    fixed, every, _ = swept(words, "adapt")
    configs: list[AdaptConfig] = [compose_verb("adapt", [*fixed, *own]) for own in every]
    plans = [plan(config) for config in configs]
    if configs[0].plan.format is Format.json:
        records = [
            {"overrides": list(own), **record(found)}
            for own, found in zip(every, plans, strict=True)
        ]
        said = json.dumps({"points": records} if len(records) > 1 else record(plans[0]), indent=1)
    else:
        said = "\n\n".join(
            "\n".join([*([" ".join(own)] if own else []), *lines(config, found)])
            for own, config, found in zip(every, configs, plans, strict=True)
        )
    sys.stdout.write(said + "\n")


def plan(config: AdaptConfig) -> Adaptation:
    """The plan for a document of the length that the configuration says."""
    config = _of_run(config)
    device = hardware.settled(config.hardware, None)
    place = Place(1, 1, "cpu" if device.name == hardware.CPU else "cuda")
    tokens = document_tokens(config)
    questions = _questions(config, tokens)
    epochs = [_epoch(config, tokens, questions, number) for number in range(_epochs(config))]
    batches = [batch for epoch in epochs for batch in _batches(config, epoch)]
    as_run = _training(config)
    price = work.price(as_run)
    packed = [work.rounds(as_run, batch, 1) for batch in batches]
    seconds = None
    if device.peak_flops is not None:
        paces = [speed.roofline(as_run, rounds, place, device) for rounds in packed]
        seconds = sum(pace.seconds for pace in paces if pace)
    whole = _example(min(tokens, config.answering.limit), 0)
    # What is compared with reads the document without an adapter.
    forward = float(work.price(replace(as_run, adapter=AdapterConfig())).of(whole))
    rate = device.peak_flops and device.peak_flops * device.efficiency
    return Adaptation(
        document_tokens=tokens,
        examples=sum(len(example.asked) for example in epochs[-1]),
        steps=len(batches),
        tokens=sum(example.tokens for batch in batches for example in batch),
        flops=float(sum(flops.work(batch, price).causal for batch in batches)),
        trained=weights(as_run).trained,
        memory=_memory(as_run, packed, place),
        seconds=seconds,
        read_flops=forward,
        read_seconds=forward / rate if rate else None,
        hardware=device,
    )


def _of_run(config: AdaptConfig) -> AdaptConfig:
    """With the model of `run`, where its folder is here already."""
    if config.run is None or not (Path(config.run) / "config.yaml").is_file():
        return config
    of = source.trained(config.run, None, ()).config
    return replace(config, model=of.model, positions=of.positions)


def _memory(config: TrainConfig, packed: Sequence[list[list[Load]]], place: Place) -> Memory:
    """Of the step that takes most, which need not be the one of most tokens: a segment has more
    labels than questions have."""
    distinct = {tuple(map(tuple, rounds)) for rounds in packed}
    worst = max(
        (memory.peak(config, rounds, place) for rounds in distinct), key=lambda each: each.total
    )
    if config.adapter.is_on:
        return worst
    return replace(worst, parts=worst.parts | {"weights to give back": 4 * weights(config).trained})


def document_tokens(config: AdaptConfig) -> int:
    """The tokens of a document, as near as the configuration says."""
    if config.document_tokens is not None:
        return config.document_tokens
    if isinstance(config.documents, KeyValueDocuments):
        return config.documents.tokens
    path = Path(config.document or "")
    if config.document and path.is_file() and path.suffix != ".jsonl":
        return max(16, len(path.read_text("utf-8", "replace")) // CHARACTERS)
    return LOOGLE_TOKENS


def _epochs(config: AdaptConfig) -> int:
    return config.epochs.segments + config.epochs.both


def _epoch(config: AdaptConfig, tokens: int, questions: int, number: int) -> list[Example]:
    """The lessons of an epoch by their lengths, as adapt/lessons.py makes them."""
    made = []
    if config.segments.use:
        before = min(tokens, config.contextualise.tokens) if config.contextualise.use else 1
        for start, stop in pieces(tokens, config.segments.tokens, config.segments.stride):
            made.append(_example(0, before, stop - start))
    made += _rehearsal(config)
    if number < config.epochs.segments:
        return made
    asked, answer = config.plan.question_tokens, config.plan.answer_tokens
    if not config.auxiliary.with_context:
        return made + [_example(0, asked, answer)] * questions
    context = min(tokens, config.answering.limit - asked - answer)
    sizes = [asked + answer] * questions
    for group in grouped(sizes, config.max_tokens - context):
        made.append(_example(context, asked, answer, len(group)))
    return made


def _questions(config: AdaptConfig, tokens: int) -> int:
    """Auxiliary questions about a document, those that invented ones bring counted in it."""
    if isinstance(config.documents, KeyValueDocuments):
        return _told(config, config.documents, tokens)
    if config.auxiliary.about is About.sentences:
        return config.auxiliary.number * max(1, tokens // SENTENCE_TOKENS)
    return config.auxiliary.number


def _told(config: AdaptConfig, documents: KeyValueDocuments, tokens: int) -> int:
    """Items of an invented document that are told."""
    wanted = replace(config, documents=replace(documents, number=1, tokens=tokens))
    try:
        encoder = Encoder(tokenizer.load(config.model))
        first, *_ = read(wanted, Prompt(config.data, config.model.chat, encoder), Counter())
    except ConfigError:  # adapt.py says what is wrong
        return round(documents.told * (tokens // OF_ITEM))
    return len(first.auxiliary)


def _rehearsal(config: AdaptConfig) -> list[Example]:
    """Contexts of mean length, shared as `data` says."""
    shared = config.data.questions_per_context
    number = -(-config.rehearsal.examples // shared)
    context = sum(config.data.context_range) // 2
    asked, answer = config.plan.question_tokens, config.plan.answer_tokens
    return [_example(context, asked, answer, shared)] * number


def _example(context: int, asked: int, answer: int = 0, number: int = 1) -> Example:
    """Zeros of the right lengths: only they count."""
    each = Asked("", "", np.zeros(asked, np.int32), np.zeros(answer, np.int32))
    return Example(0, np.zeros(context, np.int32), (each,) * number)


def _batches(config: AdaptConfig, epoch: list[Example]) -> list[list[Example]]:
    size = config.epochs.batch_size or len(epoch)
    return [epoch[at : at + size] for at in range(0, len(epoch), size)]


def _training(config: AdaptConfig) -> TrainConfig:
    """The settings as a training run on one device has them."""
    made: TrainConfig = compose_verb("train", ["sharding=none", "data=key_value"])
    made = replace(
        made, model=config.model, optimizer=config.optimizer, precision=config.precision,
        checkpointing=config.checkpointing, max_tokens=config.max_tokens, plan=config.plan,
        checkpoint=replace(made.checkpoint, asynchronous=False),  # there is none to copy
    )  # fmt: skip
    made.adapter = config.adapter  # afterwards: train.py itself refuses gated memory
    return made


def record(found: Adaptation) -> dict[str, object]:
    """As JSON."""
    parts = {name: size / GIB for name, size in found.memory.parts.items()}
    return {
        "document_tokens": found.document_tokens,
        "steps": found.steps,
        "examples": found.examples,
        "tokens": found.tokens,
        "flops": found.flops,
        "trained_parameters": found.trained,
        "memory_gib": found.memory.total / GIB,
        "memory": parts,
        "seconds": found.seconds,
        "read_flops": found.read_flops,
        "read_seconds": found.read_seconds,
        "crossover_questions": found.crossover,
        "hardware": asdict(found.hardware)["name"],
    }


def lines(config: AdaptConfig, found: Adaptation) -> list[str]:
    """As a person reads it."""
    seconds = "unknown" if found.seconds is None else f"{found.seconds:,.1f} s"
    reading = "unknown" if found.read_seconds is None else f"{found.read_seconds:,.2f} s"
    said = [
        f"model {config.model.name}, {found.trained:,} weights trained for a document of"
        f" {found.document_tokens:,} tokens",
        f"{found.steps:,} steps, {found.tokens:,} tokens, {found.flops:.3g} FLOPs (attention"
        f" causal); {seconds} on one {found.hardware.name}",
        f"memory, GiB, at its worst ({found.memory.moment}):",
        *(f"  {k:<24} {v / GIB:10.3f}" for k, v in sorted(found.memory.parts.items())),
        f"  {'together':<24} {found.memory.total / GIB:10.3f}",
        f"reading it for an answer in context: {found.read_flops:.3g} FLOPs, {reading}",
        f"adapting takes less computing from {found.crossover:,.0f} questions on, if the document"
        " is read for each; where its keys and values are kept, hardly ever",
    ]
    if config.auxiliary.number and not isinstance(config.documents, KeyValueDocuments):
        said.append("what writing the auxiliary questions takes is not in it")
    room = found.hardware.memory_gib
    if room is not None and found.memory.total / GIB > room:
        fewer = "adapter.quantize=nf4" if config.adapter.is_on else "adapter=gated_memory"
        said.append(
            f"warning: {found.memory.total / GIB:.1f} GiB do not fit {room:.0f}; set"
            f" checkpointing=full, lower max_tokens, or choose {fewer}"
        )
    return said
