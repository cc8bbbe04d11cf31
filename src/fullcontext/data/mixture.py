"""The mixture: example id -> example, step -> batch; and what it will hold."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig
from fullcontext.data.contexts import Assembler
from fullcontext.data.groups import Group
from fullcontext.data.key_value import Dictionaries
from fullcontext.data.lengths import Law
from fullcontext.data.pairs import KIND as PAIR
from fullcontext.data.pairs import Pairs
from fullcontext.data.sampler import Sampler
from fullcontext.data.table import Store
from fullcontext.data.tokens import Prompt
from fullcontext.randomness import rng
from fullcontext.records import Example

PROMPT_TOKENS = 2048
"""No question and answer are longer: what fits beside so many needs no closer look."""

Planned = Group | list[int] | range
"""A context before it is assembled: questions of a store, the ids of key-value questions, or, as a
range, the id of a pair."""


class Mixture:
    """Batches of examples as a pure function of (seed, step)."""

    def __init__(
        self,
        config: DataConfig,
        prompt: Prompt,
        store: Store | None,
        seed: int,
        batch_size: int,
        pairs: Pairs | None = None,
    ) -> None:
        self.config, self.seed, self.batch_size = config, seed, batch_size
        self._at = lru_cache(maxsize=8)(config.at)
        self.assembler = None if store is None else Assembler(config, prompt, store, seed)
        self.left_out = {} if self.assembler is None else fit(self.assembler)
        self.pairs = pairs
        self.pools = {kind: self._pool(kind, store) for kind in config.kinds}
        self.sampler = Sampler(config.mixture, self.pools, seed)
        self.dictionaries = Dictionaries(config, prompt)
        if "key_value" in config.kinds:
            self.dictionaries.check(seed)

    def _pool(self, kind: str, store: Store | None) -> int:
        if kind == PAIR:
            assert self.pairs is not None
            return len(self.pairs)
        made = store is None or kind == "key_value"
        return self.config.examples[kind] if store is None or made else len(store.pools[kind])

    def batch(self, step: int) -> list[Example]:
        """The examples of an optimizer step: `batch_size` questions, whatever the world size."""
        if self.config.limit is not None:
            step %= max(1, self.config.limit // self.batch_size)
        stage = self._at(step)
        return [self._example(planned, stage) for planned in self._plan(step)]

    def example(self, index: int) -> Example:
        """The context that holds example `index`, with all its questions."""
        step = index // self.batch_size
        stage = self._at(step)
        if stage.questions_per_context == 1:
            return self._example(self._planned([index], stage)[0], stage)
        holding = (planned for planned in self._plan(step) if index in _indices(planned))
        return self._example(next(holding), stage)

    def law(self, stage: DataConfig) -> Law:
        """The length law of a stage."""
        return Law(stage, None) if self.assembler is None else self.assembler.law(stage)

    def _plan(self, step: int) -> list[Planned]:
        first = step * self.batch_size
        return self._planned(range(first, first + self.batch_size), self._at(step))

    def _planned(self, indices: Sequence[int], stage: DataConfig) -> list[Planned]:
        """Who shares a context with whom; in the order of the contexts' first questions."""
        made = [i for i in indices if self.sampler.draw(i)[0] == "key_value"]
        shared = stage.questions_per_context
        planned: list[Planned] = [made[at : at + shared] for at in range(0, len(made), shared)]
        paired = [i for i in indices if self.sampler.draw(i)[0] == PAIR]
        planned += [range(i, i + 1) for i in paired]
        if self.assembler is not None:
            posed = []
            for index in sorted(set(indices).difference(made, paired)):
                kind, place = self.sampler.pick(index)
                turn = self.sampler.draw(index)[1]
                posed.append(self.assembler.pose(index, turn, kind, place))
            planned += self.assembler.gather(posed, stage)
        return sorted(planned, key=lambda each: _indices(each)[0])

    def _example(self, planned: Planned, stage: DataConfig) -> Example:
        if isinstance(planned, Group):
            assert self.assembler is not None
            return self.assembler.example(planned, stage)
        if isinstance(planned, range):
            assert self.pairs is not None
            return self.pairs.example(planned[0], self.sampler.pick(planned[0])[1])
        turn = self.sampler.draw(planned[0])[1] // stage.questions_per_context
        generator = rng(self.seed, "context", planned[0])
        return self.dictionaries.example(planned, turn, stage, generator)

    def describe(self, steps: int, sample: int = 64) -> str:
        """What `steps` steps will hold: examples exactly, tokens estimated from a sample."""
        examples = self.sampler.counts(steps * self.batch_size)
        drawn = self._sample(sample)
        lines = ["  source           share   examples    of pool  tokens (est.)  supervised (est.)"]
        totals = np.zeros(3)
        rows = []
        for kind, count in examples.items():
            seen = drawn.get(kind, [])
            shared = [e.tokens / e.questions for e in seen]
            supervised = [e.supervised / e.questions for e in seen]
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
        if self.config.limit is not None:
            lines.append(f"  note: only the first {self.config.limit:,} examples, again and again")
        lines.append(
            f"  {'all':<14} {'':>7} {totals[0]:>10,.0f} {'':>10} {totals[1]:>14,.0f}"
            f" {totals[2]:>18,.0f}"
        )
        return "\n".join(lines)

    def _sample(self, sample: int) -> dict[str, list[Example]]:
        """Some examples of every kind, from the start of the run; later lengths count as drawn."""
        found: dict[str, list[Example]] = {}
        enough = max(1, sample // len(self.config.kinds))
        for planned, stage in self._ahead(sample * 8):
            kind = self.sampler.draw(_indices(planned)[0])[0]
            if len(found.setdefault(kind, [])) < enough:
                found[kind].append(self._example(planned, stage))
            if sum(map(len, found.values())) >= enough * len(self.config.kinds):
                break
        return found

    def answers(self, edges: Sequence[int], sample: int = 1000) -> list[float]:
        """How many of a random sample of the questions, in the shares of the mixture, have answers
        of at least each of some numbers of tokens and fewer than the next."""
        counts = np.zeros(len(edges))
        for kind in self.config.kinds:
            wanted = round(sample * self.config.mixture[kind])
            lengths = self._answer_lengths(kind, wanted)
            places = np.searchsorted(edges, np.maximum(1, lengths), "right") - 1
            counts += np.bincount(places, minlength=len(edges))
        return [float(count) for count in counts]

    def _answer_lengths(self, kind: str, wanted: int) -> list[int]:
        generator = rng(self.seed, "answer lengths")
        if kind == "key_value":
            return self.dictionaries.answer_lengths(wanted, generator)
        places = generator.integers(self.pools[kind], size=wanted).tolist()
        if kind == PAIR:
            assert self.pairs is not None
            return self.pairs.answer_lengths(places)
        assert self.assembler is not None
        return [len(self.assembler.pose(0, 0, kind, p).asked.answer) - 1 for p in places]

    def _ahead(self, examples: int) -> Iterator[tuple[Planned, DataConfig]]:
        """The contexts of the first steps, up to so many questions."""
        for step in range(-(-examples // self.batch_size)):
            yield from ((planned, self._at(step)) for planned in self._plan(step))


def _indices(planned: Planned) -> Sequence[int]:
    return [each.index for each in planned.posed] if isinstance(planned, Group) else planned


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def fit(assembler: Assembler) -> dict[str, int]:
    """Takes questions whose evidence fits in no context out of the store's pools; how many.

    Raises ConfigError with the counts unless `data.drop_oversized` is on.
    """
    config, store = assembler.config, assembler.store
    least = min(stage.context_range[1] for stage in config.all_stages)
    oversized: dict[str, int] = {}
    for kind in (k for k in config.kinds if k in store.pools and k != "instruction"):
        fits = store.evidence_tokens(kind) + PROMPT_TOKENS <= least
        for place in np.flatnonzero(~fits).tolist():
            fits[place] = assembler.needs([assembler.pose(0, 0, kind, place)]) <= least
        if not fits.all():
            oversized[kind] = int((~fits).sum())
            store.pools[kind] = store.pools[kind][fits]
    lost = [kind for kind in oversized if not len(store.pools[kind])]
    if oversized and (lost or not config.drop_oversized):
        parts = ", ".join(f"{count} {kind}" for kind, count in oversized.items())
        raise ConfigError(
            f"{parts} questions do not fit into {least} tokens (the least upper end of"
            " data.context_range) with their evidence and the prompt; raise it, make a store with a"
            " smaller data.segment_size"
            + (f", or leave {', '.join(lost)} out of data.mixture" if lost else "")
            + ("" if lost else ", or leave these questions out with data.drop_oversized=true")
        )
    return {
        f"{kind}: evidence longer than any context, left out": n for kind, n in oversized.items()
    }
