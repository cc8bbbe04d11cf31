"""What a run costs beside its device-hours: disk, the questions it trains on, energy, money."""

from dataclasses import dataclass

from fullcontext.config import (
    EndpointConfig,
    HardwareConfig,
    LocalConfig,
    Precision,
    TrainConfig,
)
from fullcontext.data.pairs import KIND as PAIR
from fullcontext.data.writers import Asking, prompts
from fullcontext.plan.weights import weights
from fullcontext.records import Document

CHECKPOINT_BYTES = 12
"""Of a trained parameter in a checkpoint: fp32 weights and two moments."""
CHARACTERS = 4.0
"""Of a token of English prose."""
_UNASKED = ("key_value", PAIR)
"""Kinds that no writer is asked for."""
SEGMENT_RATIO = 1.37
"""Mean over least tokens of a segment: texts of 600 tokens in newline-aligned pieces of 128
give 176 on average (IN2, algorithm 1)."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes on disk."""

    checkpoint: int
    number: int
    """Checkpoints at most, one that is being written counted in."""
    export: int

    @property
    def total(self) -> int:
        """At the end of the run at most."""
        return self.checkpoint * self.number + self.export


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What a language model would be asked to make the questions of a run."""

    requests: int
    """A question each; those that filters refuse are not counted."""
    instructions: int
    """Of them, examples of the kind `instruction`: none if they come from a data set."""
    tokens_in: float
    tokens_out: float
    sends: bool
    """Whether the chosen writer sends requests at all."""
    money: float | None


def storage(config: TrainConfig) -> Storage:
    """Checkpoints and the export of a run."""
    parameters, settings = config.model.architecture.num_parameters, config.checkpoint
    trained = weights(config).trained
    number = settings.keep + 1
    if settings.keep_every is not None:
        number += config.steps // settings.keep_every
    number = min(number, -(-config.steps // settings.every_steps) + 1)
    exported = 0
    if settings.export:
        exported = 4 if settings.export_dtype is Precision.fp32 else 2
    beside = 4 * trained * (config.adapter.is_on and settings.export)
    return Storage(CHECKPOINT_BYTES * trained, number, exported * parameters + beside)


def synthesis(config: TrainConfig) -> Synthesis:
    """Requests and tokens of the questions of one epoch."""
    wanted = {k: config.data.examples[k] for k in config.data.kinds if k not in _UNASKED}
    reply = len(prompts.example_reply()) / CHARACTERS
    tokens_in = sum(number * _prompt(config, kind) for kind, number in wanted.items())
    requests = sum(wanted.values())
    writer, money = config.writer, None
    sends = isinstance(writer, EndpointConfig | LocalConfig)
    if isinstance(writer, EndpointConfig) and None not in (writer.price_in, writer.price_out):
        prices = float(writer.price_in or 0), float(writer.price_out or 0)
        money = (tokens_in * prices[0] + requests * reply * prices[1]) / 1e6
    instructions = wanted.get("instruction", 0)
    return Synthesis(requests, instructions, tokens_in, requests * reply, sends, money)


def _prompt(config: TrainConfig, kind: str) -> float:
    """Tokens of what is said to the model: what is always said, and the text."""
    always = prompts.messages(Asking(kind, Document("", "", "", "", ""), ()))
    text = float(config.corpus.text_tokens or config.plan.text_tokens)
    if kind == "fine_grained":
        text = min(text, SEGMENT_RATIO * config.data.segment_size)
    return sum(len(message.content) for message in always) / CHARACTERS + text


def energy_kwh(device_hours: float, hardware: HardwareConfig) -> float | None:
    """None where the hardware's power is not given."""
    return None if hardware.watts is None else device_hours * hardware.watts / 1000


def money(device_hours: float, hardware: HardwareConfig) -> float | None:
    """None where the hardware's price is not given."""
    return None if hardware.price_per_hour is None else device_hours * hardware.price_per_hour
