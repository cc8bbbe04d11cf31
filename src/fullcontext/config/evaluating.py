"""What evaluate.py asks, of whom, and against what it compares."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check, expected
from fullcontext.config.corpus import CorpusConfig
from fullcontext.config.training import ModelConfig, PositionsConfig, Precision


class Long(StrEnum):
    """What becomes of a prompt that is longer than the model's positions leave room for."""

    refuse = "refuse"
    """The task is refused, with the number of such prompts and the longest, before it starts."""
    middle = "middle"
    """Its middle is left out, as LongBench and the paper do; how many were cut is reported."""


@dataclass(kw_only=True)
class PerplexityConfig:
    """Perplexities over the texts of `corpus`; only a model in this process gives them."""

    documents: int = 0
    """Documents of each measure, the first of the corpus that are long enough; 0 measures none."""
    tokens: int = 8192
    """Most tokens of a document that LongPPL reads."""
    trunc_len: int = 4096
    """Least tokens of context that the short view keeps (K)."""
    sliding_window: int = 1024
    """Tokens that share a short view (d), which therefore sees K to K + d - 1 tokens."""
    alpha: float = 2.0
    """A key token's log-probability falls by more than this when the context is cut (LSD)."""
    beta: float = -2.0
    """A key token's log-probability with the whole context is above this (LCL)."""
    evaluator: str | None = None
    """Folder or hub name of the model that says which tokens are key; null lets the evaluated
    model say it itself, so that two models are measured on different tokens."""
    short_tokens: int = 512
    """Tokens of a document that the short-text guard reads."""

    def __post_init__(self) -> None:
        check.within("suite.perplexity.documents", self.documents, 0)
        check.within("suite.perplexity.trunc_len", self.trunc_len, 1)
        check.within("suite.perplexity.sliding_window", self.sliding_window, 1)
        check.within("suite.perplexity.short_tokens", self.short_tokens, 2)
        if self.documents and self.tokens <= self.trunc_len + self.sliding_window:
            raise ValueError(
                f"suite.perplexity.tokens={self.tokens} leaves no token whose context is cut: the"
                f" short view alone reads trunc_len + sliding_window ="
                f" {self.trunc_len + self.sliding_window}; raise tokens or lower trunc_len"
            )


@dataclass(kw_only=True)
class SuiteConfig:
    """Tasks that are evaluated together, under lm-evaluation-harness's names."""

    name: str
    tasks: list[str] = field(default_factory=list)
    shots: dict[str, int] = field(default_factory=dict)
    """Task -> worked examples before each question; a task that is not here keeps its own."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Task -> the metric that tables and comparisons show; the others are in results.json. A task
    that is not here shows its first."""
    lengths: list[int] = field(default_factory=list)
    """Tokens of RULER's contexts."""
    perplexity: PerplexityConfig = field(default_factory=PerplexityConfig)

    def __post_init__(self) -> None:
        if not self.tasks and not self.perplexity.documents:
            raise ValueError("suite.tasks is empty; choose a suite or name a task: suite.tasks=[x]")
        for task, shots in self.shots.items():
            check.within(f"suite.shots.{task}", shots, 0)
        for length in self.lengths:
            check.within("suite.lengths", length, 256)


@dataclass(kw_only=True)
class TasksConfig:
    """Where lm-evaluation-harness finds more tasks."""

    include: str | None = None
    """Folder of task definitions: your own, or probes that probe.py exported."""


@dataclass(kw_only=True)
class EvaluatedEndpoint:
    """A model behind an OpenAI-compatible endpoint (vLLM, `transformers serve`)."""

    url: str | None = None
    """As far as /v1; null evaluates `run` or `model` in this process."""
    model: str | None = None
    """Name of the model as the endpoint knows it."""
    chat: bool = False
    """Asks /chat/completions, where the server applies the chat template; it gives no
    log-likelihoods, so multiple-choice tasks need /completions."""
    tokenizer: str | None = None
    """Folder or hub name; needed for multiple choice, and to count tokens before asking."""
    max_length: int | None = None
    """Positions of the served model; null leaves over-long prompts to the server's refusal."""
    concurrency: int = 8
    timeout_s: int = 300
    tries: int = 3
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key; a local server needs none."""

    def __post_init__(self) -> None:
        check.within("endpoint.max_length", self.max_length, 2)
        check.within("endpoint.concurrency", self.concurrency, 1, 4096)
        check.within("endpoint.timeout_s", self.timeout_s, 1)
        check.within("endpoint.tries", self.tries, 1)
        if self.url is None:
            return
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"endpoint.url={self.url!r} is no URL; it starts with http:// or https://"
            )
        if self.model is None:
            raise ValueError("endpoint.url needs endpoint.model: the name that the server knows")
        if self.max_length is not None and self.tokenizer is None:
            raise ValueError(
                f"endpoint.max_length={self.max_length} can only be held with a tokenizer; add"
                " endpoint.tokenizer=FOLDER"
            )


@dataclass(kw_only=True)
class EvaluateConfig:
    """evaluate.py: a checkpoint or an endpoint -> scores of a suite, against a reference."""

    suite: SuiteConfig
    model: ModelConfig
    positions: PositionsConfig
    corpus: CorpusConfig
    """Texts of the perplexities."""
    endpoint: EvaluatedEndpoint = field(default_factory=EvaluatedEndpoint)
    tasks: TasksConfig = field(default_factory=TasksConfig)
    run: str | None = None
    """Run folder whose model (exported, or its newest checkpoint) is evaluated; null takes `model`
    as it is, or the endpoint."""
    step: int | None = None
    """Step of `run` whose checkpoint is evaluated; null takes the newest."""
    reference: str | None = None
    """Folder of an evaluation that this one is compared with, document by document."""
    data_folder: str | None = None
    """Folder with the tasks' data where there is no hub: docs/evaluation.md has its layout."""
    chat_template: bool = False
    """Puts every prompt into the tokenizer's chat template, worked examples as turns."""
    long: Long = Long.refuse
    limit: int | None = None
    """First so many documents of each task: for trying things out, not for reporting."""
    max_length: int | None = None
    """Most tokens of a prompt and its answer; null takes the model's positions."""
    batch_size: int = 1
    precision: Precision = Precision.bf16
    seed: int = 0
    threads: int | None = None
    name: str | None = None
    claim: str | None = None
    """What the evaluation is expected to show, in a sentence."""
    expected: dict[str, float] = field(default_factory=dict)
    """Published figures by the names of metrics (config/expected.py), in points of 100."""

    def __post_init__(self) -> None:
        expected.checked("expected", self.expected)
        check.within("limit", self.limit, 1)
        check.within("batch_size", self.batch_size, 1)
        check.within("max_length", self.max_length, 2)
        self.precision.refuse_lossy()
        if self.endpoint.url is not None and self.run is not None:
            raise ValueError(
                f"run={self.run!r} and endpoint.url={self.endpoint.url!r} are two models; remove"
                " one of them"
            )
        if self.endpoint.url is not None and self.suite.perplexity.documents:
            raise ValueError(
                f"suite={self.suite.name} measures perplexities, which an endpoint does not give;"
                " name a model instead (run=FOLDER or model.path=FOLDER)"
            )
        if self.long is Long.middle and self.endpoint.url and self.endpoint.max_length is None:
            raise ValueError(
                "long=middle needs to know how long is too long; add endpoint.max_length=N and"
                " endpoint.tokenizer=FOLDER"
            )
