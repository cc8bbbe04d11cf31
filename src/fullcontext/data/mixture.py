"""The mixture: example id -> example, step -> batch; what it will hold and what it held."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from fullcontext.config import DataConfig, LengthLaw, Placement
from fullcontext.data.contexts import Assembler, draw_length, fit
from fullcontext.data.key_value import Dictionaries
from fullcontext.data.reader import Store
from fullcontext.data.sampler import Sampler
from fullcontext.data.tokens import Prompt
from fullcontext.randomness import rng
from fullcontext.records import Example

LENGTH_BINS = 8


class Mixture:
    """Batches of examples as a pure function of (seed, step)."""

    def __init__(
        self, config: DataConfig, prompt: Prompt, store: Store | None, seed: int, batch_size: int
    ) -> None:
        self.config, self.seed, self.batch_size = config, seed, batch_size
        self._at = lru_cache(maxsize=8)(config.at)
        self.left_out = {} if store is None else fit(config, prompt, store)
        self.pools = {
            kind: config.examples[kind]
            if store is None or kind == "key_value"
            else len(store.pools[kind])
            for kind in config.kinds
        }
        self.sampler = Sampler(config.mixture, self.pools, seed)
        self.assembler = None if store is None else Assembler(config, prompt, store)
        self.dictionaries = Dictionaries(config, prompt)

    def batch(self, step: int) -> list[Example]:
        """The examples of an optimizer step: `batch_size` questions, whatever the world size."""
        first, shared = step * self.batch_size, self._at(step).questions_per_context
        return [self.example(i) for i in range(first, first + self.batch_size, shared)]

    def example(self, index: int) -> Example:
        """The context that starts at example `index`, with all its questions."""
        stage = self._at(index // self.batch_size)
        generator = rng(self.seed, "context", index)
        kind, place = self.sampler.pick(index)
        turn = self.sampler.draw(index)[1]
        if kind == "key_value":
            turn //= stage.questions_per_context
            return self.dictionaries.example(index, turn, stage, generator)
        assert self.assembler is not None
        question = self.assembler.store.question(kind, place)
        return self.assembler.example(index, turn, question, stage, generator)

    def describe(self, steps: int, sample: int = 64) -> str:
        """What `steps` steps will hold: examples exactly, tokens estimated from a sample."""
        examples = self.sampler.counts(steps * self.batch_size)
        drawn = self._sample(sample)
        lines = ["  source           share   examples    of pool  tokens (est.)  supervised (est.)"]
        totals = np.zeros(3)
        rows = []
        for kind, count in examples.items():
            seen = drawn.get(kind, [])
            shared = [e.tokens / len(e.asked) for e in seen]
            supervised = [e.supervised / len(e.asked) for e in seen]
            row = np.array([count, count * _mean(shared), count * _mean(supervised)])
            rows.append((kind, row))
            totals += row
        for kind, row in rows:
            share = " / ".join(f"{100 * part:.3g} %" for part in row / np.maximum(totals, 1))
            lines.append(
                f"  {kind:<14} {self.config.mixture[kind]:>7.1%} {row[0]:>10,.0f}"
                f" {row[0] / self.pools[kind]:>10.2f} {row[1]:>14,.0f} {row[2]:>18,.0f}"
                f"   ({share} of each)"
            )
        for kind, count in examples.items():
            if count > self.pools[kind]:
                lines.append(
                    f"  note: {self.pools[kind]:,} {kind} questions are asked"
                    f" {count / self.pools[kind]:,.1f} times each"
                )
        lines.append(
            f"  {'all':<14} {'':>7} {totals[0]:>10,.0f} {'':>10} {totals[1]:>14,.0f}"
            f" {totals[2]:>18,.0f}"
        )
        return "\n".join(lines)

    def _sample(self, sample: int) -> dict[str, list[Example]]:
        """Some examples of every kind, from the start of the run; later lengths count as drawn."""
        found: dict[str, list[Example]] = {}
        enough = max(1, sample // len(self.config.kinds))
        stride = max(stage.questions_per_context for stage in self.config.all_stages)
        for index in range(0, stride * sample * 8, stride):
            kind = self.sampler.draw(index)[0]
            if len(found.setdefault(kind, [])) < enough:
                found[kind].append(self.example(index))
            if sum(map(len, found.values())) >= enough * len(self.config.kinds):
                break
        return found


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


@dataclass
class Tally:
    """What the examples of a run really held; small, part of every checkpoint."""

    config: DataConfig
    seed: int
    examples: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    supervised: dict[str, int] = field(default_factory=dict)
    drawn: list[int] = field(default_factory=lambda: [0] * LENGTH_BINS)
    realised: list[int] = field(default_factory=lambda: [0] * LENGTH_BINS)
    depths: list[int] = field(default_factory=list)
    expected_depths: list[float] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.depths = self.depths or [0] * self.config.depth_bins
        self.expected_depths = self.expected_depths or [0.0] * self.config.depth_bins

    def add(self, examples: Sequence[Example]) -> None:
        """Counts a batch."""
        for example in examples:
            kind = example.asked[0].kind
            _count(self.examples, kind, len(example.asked))
            _count(self.tokens, kind, example.tokens)
            _count(self.supervised, kind, example.supervised)
            for note in example.notes:
                _count(self.counted, note, 1)
            if example.requested is not None:
                longest = len(example.context) + max(
                    len(a.prompt) + len(a.answer) for a in example.asked
                )
                self.drawn[self._length_bin(example.requested)] += 1
                self.realised[self._length_bin(longest)] += 1
                self._add_depth(example)

    def _length_bin(self, tokens: int) -> int:
        low, high = self.config.context_range
        place = (tokens - low) / max(1, high + 1 - low)
        return min(LENGTH_BINS - 1, max(0, int(place * LENGTH_BINS)))

    def _add_depth(self, example: Example) -> None:
        pieces = example.evidence + example.fillers
        if example.evidence != len(example.asked):
            return  # evidence of several segments has a mean depth, which is not uniform
        ranks = (np.arange(pieces) + 0.5) / pieces
        share = np.bincount(self._depth_bins(ranks), minlength=self.config.depth_bins) / pieces
        for asked in example.asked:
            if asked.depth is not None:
                self.depths[int(self._depth_bins(np.array([asked.depth]))[0])] += 1
                self.expected_depths = [
                    e + s for e, s in zip(self.expected_depths, share.tolist(), strict=True)
                ]

    def _depth_bins(self, depth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        bins = self.config.depth_bins
        return np.asarray(np.minimum(bins - 1, (depth * bins).astype(int)))

    def report(self, mixture: "Mixture", steps: int) -> dict[str, Any]:
        """data.json of the run folder: requested against realised, with p-values."""
        sampler, config = mixture.sampler, self.config
        planned = sampler.counts(steps * mixture.batch_size)
        low, high = config.context_range
        lawful = config.placement in (Placement.shuffle, Placement.stratified)
        flat = lawful and not config.curriculum
        expected = self.expected_depths if flat else None
        requested = self._requested()
        return {
            "sources": {
                kind: {
                    "ratio_requested": config.mixture[kind],
                    "examples_requested": planned[kind],
                    "examples": self.examples.get(kind, 0),
                    "tokens": self.tokens.get(kind, 0),
                    "supervised_tokens": self.supervised.get(kind, 0),
                    "pool": mixture.pools[kind],
                    "passes": round(self.examples.get(kind, 0) / mixture.pools[kind], 4),
                }
                for kind in config.kinds
            },
            "length": {
                "law": config.length.value,
                "edges": np.linspace(low, high + 1, LENGTH_BINS + 1).round(1).tolist(),
                "requested": requested,
                "drawn": self.drawn,
                "realised": self.realised,
                "p_value": chi_square(self.realised, requested),
            },
            "depth": {
                "placement": config.placement.value,
                "edges": np.linspace(0, 1, config.depth_bins + 1).round(4).tolist(),
                "expected": [round(e, 2) for e in expected] if expected else None,
                "realised": self.depths,
                "p_value": chi_square(self.depths, expected) if expected else None,
            },
            "dropped": {**mixture.left_out, **dict(sorted(self.counted.items()))},
        }

    def _requested(self) -> list[float] | None:
        """Expected counts by length bin under the law alone; None under a curriculum."""
        config = self.config
        total = sum(self.realised)
        if config.curriculum or not total or config.length is LengthLaw.fixed:
            return None
        generator = rng(self.seed, "length law")
        drawn = [self._length_bin(draw_length(config, generator)) for _ in range(20_000)]
        share = np.bincount(drawn, minlength=LENGTH_BINS) / len(drawn)
        return [round(float(s) * total, 2) for s in share]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        names = ("examples", "tokens", "supervised", "drawn", "realised", "depths")
        return {name: getattr(self, name) for name in (*names, "expected_depths", "counted")}


def _count(counts: dict[str, int], key: str, number: int) -> None:
    counts[key] = counts.get(key, 0) + number


def chi_square(realised: Sequence[float], expected: Sequence[float] | None) -> float | None:
    """p-value of the realised counts under the expected ones; None with fewer than 5 a bin."""
    if expected is None:
        return None
    pairs = [(r, e) for r, e in zip(realised, expected, strict=True) if e > 0]
    if len(pairs) < 2 or min(e for _, e in pairs) < 5:
        return None
    observed = np.array([r for r, _ in pairs], float)
    wanted = np.array([e for _, e in pairs], float)
    if observed.sum() <= 0:
        return None
    wanted *= observed.sum() / wanted.sum()
    return round(float(stats.chisquare(observed, wanted).pvalue), 6)
