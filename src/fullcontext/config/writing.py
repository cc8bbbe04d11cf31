"""Who writes the questions, who judges them, and what they have to pass."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check


class Structured(StrEnum):
    """How an endpoint is asked to reply in JSON; what it replies is read tolerantly anyway."""

    auto = "auto"
    """By schema, until the endpoint refuses it."""
    json_schema = "json_schema"
    json_object = "json_object"
    none = "none"
    """By the prompt alone."""


class EvidenceCheck(StrEnum):
    """How an answer is held against its evidence."""

    off = "off"
    words = "words"
    """Enough of the answer's content words occur in the evidence."""
    nll = "nll"
    """The answer is likelier with the evidence than without it, under the local judge."""


class SinglePiece(StrEnum):
    """What becomes of an integration question that one evidence segment alone answers."""

    off = "off"
    drop = "drop"
    demote = "demote"
    """It becomes a fine-grained question about that segment."""


class Duplicates(StrEnum):
    """Which questions count as asked before."""

    off = "off"
    exact = "exact"
    near = "near"
    """MinHash similarity of question and answer, too."""


@dataclass(kw_only=True)
class Sampling:
    """How a language model writes."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 512
    """Longest reply."""

    def check_sampling(self, group: str) -> None:
        """Refuses what no model takes."""
        check.within(f"{group}.temperature", self.temperature, 0, 2)
        check.above(f"{group}.top_p", self.top_p, 0)
        check.within(f"{group}.top_p", self.top_p, 0, 1)
        check.within(f"{group}.max_new_tokens", self.max_new_tokens, 1)


@dataclass(kw_only=True)
class EndpointConfig(Sampling):
    """An OpenAI-compatible endpoint: OpenAI, vLLM, `transformers serve`."""

    base_url: str = "https://api.openai.com/v1"
    model: str
    """Name of the model as the endpoint knows it."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key; a local server needs none."""
    structured: Structured = Structured.auto
    concurrency: int = 32
    """Requests in flight at once."""
    timeout_s: float = 120.0
    """Seconds without a reply after which a request is given up and tried again."""
    tries: int = 6
    """Attempts at one request: 429, 5xx, time-outs and broken connections are tried again, after
    the server's Retry-After or a growing, jittered pause."""
    longest_pause_s: float = 60.0
    """Longest pause between two attempts."""
    give_up_after: int = 20
    """Requests in a row without a reply after which the endpoint counts as dead."""
    price_in: float | None = None
    """Money for a million prompt tokens."""
    price_out: float | None = None
    """Money for a million reply tokens."""
    budget_tokens: int | None = None
    """Tokens, prompt and reply, after which no request is sent any more; earlier runs count."""
    budget_money: float | None = None
    """The same in money; needs both prices."""

    def check_endpoint(self, group: str) -> None:
        """Refuses numbers out of range and a budget that cannot be kept."""
        self.check_sampling(group)
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"{group}.base_url={self.base_url!r} is no URL; it starts with http:// or https://"
            )
        check.within(f"{group}.concurrency", self.concurrency, 1, 4096)
        check.above(f"{group}.timeout_s", self.timeout_s, 0)
        check.within(f"{group}.tries", self.tries, 1)
        check.within(f"{group}.longest_pause_s", self.longest_pause_s, 0)
        check.within(f"{group}.give_up_after", self.give_up_after, 1)
        check.within(f"{group}.price_in", self.price_in, 0)
        check.within(f"{group}.price_out", self.price_out, 0)
        check.within(f"{group}.budget_tokens", self.budget_tokens, 1)
        check.above(f"{group}.budget_money", self.budget_money, 0)
        if self.budget_money is not None and (self.price_in is None or self.price_out is None):
            raise ValueError(
                f"{group}.budget_money={self.budget_money:g} needs {group}.price_in and"
                f" {group}.price_out (money for a million tokens); set them"
            )


@dataclass(kw_only=True)
class LocalConfig(Sampling):
    """A Hugging Face model in this process."""

    path: str
    """Hub name or folder of the model."""
    batch_size: int = 8
    """Prompts generated at once."""
    device: str | None = None
    """As torch names it; null takes a GPU where there is one."""
    trust_remote_code: bool = False
    """Runs code that comes with the model."""

    def check_local(self, group: str) -> None:
        """Refuses numbers out of range."""
        self.check_sampling(group)
        check.within(f"{group}.batch_size", self.batch_size, 1)


@dataclass(kw_only=True)
class WriterConfig:
    """Who writes the questions. Each writer is a subclass and an option of its own."""

    name: str


@dataclass(kw_only=True)
class TemplateWriter(WriterConfig):
    """Deterministic questions about details of real sentences; no model, no network."""

    name: str = "template"
    whole: float = 0.0
    """Share of fine-grained questions that quote some words and ask for their whole sentence."""
    onward: bool = False
    """Those answers quote the sentence from these words on: what stands before them need not be
    found (retrieval forward, not both ways)."""

    def __post_init__(self) -> None:
        check.within("writer.whole", self.whole, 0, 1)
        if self.onward and not self.whole:
            raise ValueError("writer.onward=true changes questions of writer.whole, a share of 0")


@dataclass(kw_only=True)
class OpenAIWriter(WriterConfig, EndpointConfig):
    """A model behind an OpenAI-compatible endpoint."""

    name: str = "openai"

    def __post_init__(self) -> None:
        self.check_endpoint("writer")


@dataclass(kw_only=True)
class LocalWriter(WriterConfig, LocalConfig):
    """A Hugging Face model in this process."""

    name: str = "local"

    def __post_init__(self) -> None:
        self.check_local("writer")


@dataclass(kw_only=True)
class JudgeConfig:
    """Who answers questions for the filters that need a model. Each kind is an option."""

    name: str


@dataclass(kw_only=True)
class NoJudge(JudgeConfig):
    """No filter that needs a model."""

    name: str = "none"


@dataclass(kw_only=True)
class OpenAIJudge(JudgeConfig, EndpointConfig):
    """A model behind an OpenAI-compatible endpoint."""

    name: str = "openai"
    temperature: float = 0.0
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        self.check_endpoint("judge")


@dataclass(kw_only=True)
class LocalJudge(JudgeConfig, LocalConfig):
    """A Hugging Face model in this process."""

    name: str = "local"
    temperature: float = 0.0
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        self.check_local("judge")


@dataclass(kw_only=True)
class FiltersConfig:
    """What a question has to pass; every rejection is counted by reason."""

    format: bool = True
    """Lengths within bounds, no talk of "the context", no answer given away by its question."""
    shortest_question: int = 3
    """Words."""
    longest_question: int = 120
    """Words."""
    longest_answer: int = 250
    """Words."""
    evidence: EvidenceCheck = EvidenceCheck.words
    evidence_share: float = 0.5
    """Least share of an answer's content words that its evidence must hold."""
    evidence_nll: float = 0.2
    """Least drop of the answer's mean negative log-likelihood by its evidence, nats a token."""
    closed_book: bool = False
    """Drops what the judge answers without the context."""
    single_piece: SinglePiece = SinglePiece.off
    same_answer: float = 0.6
    """Token F1 with the written answer from which a judge's answer counts as the same."""
    duplicates: Duplicates = Duplicates.exact
    near_similarity: float = 0.8
    """Estimated Jaccard similarity of word 3-grams from which questions are near duplicates."""
    decontaminate: list[str] = field(default_factory=list)
    """Evaluation sets (files, folders, or hub names as NAME, NAME:CONFIG or NAME:CONFIG:SPLIT). A
    document that shares `ngram` words in a row with any is used neither for questions nor as
    filler (IN2, appendix A)."""
    ngram: int = 10

    def __post_init__(self) -> None:
        check.within("filters.shortest_question", self.shortest_question, 1)
        check.within("filters.longest_question", self.longest_question, self.shortest_question)
        check.within("filters.longest_answer", self.longest_answer, 1)
        check.within("filters.evidence_share", self.evidence_share, 0, 1)
        check.within("filters.same_answer", self.same_answer, 0, 1)
        check.within("filters.near_similarity", self.near_similarity, 0.1, 1)
        check.within("filters.ngram", self.ngram, 2)

    @property
    def needs_judge(self) -> bool:
        """Whether any filter asks a model."""
        asked = self.closed_book or self.single_piece is not SinglePiece.off
        return asked or self.evidence is EvidenceCheck.nll
