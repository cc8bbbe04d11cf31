"""What is learnt of a document, epoch by epoch: segments, auxiliary questions, rehearsal (LIFT)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fullcontext.adapt.documents import Given, number_of
from fullcontext.compose import ConfigError
from fullcontext.config import AdaptConfig
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Prompt
from fullcontext.randomness import rng
from fullcontext.records import Asked, Example, Ids

GAP = "..."
"""What stands for the part of a document that is left out."""
NONE = np.zeros(0, np.int32)
_APART = 1009
"""Of so many documents hardly two rehearse the same examples."""


class Text:
    """A document as tokens, and as much of it as fits."""

    def __init__(self, given: Given, prompt: Prompt, counted: Counter[str]) -> None:
        """A title comes first (section 3). Lines with a special token are left out and counted.
        Raises ConfigError if nothing is left, or the tokenizer does not know a word."""
        self.prompt, self.id = prompt, given.id
        encoder = prompt.encoder
        titled = given.title not in ("", given.id)
        lines = (f"{given.title}\n" * titled + given.text.strip()).splitlines()
        kept = [line for line in lines if not any(s in line for s in encoder.specials)]
        if len(kept) < len(lines):
            counted["line holds a special token"] += len(lines) - len(kept)
        text = "\n".join(kept).strip()
        if not text:
            raise ConfigError(f"document {given.id} is empty; give one with text")
        self.ids: Ids = encoder.encode(text + prompt.end)
        known(prompt, self.ids, f"document {given.id}")

    def _gap(self) -> Ids:
        return known(self.prompt, self.prompt.encoder.encode(GAP + "\n"), GAP)

    def within(self, tokens: int) -> tuple[Ids, int]:
        """The document, or its head, a gap and its tail in so many tokens; and how many of its own
        are left out."""
        if len(self.ids) <= tokens:
            return self.ids, 0
        gap = self._gap()
        room = tokens - len(gap)
        if room < 2:
            raise ConfigError(f"answering.limit leaves {tokens} tokens to the document; raise it")
        head, tail = room - room // 2, room // 2
        parts = [self.ids[:head], gap, self.ids[len(self.ids) - tail :]]
        return np.concatenate(parts), len(self.ids) - room

    def sample(self, tokens: int, draw: np.random.Generator) -> Ids:
        """A piece of its first `tokens` and one of its last, together as many (section 3.1); the
        document itself if it is no longer. The share of the two is drawn, then their places."""
        if len(self.ids) <= tokens:
            return self.ids
        size = int(draw.integers(tokens + 1))
        first = int(draw.integers(tokens - size + 1))
        last = len(self.ids) - tokens + int(draw.integers(size + 1))
        pieces = [self.ids[first : first + size], self.ids[last : last + tokens - size]]
        if 0 < size < tokens:
            pieces.insert(1, self._gap())
        return np.concatenate(pieces)


def known(prompt: Prompt, ids: Ids, what: str) -> Ids:
    """The ids. Raises ConfigError if one stands for a word that the tokenizer does not know."""
    unknown = prompt.encoder.tokenizer.unk_token_id
    if unknown is not None and unknown in ids:
        raise ConfigError(
            f"the tokenizer does not know the words of {what}; choose a model and data that fit"
        )
    return ids


def pieces(tokens: int, length: int, stride: int) -> list[tuple[int, int]]:
    """Where overlapping segments start and stop; those at the end are shorter, and kept.

    `pieces(2048, 2048, 768)` is `[(0, 2048), (768, 2048), (1536, 2048)]`.
    """
    return [(start, min(start + length, tokens)) for start in range(0, tokens, stride)]


class Lessons:
    """The examples of every epoch, each a function of (seed, document, epoch, place)."""

    def __init__(
        self,
        config: AdaptConfig,
        given: Given,
        text: Text,
        auxiliary: Sequence[tuple[str, str]],
        rehearsal: Mixture | None,
    ) -> None:
        self.config, self.text, self.prompt = config, text, text.prompt
        self.number = number_of(given.id)
        self.auxiliary, self.rehearsal = auxiliary, rehearsal
        bos = self.prompt.encoder.bos
        self._start = NONE if bos is None else np.array([bos], np.int32)
        self.left_out = 0
        """Tokens of the document that do not stand before its auxiliary questions."""
        self._asked = self._questions()

    @property
    def epochs(self) -> int:
        """Of both stages."""
        return self.config.epochs.segments + self.config.epochs.both

    def epoch(self, number: int) -> list[Example]:
        """The examples of epoch `number`, from 0: segments, and questions in the second stage.
        Raises ConfigError if there are none."""
        made = self._segments(number) if self.config.segments.use else []
        if number >= self.config.epochs.segments:
            made += self._asked
        if self.rehearsal is not None:
            made += self.rehearsal.batch(self.number % _APART * self.epochs + number)
        if not made:
            raise ConfigError(
                f"document {self.text.id} of {len(self.text.ids):,} tokens leaves nothing to learn"
                f" in epoch {number + 1}, with {len(self.auxiliary)} auxiliary questions written;"
                " give a longer one, or choose segments.use=true"
            )
        return made

    def steps(self, number: int) -> list[list[Example]]:
        """The examples of each optimizer step of an epoch: all of them, or batches, shuffled."""
        examples, size = self.epoch(number), self.config.epochs.batch_size
        if size is None:
            return [examples]
        draw = rng(self.config.seed, "order of lessons", self.number, number)
        order = draw.permutation(len(examples))
        return [[examples[i] for i in order[at : at + size]] for at in range(0, len(order), size)]

    def _segments(self, epoch: int) -> list[Example]:
        settings, made = self.config.segments, []
        spans = pieces(len(self.text.ids), settings.tokens, settings.stride)
        for place, (start, stop) in enumerate(spans):
            segment = self.text.ids[start:stop]
            if self.config.contextualise.use:
                draw = rng(self.config.seed, "sample of a document", self.number, epoch, place)
                before = np.concatenate([self._start, self._recited(draw)])
            elif len(self._start):
                before = self._start
            else:  # nothing predicts the first token of a text
                before, segment = segment[:1], segment[1:]
            if len(segment):
                made.append(_alone(before, segment, f"segment {place}"))
        return made

    def _recited(self, draw: np.random.Generator) -> Ids:
        """What stands before a segment that is learnt in context."""
        settings = self.config.contextualise
        sample = self.text.sample(settings.tokens, draw)
        if not settings.instruction:
            return sample
        encoder = self.prompt.encoder
        asked = encoder.encode(settings.instruction + "\n\n\n")
        return np.concatenate([sample, known(self.prompt, asked, "contextualise.instruction")])

    def _questions(self) -> list[Example]:
        """The auxiliary questions: after the document, which they share, or closed-book."""
        if not self.auxiliary:
            return []
        if not self.config.auxiliary.with_context:
            asked = [
                self.prompt.ask_closed(q, a, id=q, kind="auxiliary") for q, a in self.auxiliary
            ]
            return [Example(0, NONE, (each,)) for each in asked]
        asked = [self.prompt.ask(q, a, id=q, kind="auxiliary") for q, a in self.auxiliary]
        own = [len(each.prompt) + len(each.answer) for each in asked]
        head = self.prompt.head("")
        document, self.left_out = self.text.within(
            self.config.answering.limit - len(head) - max(own)
        )
        context = np.concatenate([head, document])
        return [
            Example(0, context, tuple(asked[i] for i in group))
            for group in grouped(own, self.config.max_tokens - len(context))
        ]


def grouped(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Places in their order, cut where more than `most` would come together."""
    groups: list[list[int]] = []
    total = 0
    for place, size in enumerate(sizes):
        if not groups or total + size > most:
            groups.append([])
            total = 0
        groups[-1].append(place)
        total += size
    return groups


def _alone(before: Ids, learnt: Ids, id: str) -> Example:
    """A text of which a part is learnt."""
    asked = Asked(id=id, kind="segment", prompt=before.astype(np.int32), answer=learnt)
    return Example(0, NONE, (asked,))
