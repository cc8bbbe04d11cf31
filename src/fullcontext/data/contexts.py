"""Questions to examples: evidence among filler, as a pure function of (seed, example id)."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, LengthLaw, Placement
from fullcontext.data.reader import Store
from fullcontext.data.tokens import Prompt
from fullcontext.records import Asked, Example, Ids, Question

PROMPT_TOKENS = 2048
"""No question and answer are longer: what fits beside so many needs no closer look."""

SLACK = 2
"""Tokens kept free in every context for the newlines that end it."""

_TRIES = 64
"""Filler segments looked at that may not be used, in a row, before the corpus counts as empty."""


@dataclass(slots=True, eq=False)
class Piece:
    """A segment in a context: its tokens, its text, and whether it belongs to the question."""

    tokens: Ids
    text: str | None
    number: int
    evidence: bool


def draw_length(config: DataConfig, generator: np.random.Generator) -> int:
    """Tokens of an example by the length law."""
    low, high = config.context_range
    match config.length:
        case LengthLaw.fixed:
            return high
        case LengthLaw.uniform:
            return int(generator.integers(low, high + 1))
        case LengthLaw.log_uniform:
            return round(math.exp(generator.uniform(math.log(low), math.log(high))))
        case LengthLaw.natural:
            raise NotImplementedError


def places(
    config: DataConfig, evidence: int, fillers: int, turn: int, generator: np.random.Generator
) -> list[int]:
    """How many fillers stand before each evidence piece, for pieces in shuffled order.

    `shuffle` makes every order of pieces equally likely; the others aim at a depth. `turn` counts
    the contexts of one kind: `stratified` gives each depth bin its turn.
    """
    if config.placement is Placement.shuffle:
        order = generator.permutation(evidence + fillers)
        ranks = np.sort(order[:evidence])
        return [int(rank) - i for i, rank in enumerate(ranks)]
    match config.placement:
        case Placement.head:
            depth = 0.0
        case Placement.tail:
            depth = 1.0
        case Placement.middle:
            depth = 0.5
        case Placement.ends:
            depth = float(generator.integers(2))
        case _:
            bin = turn % config.depth_bins
            depth = (bin + float(generator.random())) / config.depth_bins
    return [min(fillers, int(depth * (fillers + 1)))] * evidence


def fit(config: DataConfig, prompt: Prompt, store: Store) -> dict[str, int]:
    """Takes questions whose evidence fits in no context out of the store's pools; how many.

    Raises ConfigError with the counts unless `data.drop_oversized` is on.
    """
    least = min(stage.context_range[1] for stage in config.all_stages)
    oversized: dict[str, int] = {}
    for kind in (k for k in config.kinds if k in store.pools and k != "instruction"):
        fits = _fits(store, prompt, kind, least)
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


def _fits(store: Store, prompt: Prompt, kind: str, most: int) -> np.ndarray[Any, Any]:
    """Which questions of a pool fit. Only those in doubt are tokenised."""
    evidence = store.evidence_tokens(kind) + len(prompt.head) + SLACK
    fits = np.ones(len(evidence), bool)
    for place in np.flatnonzero(evidence + PROMPT_TOKENS > most):
        question = store.question(kind, int(place))
        asked = prompt.ask(question.question, question.answer)
        fits[place] = evidence[place] + len(asked.prompt) + len(asked.answer) <= most
    return fits


class Assembler:
    """Puts questions of a store into contexts."""

    def __init__(self, config: DataConfig, prompt: Prompt, store: Store) -> None:
        self.config, self.prompt, self.store = config, prompt, store

    def example(
        self,
        index: int,
        turn: int,
        question: Question,
        stage: DataConfig,
        generator: np.random.Generator,
    ) -> Example:
        """The example of a question, the `turn`-th of its kind.

        Raises ConfigError if its evidence fits in no context.
        """
        named = {"id": question.id, "kind": question.kind}
        if question.kind == "instruction":
            asked = self.prompt.ask_closed(question.question, question.answer, **named)
            return Example(index, np.zeros(0, np.int32), (asked,))
        asked = self.prompt.ask(question.question, question.answer, **named)
        fixed = len(self.prompt.head) + len(asked.prompt) + len(asked.answer) + SLACK
        notes: list[str] = []
        if question.kind == "short_context":
            most = stage.context_range[1] - fixed
            pieces = self._own(question, most, most, notes)
            return self._join(index, asked, pieces, None, notes)
        requested = draw_length(stage, generator)
        most = stage.context_range[1] - fixed
        own = self._own(question, requested - fixed, most, notes)
        room = requested - fixed - sum(len(p.tokens) for p in own)
        fillers = self._fillers(question, room, generator, notes)
        pieces = _arrange(turn, own, fillers, stage, generator)
        return self._join(index, asked, pieces, requested, notes)

    def _own(self, question: Question, wanted: int, most: int, notes: list[str]) -> list[Piece]:
        """The question's own segments. What is not evidence gives way where there is no room."""
        evidence = set(question.evidence)
        pieces = [
            self._piece(number, evidence=id in evidence)
            for id, number in zip(
                question.context, self.store.number(question.context), strict=True
            )
        ]
        total = sum(len(p.tokens) for p in pieces)
        for piece in [p for p in pieces[::-1] if not p.evidence]:
            if total <= wanted:
                break
            pieces.remove(piece)
            total -= len(piece.tokens)
            notes.append(f"{question.kind}: own segment without evidence left out")
        if total > most:
            raise ConfigError(
                f"the evidence of question {question.id} has {total} tokens, but"
                f" data.context_range[1] leaves {most};"
                " raise it, or make a store with a smaller data.segment_size"
            )
        if total > wanted:
            notes.append(f"{question.kind}: context longer than drawn, to hold its evidence")
        return pieces

    def _piece(self, number: int, evidence: bool) -> Piece:
        return Piece(self.store.tokens(number), None, number, evidence)

    def _fillers(
        self, question: Question, room: int, generator: np.random.Generator, notes: list[str]
    ) -> list[Piece]:
        """Random segments of other documents that fill `room` tokens; the last is cut to fit."""
        own = self.store.parents[self.store.number(question.context[:1])[0]]
        forbidden = question.answer if self._excludes(question) else None
        used: set[int] = set()
        found: list[Piece] = []
        refused = 0
        while room > 0:
            number = int(generator.integers(len(self.store.lengths)))
            if number in used or self.store.parents[number] == own:
                refused += 1
                if refused > _TRIES and len(used) + refused > 4 * len(self.store.lengths):
                    raise ConfigError(
                        f"the store {self.store.folder} is too small for contexts of"
                        f" {self.config.context_range[1]} tokens; use a larger corpus or shorter"
                        " contexts (data.context_range)"
                    )
                continue
            used.add(number)
            if forbidden and forbidden in self.store.text(number):
                notes.append("filler that holds the answer passed over")
                continue
            piece = self._piece(number, evidence=False)
            if len(piece.tokens) > room:
                cut = self._cut(piece, room, notes)
                return [*found, cut] if cut else found
            found.append(piece)
            room -= len(piece.tokens)
        return found

    def _excludes(self, question: Question) -> bool:
        return self.config.exclude_answer and question.kind == "fine_grained"

    def _cut(self, piece: Piece, room: int, notes: list[str]) -> Piece | None:
        """The first words of a filler that fit; tokenised anew, so that joining stays exact."""
        words = self.store.text(piece.number).split(" ")
        low, high = 0, len(words)
        best: Piece | None = None
        while low < high:
            middle = (low + high + 1) // 2
            text = " ".join(words[:middle]).rstrip()
            tokens = self.prompt.encoder.encode(text + self.prompt.separator)
            if text and len(tokens) <= room:
                best, low = replace(piece, tokens=tokens, text=text), middle
            else:
                high = middle - 1
        notes.append("last filler cut to the drawn length")
        return best

    def _join(
        self,
        index: int,
        asked: Asked,
        pieces: list[Piece],
        requested: int | None,
        notes: list[str],
    ) -> Example:
        last = pieces[-1]
        text = last.text if last.text is not None else self.store.text(last.number)
        tokens = [*(p.tokens for p in pieces[:-1]), self.prompt.last(text)]
        evidence = sum(p.evidence for p in pieces)
        return Example(
            index=index,
            context=np.concatenate([self.prompt.head, *tokens]).astype(np.int32),
            asked=(replace(asked, depth=_depth(pieces)),),
            requested=requested,
            evidence=evidence,
            fillers=len(pieces) - evidence,
            notes=tuple(notes),
        )


def _depth(pieces: list[Piece]) -> float:
    """Mean place of the evidence by piece: piece r of n is at (r + 0.5) / n."""
    ranks = [rank for rank, piece in enumerate(pieces) if piece.evidence]
    return (float(np.mean(ranks)) + 0.5) / len(pieces)


def _arrange(
    turn: int,
    own: list[Piece],
    fillers: list[Piece],
    stage: DataConfig,
    generator: np.random.Generator,
) -> list[Piece]:
    """Own segments among fillers, both in shuffled order, by the placement."""
    own = [own[i] for i in generator.permutation(len(own))]
    fillers = [fillers[i] for i in generator.permutation(len(fillers))]
    before = places(stage, len(own), len(fillers), turn, generator)
    pieces: list[Piece] = []
    for i, filler in enumerate([*fillers, None]):
        pieces += [piece for piece, at in zip(own, before, strict=True) if at == i]
        if filler is not None:
            pieces.append(filler)
    return pieces
