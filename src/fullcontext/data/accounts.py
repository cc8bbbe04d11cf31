"""The accounts of a run's data: what was requested and what its examples really held."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fullcontext.config import AnswerStyle, DataConfig, LengthLaw, Placement
from fullcontext.data.goodness import chi_square, kolmogorov_smirnov
from fullcontext.data.mixture import Mixture
from fullcontext.records import Asked, Example

LENGTH_BINS = 8
FINE = 32
"""Bins of the histograms that stand for single values, to each bin of the figures."""
MOST_SOURCES = 500
"""Sources that have accounts of their own; the others are counted together."""
OTHERS = "(other sources)"
ANSWERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Lower edges of the bins of answer lengths."""

Counts = dict[str, int]
Amounts = dict[str, Counts]
"""What is counted -> examples, tokens and supervised tokens."""


@dataclass
class Tally:
    """What the examples of a run held so far; small, part of every checkpoint."""

    config: DataConfig
    kinds: Amounts = field(default_factory=dict)
    sources: Amounts = field(default_factory=dict)
    lengths: Amounts = field(default_factory=dict)
    depths: Amounts = field(default_factory=dict)
    evidence: Amounts = field(default_factory=dict)
    """By evidence segments of a question, in words: "2"."""
    drawn: list[int] = field(default_factory=list)
    """Contexts by drawn length, in fine bins of `context_range`."""
    realised: list[int] = field(default_factory=list)
    """The same contexts by their real length."""
    placed: list[int] = field(default_factory=list)
    """Questions with one evidence segment by its depth, in fine bins."""
    expected: list[float] = field(default_factory=list)
    """What `placed` would be if every rank in their contexts were equally likely."""
    answers: list[int] = field(default_factory=list)
    """Answers by their tokens, the end token left out, in the bins ANSWERS."""
    counted: Counts = field(default_factory=dict)
    """What had to give way, by reason."""

    def __post_init__(self) -> None:
        self.drawn = self.drawn or [0] * (LENGTH_BINS * FINE)
        self.realised = self.realised or [0] * (LENGTH_BINS * FINE)
        self.placed = self.placed or [0] * (self.config.depth_bins * FINE)
        self.expected = self.expected or [0.0] * (self.config.depth_bins * FINE)
        self.answers = self.answers or [0] * len(ANSWERS)

    def add(self, examples: Sequence[Example]) -> None:
        """Counts a batch."""
        expected = np.asarray(self.expected)
        for example in examples:
            for note in example.notes:
                self.counted[note] = self.counted.get(note, 0) + 1
            if example.requested is not None:
                self.drawn[self._length_bin(example.requested)] += 1
                self.realised[self._length_bin(measured(example))] += 1
            for place, asked in enumerate(example.asked):
                self._add_question(example, place, asked)
                if example.requested is not None and asked.evidence == 1:
                    self._add_depth(example, asked, expected)
        self.expected = expected.tolist()

    def _add_question(self, example: Example, place: int, asked: Asked) -> None:
        """One question; the tokens of a shared context are divided among its questions."""
        if asked.preferred is not None:
            self._add_rejected(example, asked)
            return
        questions = example.questions
        share = len(example.context) // questions + (place < len(example.context) % questions)
        supervised = example.supervised_of(asked)
        amounts = (1, share + len(asked.prompt) + len(asked.answer), supervised)
        source = asked.source or asked.kind
        if source not in self.sources and len(self.sources) >= MOST_SOURCES:
            source = OTHERS
        _add(self.kinds, asked.kind, amounts)
        _add(self.sources, source, amounts)
        _add(self.lengths, self._bucket(measured(example)), amounts)
        _add(self.depths, self._depth_name(asked.depth), amounts)
        _add(self.evidence, str(asked.evidence), amounts)
        self.answers[int(np.searchsorted(ANSWERS, max(1, len(asked.answer) - 1), "right")) - 1] += 1

    def _add_rejected(self, example: Example, asked: Asked) -> None:
        """A worse answer adds its tokens to those of the question, which is counted already."""
        tokens, supervised = len(asked.prompt) + len(asked.answer), example.supervised_of(asked)
        source = asked.source or asked.kind
        for amounts, name in (
            (self.kinds, asked.kind),
            (self.sources, source if source in self.sources else OTHERS),
            (self.lengths, self._bucket(measured(example))),
            (self.depths, self._depth_name(asked.depth)),
            (self.evidence, str(asked.evidence)),
        ):
            _add(amounts, name, (0, tokens, supervised))

    def _length_bin(self, tokens: int) -> int:
        low, high = self.config.context_range
        bins = LENGTH_BINS * FINE
        return min(bins - 1, max(0, (tokens - low) * bins // (high + 1 - low)))

    def _bucket(self, tokens: int) -> str:
        low, high = self.config.context_range
        if not low <= tokens <= high:
            return f"below {low}" if tokens < low else f"above {high}"
        edges = np.linspace(low, high + 1, LENGTH_BINS + 1)
        place = self._length_bin(tokens) // FINE
        return f"{int(np.ceil(edges[place]))}-{int(np.ceil(edges[place + 1])) - 1}"

    def _depth_name(self, depth: float | None) -> str:
        if depth is None:
            return "no context"
        bins = self.config.depth_bins
        place = min(bins - 1, int(depth * bins))
        return f"{place / bins:.4g}-{(place + 1) / bins:.4g}"

    def _add_depth(self, example: Example, asked: Asked, expected: npt.NDArray[np.float64]) -> None:
        """Evidence of several segments has a mean depth, which is not uniform: it has no test."""
        assert asked.depth is not None
        bins, pieces = len(self.placed), example.evidence + example.fillers
        self.placed[min(bins - 1, int(asked.depth * bins))] += 1
        ranks = ((np.arange(pieces) + 0.5) / pieces * bins).astype(int)
        np.add.at(expected, np.minimum(bins - 1, ranks), 1 / pieces)

    def report(self, mixture: Mixture, steps: int) -> dict[str, Any]:
        """data.json of the run folder: requested against realised, with p-values."""
        plain = self.config.answer_style is AnswerStyle.plain
        return {
            "sources": self._by_kind(mixture, steps),
            "length": self._length(mixture),
            "depth": self._depth(),
            "answer_length": {
                "edges": [*ANSWERS, 2 * ANSWERS[-1]],
                # Citations make answers longer than those of the store.
                "requested": mixture.answers(ANSWERS) if plain else None,
                "realised": self.answers,
            },
            "by_source": _largest_first(self.sources),
            "by_length": _in_order(self.lengths),
            "by_depth": _in_order(self.depths),
            "by_evidence": _in_order(self.evidence),
            "dropped": {**mixture.left_out, **dict(sorted(self.counted.items()))},
        }

    def _by_kind(self, mixture: Mixture, steps: int) -> dict[str, Any]:
        planned = mixture.sampler.counts(steps * mixture.batch_size)
        none = dict.fromkeys(_AMOUNTS, 0)
        return {
            kind: {
                "ratio_requested": self.config.mixture[kind],
                "examples_requested": planned[kind],
                **self.kinds.get(kind, none),
                "pool": mixture.pools[kind],
                "passes": round(self.kinds.get(kind, none)["examples"] / mixture.pools[kind], 4),
            }
            for kind in self.config.kinds
        }

    def _length(self, mixture: Mixture) -> dict[str, Any]:
        low, high = self.config.context_range
        requested = self._requested(mixture)
        coarse = None if requested is None else _coarse(requested)
        realised = [int(n) for n in _coarse(self.realised)]
        return {
            "law": self.config.length.value,
            "edges": np.linspace(low, high + 1, LENGTH_BINS + 1).round(1).tolist(),
            "requested": None if coarse is None else [round(e, 2) for e in coarse],
            "drawn": [int(n) for n in _coarse(self.drawn)],
            "realised": realised,
            "p_value": chi_square(realised, coarse),
            "ks_p_value": kolmogorov_smirnov(self.realised, requested),
        }

    def _requested(self, mixture: Mixture) -> list[float] | None:
        """Expected counts under the law alone, in fine bins; None under a curriculum."""
        config, total = self.config, sum(self.realised)
        if config.curriculum or not total or config.length is LengthLaw.fixed:
            return None
        low, high = config.context_range
        edges = np.linspace(low, high + 1, len(self.realised) + 1)
        share = np.diff(mixture.law(config).below(edges))
        return [float(s) * total for s in share]

    def _depth(self) -> dict[str, Any]:
        config = self.config
        lawful = config.placement in (Placement.shuffle, Placement.stratified)
        fine = self.expected if lawful and not config.curriculum else None
        expected = None if fine is None else _coarse(fine)
        realised = [int(n) for n in _coarse(self.placed)]
        return {
            "placement": config.placement.value,
            "edges": np.linspace(0, 1, config.depth_bins + 1).round(4).tolist(),
            "expected": None if expected is None else [round(e, 2) for e in expected],
            "realised": realised,
            "p_value": chi_square(realised, expected),
            "ks_p_value": kolmogorov_smirnov(self.placed, fine),
        }

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: value for name, value in vars(self).items() if name != "config"}


def measured(example: Example) -> int:
    """Tokens as the length law counts them.

    Those of a store count every question. A key-value context is drawn for one question, whatever
    the number that share it, so that their number does not change the context.
    """
    if example.asked[0].kind != "key_value":
        return example.tokens
    longest = max(len(asked.prompt) + len(asked.answer) for asked in example.asked)
    return len(example.context) + longest


_AMOUNTS = ("examples", "tokens", "supervised_tokens")


def _add(amounts: Amounts, name: str, values: tuple[int, ...]) -> None:
    found = amounts.setdefault(name, dict.fromkeys(_AMOUNTS, 0))
    for key, value in zip(_AMOUNTS, values, strict=True):
        found[key] += value


def _largest_first(amounts: Amounts) -> Amounts:
    return dict(sorted(amounts.items(), key=lambda item: (-item[1]["examples"], item[0])))


def _in_order(amounts: Amounts) -> Amounts:
    """Names that start with a number by it, after those that do not."""

    def place(name: str) -> tuple[float, str]:
        first = name.split("-")[0]
        return (float(first), name) if first.replace(".", "").isdigit() else (-1.0, name)

    return {name: amounts[name] for name in sorted(amounts, key=place)}


def _coarse(fine: Sequence[float]) -> list[float]:
    return [float(n) for n in np.asarray(fine, float).reshape(-1, FINE).sum(axis=1)]
