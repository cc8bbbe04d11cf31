"""The nouns of the pipeline, in the order in which they arise."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
"""Token ids, shape (tokens,)."""

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

IGNORE = -100
"""The label of a position that is not supervised."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus."""

    id: str
    text: str
    source: str
    """Where it is from: a president, a host, a file; the name of the corpus if nothing finer."""
    licence: str
    parent: str
    """Id of the raw document this text was cut from; its own id if it is whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A newline-aligned piece of a document, at least `segment_size` tokens."""

    id: str
    document: str
    parent: str
    index: int
    """Place in its document."""
    text: str
    tokens: Ids
    """The ids of `text + separator`, as they stand in any context (see data/tokens.py)."""
    source: str = ""
    """That of its document."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer and the segments that hold the answer."""

    id: str
    kind: str
    """One of config.KINDS."""
    question: str
    answer: str
    evidence: tuple[str, ...]
    """Segment ids; empty only for instructions."""
    context: tuple[str, ...]
    """Segment ids that go into the context whatever else does: the evidence, for integration and
    short context every segment of the document (IN2, equation 2)."""
    document: str
    parent: str
    source: str = ""
    """That of its document, or the name of the set of instructions it comes from."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question as tokens, after a context that ends in a newline or after nothing."""

    id: str
    kind: str
    prompt: Ids
    answer: Ids
    """Ends with the end-of-sequence token."""
    depth: float | None = None
    """Mean relative place (0-1, by piece of the context) of the evidence; None without context."""
    position: int | None = None
    """Index of the asked item, where the context is a list of items."""
    index: int = 0
    """Its example id."""
    source: str = ""
    """That of the question."""
    evidence: int = 0
    """Its evidence segments in the context."""
    weights: Floats | None = None
    """Shape (supervised tokens,): what the loss of each counts; None counts each once."""
    preferred: int | None = None
    """Place in its example of the question whose answer is preferred to this one, for objectives
    over pairs; None where there is none."""
    reference: float | None = None
    """Log-probability of the answer under a reference model, for objectives that compare with it.
    """
    whole: bool = False
    """Whether the tokens before its answer are supervised, too: its prompt's and its context's, but
    the first, which nothing predicts. `weights` then begin with theirs."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One or several questions in one assembled context."""

    index: int
    """Example id of the first question; every question has its own."""
    context: Ids
    """Prompt head, segments, and the newlines after them; empty for instructions."""
    asked: tuple[Asked, ...]
    requested: int | None = None
    """Tokens asked of the length law, all questions counted in; None where the kind has a length
    of its own."""
    evidence: int = 0
    """Evidence segments in the context."""
    fillers: int = 0
    """Filler segments in the context."""
    notes: tuple[str, ...] = ()
    """What had to give way while it was assembled, one entry an event."""

    @property
    def tokens(self) -> int:
        """Tokens that run through the model: the context once and every question."""
        return len(self.context) + sum(len(a.prompt) + len(a.answer) for a in self.asked)

    @property
    def supervised(self) -> int:
        """Tokens that carry loss: the answers and their end tokens."""
        return sum(self.supervised_of(asked) for asked in self.asked)

    def supervised_of(self, asked: Asked) -> int:
        """Those of one of its questions."""
        before = len(self.context) + len(asked.prompt) - 1 if asked.whole else 0
        return before + len(asked.answer)

    @property
    def questions(self) -> int:
        """What `batch_size` counts: the answers, but those that another one is preferred to."""
        return sum(asked.preferred is None for asked in self.asked)


class Span(NamedTuple):
    """Token positions [start, stop) of a row."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return self.stop - self.start


class Block(NamedTuple):
    """Queries of one span see the keys of `keys`, and themselves causally.

    A context of 5 tokens with questions of 2 and 3 is
    `Block((0, 5), None), Block((5, 7), (0, 5)), Block((7, 10), (0, 5))`.
    """

    queries: Span
    keys: Span | None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Examples one after another: what one forward pass sees; no padding."""

    input_ids: Ids
    """Shape (tokens,)."""
    position_ids: Ids
    """Shape (tokens,); restart at 0 in every example, and after the context in every question."""
    labels: Ids
    """Shape (tokens,): the token to be predicted *at* each position (shifted already), IGNORE
    where nothing is supervised."""
    blocks: tuple[Block, ...]
    """Who sees whom; covers every position once as a query."""
    label_questions: Ids
    """Shape (supervised tokens,): which question of the row each labelled position belongs to."""
    label_weights: Floats
    """Shape (supervised tokens,): what the loss of each counts."""
    label_answers: Bools
    """Shape (supervised tokens,): whether each is of an answer, rather than of what was asked."""
    pairs: Ids
    """Shape (pairs, 2): questions of the row whose answers are preferred and rejected."""
    references: Floats
    """Shape (questions,): log-probability of each answer under the reference; nan without one."""
    examples: tuple[Example, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one probe question; one line of answers/*.jsonl."""

    task: str
    set: int
    """The context it was asked in; questions of one set are not independent."""
    position: int
    """Index of the asked item."""
    items: int
    """Items in the context."""
    depth: float
    """Relative place of the item's first token in the context, 0-1."""
    context_tokens: int
    question: str
    gold: str
    prediction: str
    score: float
    """VaL's metric of the task (IN2, section 3), 0-1."""
    first_logp: float
    """Log-probability of the answer's first token: a diagnostic, not an accuracy."""
    mean_logp: float
    """Mean log-probability of the gold answer's tokens: a diagnostic, not an accuracy."""
    length: int = 0
    """Tokens that were asked for; `context_tokens` and the longest answer stay within. With the set
    and the position it identifies a question: two runs are paired by the three."""
    window: int = 0
    """Positions the model was made for; 0 where that is not known."""
    strict: float | None = None
    """The metric that no verbose or doubly right answer can please (probe/score.py), 0-1."""
    distance: float | None = None
    """Relative distance of the two asked items, 0-1; None where one item is asked for. `depth` is
    then the place half-way between them."""
