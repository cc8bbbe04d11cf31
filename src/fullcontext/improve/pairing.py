"""One better and one worse output of every problem, or the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

from fullcontext.config import Match, Selector
from fullcontext.improve import scoring
from fullcontext.improve.squad import right
from fullcontext.randomness import rng


@dataclass(frozen=True, slots=True)
class Output:
    """A sampled answer."""

    text: str
    """Without white space at its ends."""
    tokens: int
    is_whole: bool = True
    """Whether it ended by itself."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Those of one problem, with their scores."""

    id: str
    outputs: tuple[Output, ...]
    scores: tuple[float, ...]
    golds: tuple[str, ...]
    greedy: Output | None = None

    @property
    def texts(self) -> list[str]:
        """What they say."""
        return [output.text for output in self.outputs]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pair."""

    better: Output
    worse: Output
    better_score: float | None
    """None of the greedy output, which is none of the scored ones."""
    worse_score: float


def pair(given: Outputs, selector: Selector, match: Match, seed: int) -> Chosen | str:
    """The pair of a problem, or the reason why it has none.

    The rejected output is a seeded draw from the lower half of the scores whose text is not that
    of the chosen one (from all such, if the lower half has none). Outputs that were cut at the most
    tokens may be rejected but not chosen: their end token would be made up.
    """
    order = scoring.ascending(given.scores, given.texts, seed, given.id)
    best = select(given, order, selector, match, seed)
    if isinstance(best, str):
        return best
    better, score = best
    others = [place for place in order if given.outputs[place].text != better.text]
    if not others:
        return "only one output" if len(order) == 1 else "all outputs agree"
    pool = [place for place in scoring.worse_half(order) if place in others] or others
    draw = rng(seed, f"rejected {given.id}")
    worse = pool[int(draw.integers(len(pool)))]
    return Chosen(better, given.outputs[worse], score, given.scores[worse])


def select(
    given: Outputs, order: Sequence[int], selector: Selector, match: Match, seed: int
) -> tuple[Output, float | None] | str:
    """The chosen output and its score, or the reason why there is none.

    `order` has the places of the outputs, worst first.
    """
    whole = [place for place in order if given.outputs[place].is_whole]
    if selector is Selector.greedy:
        assert given.greedy is not None
        usable = given.greedy.is_whole and given.greedy.text
        return (given.greedy, None) if usable else "the greedy output is cut or empty"
    if not whole:
        return "every output is cut at the most tokens"
    place = _place(given, whole, selector, match, seed)
    if not given.outputs[place].text:
        return "the chosen output is empty"
    return given.outputs[place], given.scores[place]


def _place(
    given: Outputs, whole: Sequence[int], selector: Selector, match: Match, seed: int
) -> int:
    if selector is Selector.mbr:
        return whole[-1]
    pool = list(whole)
    if selector is Selector.oracle:
        said = {place: right(given.outputs[place].text, given.golds, match) for place in whole}
        pool = [place for place in whole if said[place] == max(said.values())]
    # Drawn among texts as they are ordered, so that the order of the outputs does not matter.
    return pool[int(rng(seed, f"chosen {given.id}").integers(len(pool)))]
