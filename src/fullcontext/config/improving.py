"""How a model samples answers of its own, what makes one better than another, and what follows."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check
from fullcontext.config.corpus import CorpusConfig
from fullcontext.config.data import AnswerStyle, DataConfig, QuestionPosition
from fullcontext.config.training import (
    ModelConfig,
    PositionsConfig,
    Precision,
    TrackingConfig,
)
from fullcontext.config.writing import EndpointConfig, Sampling, WriterConfig

ASKABLE = ("fine_grained", "integration", "short_context", "key_value")
"""Kinds of questions that have a text to be asked about, and an answer."""


class Prompting(StrEnum):
    """What is added to a question (SEALONG, section 2); improve/prompting.py has the words."""

    default = "default"
    """Nothing."""
    direct_answer = "direct_answer"
    step_by_step = "step_by_step"
    fact_and_reflection = "fact_and_reflection"
    plan_and_solve = "plan_and_solve"


class Selector(StrEnum):
    """Which output is the better one of a pair."""

    mbr = "mbr"
    """The one that agrees most with the others: of minimum Bayes risk."""
    greedy = "greedy"
    """The greedy one."""
    random = "random"
    oracle = "oracle"
    """One that the gold answer says is right: an upper bound, not a method."""


class Match(StrEnum):
    """How an output is held against gold answers, after SQuAD's normalisation; for diagnostics and
    the oracle alone."""

    substring = "substring"
    """A gold answer stands in the output, as SEALONG scores."""
    exact = "exact"
    """The output is a gold answer, and nothing else: where one answer may be part of another."""


@dataclass(kw_only=True)
class PromptsConfig:
    """Where prompts come from. Each source is a subclass and an option of its own."""

    name: str
    number: int = 2048
    """Prompts of a round; each round has new ones, as long as there are any."""
    prompting: Prompting = Prompting.plan_and_solve

    def check_prompts(self) -> None:
        """Refuses numbers out of range."""
        check.within("prompts.number", self.number, 1)


@dataclass(kw_only=True)
class OwnPrompts(PromptsConfig):
    """The questions of `data` in its contexts: of a store, or dictionaries; needs no network."""

    name: str = "own"
    kinds: list[str] = field(default_factory=lambda: ["integration", "key_value"])
    """Those of data.mixture that are asked, in its shares; the others are left out."""

    def __post_init__(self) -> None:
        self.check_prompts()
        for kind in self.kinds:
            check.one_of("prompts.kinds", kind, ASKABLE)


@dataclass(kw_only=True)
class MusiquePrompts(PromptsConfig):
    """Questions of MuSiQue-Ans among whole Wikipedia articles, as SEALONG builds them."""

    name: str = "musique"
    questions: str = "dgslibisey/MuSiQue"
    """File or folder of .jsonl in MuSiQue's own format, or a data set of the hub in it."""
    articles: str = "wikimedia/wikipedia"
    """File or folder of .jsonl or .parquet with `title` and `text`, or a data set of the hub."""
    articles_config: str | None = "20231101.en"
    """Of the hub's data set: the version and language."""
    least_tokens: int = 4096
    most_tokens: int = 31744
    """Articles are added up to a length drawn between the two, in steps of 1,024."""

    def __post_init__(self) -> None:
        self.check_prompts()
        check.within("prompts.least_tokens", self.least_tokens, 64)
        check.within("prompts.most_tokens", self.most_tokens, self.least_tokens)


@dataclass(kw_only=True)
class SamplerConfig:
    """Who answers the prompts. Each kind is an option."""

    name: str
    number: int = 32
    """Outputs of each prompt."""
    greedy: bool = True
    """Whether the greedy output is taken, too, for comparison."""


@dataclass(kw_only=True)
class LocalSampler(SamplerConfig, Sampling):
    """The model of `run` or `model` in this process: one pass over a prompt for all outputs."""

    name: str = "local"
    max_new_tokens: int = 1024
    at_once: int = 32
    """Outputs that are drawn side by side."""

    def __post_init__(self) -> None:
        self.check_sampling("sampler")
        check.within("sampler.number", self.number, 1)
        check.within("sampler.at_once", self.at_once, 1)


@dataclass(kw_only=True)
class OpenAISampler(SamplerConfig, EndpointConfig):
    """A model behind an OpenAI-compatible endpoint; a request an output."""

    name: str = "openai"
    max_new_tokens: int = 1024
    cache: str = "outputs/answers"
    """Folder of everything that models replied: what is in it is not asked again."""

    def __post_init__(self) -> None:
        self.check_endpoint("sampler")
        check.within("sampler.number", self.number, 1)


@dataclass(kw_only=True)
class UtilityConfig:
    """How well one output stands for another, or how good it is. Each is an option."""

    name: str


@dataclass(kw_only=True)
class RougeUtility(UtilityConfig):
    """ROUGE-L F1 of the words: within 1-3 points of embeddings in SEALONG, without a download."""

    name: str = "rouge_l"


@dataclass(kw_only=True)
class TokenF1Utility(UtilityConfig):
    """F1 of the bags of words, after SQuAD's normalisation."""

    name: str = "token_f1"


@dataclass(kw_only=True)
class EmbeddingUtility(UtilityConfig):
    """Cosine of sentence embeddings; SEALONG's is jina-embeddings-v3."""

    name: str = "embedding"
    model: str = "jinaai/jina-embeddings-v3"
    """Any model of sentence-transformers, by hub name or folder."""
    task: str | None = "text-matching"
    """Adapter of the model, for those that have several; null for the others."""
    max_tokens: int = 8192
    batch_size: int = 8
    device: str | None = None
    trust_remote_code: bool = True
    """jina-embeddings-v3 comes with code of its own."""

    def __post_init__(self) -> None:
        check.within("utility.max_tokens", self.max_tokens, 8)
        check.within("utility.batch_size", self.batch_size, 1)


@dataclass(kw_only=True)
class SelfEvalUtility(UtilityConfig):
    """How likely the sampling model itself says that an output is right, the context before it."""

    name: str = "self_eval"
    question: str = (
        "A proposed answer:\n{output}\n\nIs the proposed answer right? Reply yes or no, nothing"
        " else."
    )
    yes: str = "yes"
    no: str = "no"

    def __post_init__(self) -> None:
        if self.question.count("{output}") != 1:
            raise ValueError(f"utility.question={self.question!r} must hold {{output}} once")


@dataclass(kw_only=True)
class ImproveConfig:
    """improve.py: prompts -> outputs -> scores -> pairs, and the training on them, in rounds."""

    model: ModelConfig
    positions: PositionsConfig
    data: DataConfig
    """Of prompts=own: what is asked, and how."""
    corpus: CorpusConfig
    writer: WriterConfig
    """With the corpus they name the store that prompts=own reads."""
    prompts: PromptsConfig
    sampler: SamplerConfig
    utility: UtilityConfig
    tracking: TrackingConfig
    name: str = "sealong"
    """Of the folder in `output`; the same command goes on in it."""
    output: str = "outputs/improve"
    run: str | None = None
    """Run folder whose model samples in the first round; null takes `model` as it is."""
    samples: str | None = None
    """Folder of a round (outputs/improve/NAME/round_1) whose prompts and outputs are used: another
    utility, selector or number of outputs samples nothing again."""
    selector: Selector = Selector.mbr
    first: int | None = None
    """Only so many outputs of each prompt are scored, the first ones; null scores all."""
    match: Match = Match.substring
    rounds: int = 1
    """Each samples with the model that the one before has trained."""
    recipe: str | None = None
    """Experiment with which train.py trains on the pairs, e.g. sealong_llama8b."""
    train: list[str] = field(default_factory=list)
    """Further words for train.py, in quotes: 'train=["schedule.peak=1e-5"]'. Without recipe and
    words nothing is trained."""
    launcher: list[str] = field(default_factory=list)
    """What starts train.py on several GPUs, e.g. [torchrun, --nproc-per-node, 8]; empty starts it
    with this python."""
    part: int = 0
    """Which of `parts` processes this is: they share sampling and scoring."""
    parts: int = 1
    precision: Precision = Precision.bf16
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        check.within("rounds", self.rounds, 1)
        check.within("first", self.first, 1, self.sampler.number)
        check.within("parts", self.parts, 1)
        check.within("part", self.part, 0, self.parts - 1)
        check.within("threads", self.threads, 1)
        self.precision.refuse_lossy()
        if not self.name or "/" in self.name:
            raise ValueError(f"name={self.name!r} names no folder; set output= for its place")
        self._check_rounds()
        if self.selector is Selector.greedy and not self.sampler.greedy:
            raise ValueError("selector=greedy needs sampler.greedy=true")
        if isinstance(self.prompts, OwnPrompts):
            self._check_data()

    @property
    def words(self) -> list[str]:
        """For train.py; empty where nothing is trained."""
        return [*([f"experiments={self.recipe}"] if self.recipe else []), *self.train]

    def _check_rounds(self) -> None:
        if self.rounds > 1 and not self.words:
            raise ValueError(
                f"rounds={self.rounds} needs recipe=EXPERIMENT: a second round samples with the"
                " model that the first has trained"
            )
        if self.rounds > 1 and isinstance(self.sampler, OpenAISampler):
            raise ValueError(
                f"rounds={self.rounds} needs sampler=local: an endpoint goes on serving the model"
                " that it has"
            )
        if self.words and self.parts > 1:
            raise ValueError(
                f"parts={self.parts} share sampling and scoring; train with one process after them"
                " (the same command without parts)"
            )
        if self.samples is not None and self.rounds > 1:
            raise ValueError("samples=FOLDER are those of one round; set rounds=1")

    def _check_data(self) -> None:
        if self.data.question_position is not QuestionPosition.after:
            raise ValueError(
                "prompts=own needs data.question_position=after: outputs share their context"
            )
        if self.data.answer_style is not AnswerStyle.plain:
            raise ValueError("prompts=own needs data.answer_style=plain: outputs cite nothing")
        assert isinstance(self.prompts, OwnPrompts)
        if not set(self.prompts.kinds) & set(self.data.kinds):
            raise ValueError(
                f"prompts.kinds={self.prompts.kinds}: data.mixture has"
                f" {', '.join(self.data.kinds)};"
                " ask one of these"
            )
