"""Questions to examples: evidence among filler, as a pure function of (seed, example id)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import AnswerStyle, DataConfig, Filler
from fullcontext.data import groups, placement
from fullcontext.data.fillers import Fillers, Found, Wanted
from fullcontext.data.groups import SHAREABLE, Group, Posed
from fullcontext.data.lengths import Law
from fullcontext.data.markers import Markers
from fullcontext.data.table import Numbers, Store
from fullcontext.data.tokens import Prompt
from fullcontext.randomness import rng
from fullcontext.records import Asked, Example, Ids

NONE = np.zeros(0, np.int32)
SLACK = 2
"""Tokens kept free in every context for the newlines that end it."""


class Assembler:
    """Puts questions of a store into contexts."""

    def __init__(self, config: DataConfig, prompt: Prompt, store: Store, seed: int) -> None:
        self.config, self.prompt, self.store, self.seed = config, prompt, store, seed
        self.fillers = Fillers(config, prompt, store)
        self.markers = Markers(prompt, config.answer_style is AnswerStyle.cite_segment)
        self._law = lru_cache(maxsize=16)(self._make_law)
        for stage in config.all_stages:
            self.law(stage)

    def law(self, stage: DataConfig) -> Law:
        """The length law of a stage."""
        return self._law(*stage.context_range)

    def _make_law(self, low: int, high: int) -> Law:
        stage = replace(self.config, context_range=[low, high], curriculum=[])
        return Law(stage, self.store.document_tokens())

    def pose(self, index: int, turn: int, kind: str, place: int) -> Posed:
        """The question at a place of its pool as tokens: example `index`, `turn`-th of its kind."""
        stored = self.store.stored(kind, place)
        question = stored.question
        ask = self.prompt.ask_closed if kind == "instruction" else self.prompt.ask
        asked = ask(question.question, question.answer, id=question.id, kind=kind)
        return Posed(index, turn, stored, asked)

    def gather(self, posed: Sequence[Posed], stage: DataConfig) -> list[Group]:
        """The contexts of an optimizer step: `questions_per_context` questions of a shareable kind
        in each, in the order of their first questions."""
        shared = stage.questions_per_context
        if shared == 1:
            return [Group([each]) for each in posed]
        together = [each for each in posed if each.asked.kind in SHAREABLE]
        alone = [Group([each]) for each in posed if each.asked.kind not in SHAREABLE]

        @cache
        def length(index: int) -> int:
            return self.law(stage).draw(rng(self.seed, "context", index))

        def fits(several: Sequence[Posed]) -> bool:
            return self.needs(several) <= length(several[0].index)

        made = alone + groups.gather(together, shared, self._clash, fits)
        return sorted(made, key=lambda group: group.posed[0].index)

    def _clash(self, one: Posed, other: Posed) -> bool:
        """Whether two questions cannot share a context: one document, or a second answer."""
        if one.stored.question.parent == other.stored.question.parent:
            return True
        for a, b in ((one, other), (other, one)):
            answer = a.stored.question.answer.encode()
            exact = self.config.exclude_answer and a.asked.kind == "fine_grained"
            if exact and self.store.segments.holding(answer, b.stored.context):
                return True
        return False

    def needs(self, posed: Sequence[Posed]) -> int:
        """The tokens of the shortest example with some questions and their evidence."""
        evidence = [number for each in posed for number in each.stored.evidence]
        tokens = int(self.store.segments.lengths[evidence].sum())
        return self._fixed(posed) + tokens + self.markers.tokens(len(evidence))

    def _fixed(self, posed: Sequence[Posed]) -> int:
        """Tokens of all that is not a segment."""
        fixed = len(self.prompt.head(posed[0].stored.question.question)) + SLACK
        for each in posed:
            fixed += len(each.asked.prompt) + len(each.asked.answer)
            fixed += self.markers.cited(len(each.stored.evidence))
        return fixed

    def example(self, group: Group, stage: DataConfig) -> Example:
        """The example of some questions; its randomness is that of the first one's id.

        Raises ConfigError if the evidence fits in no context, or the store has too little filler.
        """
        posed, notes = group.posed, list(group.notes)
        first = posed[0]
        if first.asked.kind == "instruction":
            asked = replace(first.asked, index=first.index, source=first.stored.question.source)
            return Example(first.index, NONE, (asked,))
        generator = rng(self.seed, "context", first.index)
        fixed = self._fixed(posed)
        most = stage.context_range[1] - fixed
        if first.asked.kind not in SHAREABLE:
            own = self._own(posed, most, most, notes)
            ranks = [list(range(len(own[0])))]
            return self._join(posed, own, Found(NONE, None), ranks, None, notes)
        requested = self.law(stage).draw(generator)
        own = self._own(posed, requested - fixed, most, notes)
        found = self._filler(posed, own, requested - fixed, generator, notes)
        count = len(found.numbers) + (found.cut is not None)
        turns = [each.turn for each in posed]
        ranks = placement.ranks(stage, [len(each) for each in own], count, turns, generator)
        return self._join(posed, own, found, ranks, requested, notes)

    def _own(
        self, posed: Sequence[Posed], wanted: int, most: int, notes: list[str]
    ) -> list[list[int]]:
        """The segments of each question. What is not evidence gives way where there is no room."""
        lengths = self.store.segments.lengths
        own = [list(each.stored.context) for each in posed]
        count = sum(map(len, own))
        total = sum(int(lengths[each].sum()) for each in own)
        for each, kept in zip(posed[::-1], own[::-1], strict=True):
            evidence = set(each.stored.evidence)
            for number in [n for n in kept[::-1] if n not in evidence]:
                if total + self.markers.tokens(count) <= wanted:
                    break
                kept.remove(number)
                total, count = total - int(lengths[number]), count - 1
                notes.append(f"{each.asked.kind}: own segment without evidence left out")
        total += self.markers.tokens(count)
        question = posed[0].stored.question
        if total > most:
            raise ConfigError(
                f"the evidence of question {question.id} has {total} tokens, but"
                f" data.context_range[1] leaves {most};"
                " raise it, or make a store with a smaller data.segment_size"
            )
        if total > wanted:
            notes.append(f"{question.kind}: context longer than drawn, to hold its evidence")
        return own

    def _filler(
        self, posed: Sequence[Posed], own: list[list[int]], room: int,
        generator: np.random.Generator, notes: list[str],
    ) -> Found:  # fmt: skip
        """Filler for what the questions' own segments leave of `room`."""
        table = self.store.segments
        numbers = [number for each in own for number in each]
        room -= int(table.lengths[numbers].sum())
        if room <= 0:
            return Found(NONE, None)
        first = posed[0].stored.context[0]
        wanted = Wanted(
            room=self.markers.room(room, len(numbers), len(self.store.fillers)),
            parents=[int(table.parents[each.stored.context[0]]) for each in posed],
            answers=[e.stored.question.answer.encode() for e in posed if self._excludes(e)],
            source=int(table.sources[first]),
            neighbours=self._neighbours(posed),
        )
        found = self.fillers.draw(wanted, generator)
        notes += wanted.notes.elements()
        return found

    def _excludes(self, posed: Posed) -> bool:
        everywhere = self.config.filler is Filler.hard
        return self.config.exclude_answer and (everywhere or posed.asked.kind == "fine_grained")

    def _neighbours(self, posed: Sequence[Posed]) -> Numbers:
        """The filler most like the questions, the best of each question first."""
        if self.store.neighbours is None or self.config.filler is not Filler.hard:
            return NONE
        lists = [self.store.neighbours[each.stored.row] for each in posed]
        place = np.concatenate([np.arange(len(each)) for each in lists])
        best: Numbers = np.concatenate(lists)[np.argsort(place, kind="stable")]
        return best

    def _join(
        self, posed: Sequence[Posed], own: list[list[int]], found: Found,
        ranks: list[list[int]], requested: int | None, notes: list[str],
    ) -> Example:  # fmt: skip
        pieces = self._pieces(own, found, ranks)
        asked = []
        for each, kept, at in zip(posed, own, ranks, strict=True):
            evidence = set(each.stored.evidence)
            places = sorted(
                rank for number, rank in zip(kept, at, strict=True) if number in evidence
            )
            asked.append(self._placed(each, places, len(pieces)))
        total = sum(each.evidence for each in asked)
        head = self.prompt.head(posed[0].stored.question.question)
        return Example(
            index=posed[0].index,
            context=np.concatenate([head, *self.markers.between(pieces)]),
            asked=tuple(asked),
            requested=requested,
            evidence=total,
            fillers=len(pieces) - total,
            notes=tuple(notes),
        )

    def _pieces(self, own: list[list[int]], found: Found, ranks: list[list[int]]) -> list[Ids]:
        """Token arrays in context order, the last with the newlines that end the context."""
        segments, fillers = self.store.segments, self.store.fillers
        pieces = fillers.tokens(found.numbers)
        if found.cut is not None:
            pieces.append(found.cut.tokens)
        numbers = [number for each in own for number in each]
        places = [rank for each in ranks for rank in each]
        mine = sorted(zip(places, numbers, segments.tokens(numbers), strict=True))
        for rank, _, tokens in mine:
            pieces.insert(rank, tokens)
        if mine[-1][0] == len(pieces) - 1:
            text = bytes(segments.texts([mine[-1][1]])[0])
        elif found.cut is not None:
            text = found.cut.text
        else:
            text = bytes(fillers.texts(found.numbers[-1:])[0])
        pieces[-1] = self.prompt.ending(pieces[-1], text)
        return pieces

    def _placed(self, posed: Posed, places: list[int], pieces: int) -> Asked:
        """A question with the place of its evidence, which its answer cites where that is asked."""
        asked, question = posed.asked, posed.stored.question
        if self.markers.used:
            answer = self.markers.cite(places) + " " + question.answer
            asked = self.prompt.ask(question.question, answer, id=question.id, kind=question.kind)
        return replace(
            asked,
            index=posed.index,
            source=question.source,
            evidence=len(places),
            depth=(sum(places) / len(places) + 0.5) / pieces,
        )
