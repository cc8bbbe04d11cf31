"""adapt.py: which documents, what is trained on each, and how its questions are answered (LIFT)."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check, expected
from fullcontext.config.adapter import AdapterConfig
from fullcontext.config.corpus import CorpusConfig
from fullcontext.config.data import DataConfig, QuestionPosition
from fullcontext.config.lessons import (
    AuxiliaryConfig,
    ContextualiseConfig,
    EpochsConfig,
    RehearsalConfig,
    SegmentsConfig,
)
from fullcontext.config.planning import HardwareConfig, PlanConfig
from fullcontext.config.sharding import Checkpointing
from fullcontext.config.training import (
    ModelConfig,
    Normalise,
    OptimizerConfig,
    PositionsConfig,
    Precision,
    ScheduleConfig,
    TrackingConfig,
)
from fullcontext.config.writing import FiltersConfig, JudgeConfig, WriterConfig


class Mode(StrEnum):
    """How a question is answered; each with the adapter and, as a baseline, without it."""

    closed_book = "closed_book"
    """The question alone."""
    in_context = "in_context"
    """After the document; of one that is too long, its head, "..." and its tail."""


@dataclass(kw_only=True)
class DocumentsConfig:
    """Where documents and their questions are from. Each source is an option."""

    name: str


@dataclass(kw_only=True)
class GivenDocuments(DocumentsConfig):
    """What `document=` and `question=` name: text files, or .jsonl with questions."""

    name: str = "given"


@dataclass(kw_only=True)
class KeyValueDocuments(DocumentsConfig):
    """Invented dictionaries in the form of data.key_value, each item asked for."""

    name: str = "key_value"
    number: int = 1
    """Documents."""
    tokens: int = 512
    """Of each; its last item still fits."""
    told: float = 0.5
    """Share of the items that auxiliary questions are about; the others are asked for only in the
    end. 0 leaves the auxiliary questions out."""

    def __post_init__(self) -> None:
        check.within("documents.number", self.number, 1)
        check.within("documents.tokens", self.tokens, 8)
        check.within("documents.told", self.told, 0, 1)


@dataclass(kw_only=True)
class AnsweringConfig:
    """How the questions of a document are answered."""

    modes: list[Mode] = field(default_factory=lambda: [Mode.closed_book, Mode.in_context])
    unadapted: bool = True
    """Whether the model answers without the adapter, too."""
    limit: int = 7800
    """Most tokens of document, question and mark-up in context; the middle of a longer document is
    left out, and counted."""
    max_new_tokens: int = 200
    others: int = 0
    """Other documents of the same source, in context, with their questions before and after: what
    the adaptation costs elsewhere. They are those that come next; of invented ones further ones."""

    def __post_init__(self) -> None:
        check.within("answering.limit", self.limit, 16)
        check.within("answering.max_new_tokens", self.max_new_tokens, 1)
        check.within("answering.others", self.others, 0)
        if not self.modes:
            raise ValueError(
                f"answering.modes is empty; choose from {', '.join(m.value for m in Mode)}"
            )


@dataclass(kw_only=True)
class ParaphraseConfig:
    """Scores that grant other words for the same; those of the answers that are there, too."""

    meteor: bool = False
    """METEOR, with nltk and its WordNet."""
    bertscore: str | None = None
    """Encoder of BERTScore, by hub name or folder; LooGLE's is FacebookAI/roberta-large."""
    layer: int = 17
    """Whose states BERTScore compares; 17 is the authors' choice for roberta-large."""

    def __post_init__(self) -> None:
        check.within("paraphrase.layer", self.layer, 1)


@dataclass(kw_only=True)
class AdaptConfig:
    """adapt.py: a document -> an adapter -> answers."""

    model: ModelConfig
    positions: PositionsConfig
    documents: DocumentsConfig
    data: DataConfig
    """Wording of questions in context and closed book; what `documents=key_value` and rehearsal
    draw from."""
    corpus: CorpusConfig
    """Only for the store that rehearsal may read."""
    writer: WriterConfig
    judge: JudgeConfig
    filters: FiltersConfig
    adapter: AdapterConfig
    schedule: ScheduleConfig
    tracking: TrackingConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    contextualise: ContextualiseConfig = field(default_factory=ContextualiseConfig)
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    epochs: EpochsConfig = field(default_factory=EpochsConfig)
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig)
    answering: AnsweringConfig = field(default_factory=AnsweringConfig)
    paraphrase: ParaphraseConfig = field(default_factory=ParaphraseConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    document: str | None = None
    """For documents=given: a text file, a folder of .txt files, or a .jsonl with a document a line
    (id, title, text, questions: [{id, question, answers, kind}])."""
    question: str | None = None
    """Asked of every text file."""
    document_tokens: int | None = None
    """For plan.py: the tokens of a document; null takes those of `documents=key_value`, or of
    `document=`, four characters a token, or LooGLE's mean of 24,005."""
    run: str | None = None
    """Training run whose model is adapted; null adapts `model`."""
    name: str = "adapt"
    """Folder of this adaptation in `output`."""
    output: str = "outputs/adapt"
    answers: str = "outputs/answers"
    """Folder of everything that models replied: what is in it is not asked again."""
    claim: str | None = None
    expected: dict[str, float] = field(default_factory=dict)
    """Published figures, in points of 100, by kind of question and metric."""
    part: int = 0
    """Which of `parts` processes this is: documents are dealt out in turn."""
    parts: int = 1
    max_tokens: int = 8192
    """Most tokens that run through the model at once in training."""
    normalise: Normalise = Normalise.token
    precision: Precision = Precision.bf16
    checkpointing: Checkpointing = Checkpointing.auto
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        expected.checked("expected", self.expected)
        check.within("parts", self.parts, 1)
        check.within("max_tokens", self.max_tokens, 16)
        check.within("document_tokens", self.document_tokens, 16)
        check.within("part", self.part, 0, self.parts - 1)
        check.within("threads", self.threads, 1)
        self.precision.refuse_lossy()
        self.checkpointing = self.checkpointing.settled(self.model.architecture.num_parameters)
        if not self.name or "/" in self.name:
            raise ValueError(f"name={self.name!r} names no folder; set output= for its place")
        self._check_documents()
        self._check_training()
        self._check_lengths()

    def _check_documents(self) -> None:
        given = isinstance(self.documents, GivenDocuments)
        if given and self.document is None:
            raise ValueError(
                "document is not given; add document=FILE, or choose documents=key_value or"
                " documents=loogle"
            )
        if not given and (self.document or self.question):
            raise ValueError(
                f"document= and question= go with documents=given, not with"
                f" documents={self.documents.name}; remove them"
            )
        if self.data.question_position is not QuestionPosition.after:
            raise ValueError(
                "adapt.py needs data.question_position=after: questions share the document"
            )
        if self.filters.needs_judge and self.judge.name == "none":
            raise ValueError(
                "filters.closed_book, filters.single_piece and filters.evidence=nll need a model;"
                " choose judge=openai judge.model=NAME or judge=local judge.path=FOLDER"
            )

    def _check_training(self) -> None:
        documents = self.documents
        invented = isinstance(documents, KeyValueDocuments)
        told = documents.told if isinstance(documents, KeyValueDocuments) else 0.0
        written = 0 if invented else self.auxiliary.number
        if not self.segments.use and not written and not told:
            raise ValueError(
                "segments.use=false and no question about it (auxiliary.number, documents.told):"
                " nothing would be learnt of a document"
            )
        if self.epochs.segments and not self.segments.use:
            raise ValueError(
                f"epochs.segments={self.epochs.segments} with segments.use=false; set it to 0"
            )
        if told and not self.epochs.both:
            raise ValueError(
                f"epochs.both=0 with documents.told={told:g}: what is told would not be"
                " learnt; set documents.told=0 or epochs.both"
            )
        if written and not self.epochs.both:
            raise ValueError(
                f"epochs.both=0 with auxiliary.number={written}: the questions would"
                " be written and not learnt; set auxiliary.number=0 or epochs.both"
            )

    def _check_lengths(self) -> None:
        positions = self.model.architecture.max_positions
        sample = self.contextualise.tokens if self.contextualise.use else 0
        for key, tokens in (
            ("answering.limit", self.answering.limit + self.answering.max_new_tokens),
            ("segments.tokens", self.segments.tokens + sample if self.segments.use else 0),
        ):
            if tokens > positions:
                raise ValueError(
                    f"{key}: {tokens} tokens in all exceed"
                    f" model.architecture.max_positions={positions} of model {self.model.name};"
                    f" lower it (answering.max_new_tokens and contextualise.tokens count, too)"
                )
