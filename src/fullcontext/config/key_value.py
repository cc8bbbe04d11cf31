"""Dictionaries of random keys and values, and what is asked about them."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check


class Asks(StrEnum):
    """Which items of a segment key-value questions are about."""

    any = "any"
    ends = "ends"
    """Its first and last sixth, at least one each: a writer that reads the ends of what it is given
    (the paper's reason for small segments, appendix D)."""


@dataclass(kw_only=True)
class FormConfig:
    """How a pair of a random key and a random value is written, asked for and answered.

    A key or value is its format applied to random numbers, one for each field: `{:05d}` is 00042,
    `{:w}` an invented word (`babane`), `{:w} {:w}` two of them, `{:i}` a name as code has them
    (`read_line`).
    """

    key: str = "{:05d}"
    value: str = "{:05d}"
    item: str = "The record of {key} is {value}."
    """May have several lines."""
    question: str = "What is the record of {key}?"
    """May hold the key, the value (asked backwards) or one `{line}` of it."""
    answer: str = "{value}"
    """May hold the key, the value and the whole `{item}`."""

    def __post_init__(self) -> None:
        if self.key.count("{") != 1:
            raise ValueError(f"data.key_value.key={self.key!r} must hold one field, as in {{:05d}}")
        for name, text, fields in (
            ("key", self.key, ("{:",)),
            ("value", self.value, ("{:",)),
            ("item", self.item, ("{key}", "{value}")),
        ):
            if not all(part in text or part.replace("{:", "{}") in text for part in fields):
                raise ValueError(
                    f"data.key_value.{name}={text!r} lacks {' and '.join(fields)}; put it in"
                )
        for name, text, either in (
            ("question", self.question, ("{key}", "{value}", "{line}")),
            ("answer", self.answer, ("{key}", "{value}", "{item}")),
        ):
            if not any(part in text for part in either):
                raise ValueError(
                    f"data.key_value.{name}={text!r} lacks {' or '.join(either)}; put it in"
                )


@dataclass(kw_only=True)
class KeyValueConfig(FormConfig):
    """Dictionaries of random keys and values (arXiv 2406.19292); needs no text.

    Numbers are below `num_keys` or `num_values`. The probe `key_value` asks in the form that
    stands here.
    """

    num_keys: int = 90000
    num_values: int = 90000
    asks: Asks = Asks.any
    """Of a segment: as many items as have `data.segment_size` tokens, from the context's start."""
    forms: list[FormConfig] = field(default_factory=list)
    """Other forms; each training context is in one of them or in the one above, drawn with equal
    chances."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(text.count("w}") for text in (self.key, self.value)):
            raise ValueError(
                f"data.key_value.key={self.key!r}, value={self.value!r}: the probe asks for"
                " numbers; put words into data.key_value.forms"
            )
        check.within("data.key_value.num_keys", self.num_keys, 2)
        check.within("data.key_value.num_values", self.num_values, 2)
