"""What is read, asked and assembled."""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fullcontext.config import check
from fullcontext.config.key_value import KeyValueConfig

KINDS = ("fine_grained", "integration", "short_context", "instruction", "key_value", "pair")
"""Every kind of question a mixture may hold."""
SHORT_TOKENS = {"short_context": 700, "instruction": 500}
"""Tokens of an example of the kinds without an assembled context, where they are reckoned with
before there is a store: a text of 600 tokens and its prompt, a conversation."""


class Placement(StrEnum):
    """Where the evidence goes among the filler."""

    shuffle = "shuffle"
    stratified = "stratified"
    head = "head"
    tail = "tail"
    middle = "middle"
    ends = "ends"


class LengthLaw(StrEnum):
    """How the length of a context is drawn from `context_range`."""

    uniform = "uniform"
    log_uniform = "log_uniform"
    fixed = "fixed"
    natural = "natural"
    """As long as a raw document of the corpus, drawn among those within the range."""


class Filler(StrEnum):
    """Which segments surround the evidence; never those of the question's own document."""

    random = "random"
    same_source = "same_source"
    """Of the same source, as long as it has any left; then random."""
    hard = "hard"
    """The BM25 neighbours of the question without its answer; then random."""


class EvidenceOrder(StrEnum):
    """The order of a question's own segments among each other."""

    shuffled = "shuffled"
    kept = "kept"


class QuestionPosition(StrEnum):
    """Where the question stands."""

    after = "after"
    """After the context, as `data.prompt` has it."""
    before = "before"
    """Before the context, as `data.prompt_before` has it."""
    both = "both"
    """The beginning of `data.prompt_before`, the end of `data.prompt`."""


class AnswerStyle(StrEnum):
    """What an answer holds."""

    plain = "plain"
    cite_segment = "cite_segment"
    """Segments are numbered, and the numbers of the evidence stand before the answer."""


@dataclass(kw_only=True)
class StageConfig:
    """A number of steps, and what differs in them; null leaves a setting as it is."""

    steps: int
    context_range: list[int] | None = None
    placement: Placement | None = None
    questions_per_context: int | None = None

    def __post_init__(self) -> None:
        check.within("data.curriculum.steps", self.steps, 1)


@dataclass(kw_only=True)
class DataConfig:
    """The mixture, the contexts and the prompt."""

    name: str
    mixture: dict[str, float]
    """Share of *examples* (not tokens) of each kind; sums to 1."""
    examples: dict[str, int]
    """Questions wanted of each kind: the most that synthesize.py stores, and one epoch."""
    segment_size: int = 128
    """Least tokens of a segment, the unit of evidence and filler (IN2 algorithm 1)."""
    filler_segment_size: int | None = None
    """Least tokens of a filler segment; null takes the evidence's own segments as filler."""
    context_range: list[int] = field(default_factory=lambda: [4096, 32768])
    """Least and most tokens of an example, prompt, question and answer counted in."""
    length: LengthLaw = LengthLaw.uniform
    placement: Placement = Placement.shuffle
    depth_bins: int = 10
    """Bins of `placement: stratified` and of the data report."""
    filler: Filler = Filler.random
    hard_neighbours: int = 32
    """Neighbours kept of every question for `filler: hard`."""
    evidence_order: EvidenceOrder = EvidenceOrder.shuffled
    question_position: QuestionPosition = QuestionPosition.after
    answer_style: AnswerStyle = AnswerStyle.plain
    exclude_answer: bool = True
    """No filler segment may contain the answer of a fine-grained question verbatim."""
    drop_oversized: bool = False
    """Leaves out, and counts, questions whose evidence fits in no context; otherwise an error."""
    questions_per_context: int = 1
    """Questions that share one context, each with its exact own loss."""
    curriculum: list[StageConfig] = field(default_factory=list)
    """What the first steps differ in, stage after stage; the steps after them are as above."""
    limit: int | None = None
    """Only the first so many examples, again and again, to see whether they can be learnt by heart;
    null goes through all."""
    separator: str = "\n"
    """Between segments."""
    prompt: str = "{context}\n\n{question}"
    """What the user says, before the model's chat markup."""
    prompt_before: str = "{question}\n\n{context}\n\nAnswer:"
    """The same for `question_position: before`."""
    closed_prompt: str = "{question}"
    """The same for examples without a context."""
    key_value: KeyValueConfig = field(default_factory=KeyValueConfig)
    store: str | None = None
    """Folder of segments and questions; null derives it from corpus, tokenizer and sizes."""
    pairs: str | None = None
    """Folder of pairs that improve.py made, for the kind `pair`."""

    def __post_init__(self) -> None:
        check.ratios("data.mixture", self.mixture)
        for kind in (*self.mixture, *self.examples):
            check.one_of("data.mixture", kind, KINDS)
        for kind, ratio in self.mixture.items():
            if ratio > 0 and self.examples.get(kind, 0) < 1:
                raise ValueError(
                    f"data.mixture.{kind}={ratio:g} but data.examples.{kind} is"
                    f" {self.examples.get(kind, 0)}; ask for at least 1 or set the ratio to 0"
                )
        if "pair" in self.kinds and self.pairs is None:
            raise ValueError(
                "data.mixture.pair needs data.pairs=FOLDER: the pairs of improve.py, e.g."
                " outputs/improve/NAME/round_1/pairs"
            )
        check.within("data.segment_size", self.segment_size, 8 if self.needs_store else 1, 1 << 20)
        if len(self.context_range) != 2 or self.context_range[0] > self.context_range[1]:
            raise ValueError(
                f"data.context_range={self.context_range} must be [least, most] with least <= most"
            )
        check.within("data.context_range", self.context_range[0], 16)
        check.within("data.depth_bins", self.depth_bins, 2)
        check.within("data.questions_per_context", self.questions_per_context, 1)
        check.within("data.filler_segment_size", self.filler_segment_size, 8, 1 << 20)
        check.within("data.hard_neighbours", self.hard_neighbours, 1)
        check.within("data.limit", self.limit, 1)
        if self.length is LengthLaw.natural and "key_value" in self.kinds:
            raise ValueError(
                "data.length=natural draws the lengths of documents, which key_value has none of;"
                " choose uniform, log_uniform or fixed, or set data.mixture.key_value to 0"
            )
        if not self.separator.endswith("\n") or self.separator.strip():
            raise ValueError(
                f"data.separator={self.separator!r} must be white space that ends in a newline:"
                " only there may token arrays be joined without tokenising again"
            )
        self._check_prompt()

    def at(self, step: int) -> "DataConfig":
        """The settings of a step: those of its stage of the curriculum, or these."""
        for stage in self.curriculum:
            if step < stage.steps:
                return self._in(stage)
            step -= stage.steps
        return self

    @property
    def all_stages(self) -> "list[DataConfig]":
        """The settings of every stage, and those after the curriculum."""
        return [*map(self._in, self.curriculum), self]

    def _in(self, stage: StageConfig) -> "DataConfig":
        differing = {
            name: value
            for name in ("context_range", "placement", "questions_per_context")
            if (value := getattr(stage, name)) is not None
        }
        return replace(self, curriculum=[], **differing)

    def _check_prompt(self) -> None:
        for key, prompt in (("prompt", self.prompt), ("prompt_before", self.prompt_before)):
            if prompt.count("{context}") != 1 or prompt.count("{question}") != 1:
                raise ValueError(
                    f"data.{key}={prompt!r} must hold {{context}} and {{question}} once each"
                )
            head, rest = prompt.split("{context}")
            if (head and not head.endswith("\n")) or not rest.startswith("\n"):
                raise ValueError(
                    f"data.{key}={prompt!r} must have a newline right before and after"
                    " {context}: only there may token arrays be joined without tokenising again"
                )
        if self.closed_prompt.count("{question}") != 1:
            raise ValueError(f"data.closed_prompt={self.closed_prompt!r} must hold {{question}}")
        if "{question}" in self.prompt.split("{context}")[0]:
            raise ValueError(
                f"data.prompt={self.prompt!r} must have {{question}} after {{context}}; for the"
                " other order use data.prompt_before and data.question_position=before"
            )
        if self.question_position is not QuestionPosition.after:
            self._check_before()

    def _check_before(self) -> None:
        position = f"data.question_position={self.question_position.value}"
        shared = max(stage.questions_per_context for stage in self.all_stages)
        if shared > 1:
            raise ValueError(
                f"{position} puts the question before the context, which"
                f" data.questions_per_context={shared} questions cannot share; set one of them to"
                " its default (after, 1)"
            )
        if "{question}" not in self.prompt_before.split("{context}")[0]:
            raise ValueError(
                f"data.prompt_before={self.prompt_before!r} must have {{question}} before"
                f" {{context}} for {position}"
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds with a positive share, in the order of the mixture."""
        return tuple(kind for kind, ratio in self.mixture.items() if ratio > 0)

    @property
    def mean_tokens(self) -> float:
        """Tokens of an example by the mixture and the length law, after the curriculum; questions
        that share a context have its k-th part each.

        Raises ValueError for lengths that only the store knows.
        """
        low, high = self.context_range
        match self.length:
            case LengthLaw.fixed:
                drawn = float(high)
            case LengthLaw.uniform:
                drawn = (low + high) / 2
            case LengthLaw.log_uniform:
                drawn = (high - low) / math.log(high / low) if high > low else float(high)
            case LengthLaw.natural:
                raise ValueError("data.length=natural draws lengths that only the store knows")
        each = drawn / self.questions_per_context
        return sum(self.mixture[kind] * SHORT_TOKENS.get(kind, each) for kind in self.kinds)

    @property
    def needs_store(self) -> bool:
        """Whether any kind is read from a store rather than made on the fly."""
        return not set(self.kinds) <= {"key_value", "pair"}
