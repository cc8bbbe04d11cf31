"""The root of the configuration of each script."""

from dataclasses import dataclass, field

from fullcontext.config import check, expected
from fullcontext.config.adapter import AdapterConfig
from fullcontext.config.corpus import CorpusConfig, InstructionsConfig
from fullcontext.config.data import DataConfig, LengthLaw
from fullcontext.config.planning import BudgetConfig, HardwareConfig, PlanConfig
from fullcontext.config.probing import AnswererConfig, ProbeConfig, ReplayConfig
from fullcontext.config.sharding import AttentionConfig, Checkpointing, ShardingConfig
from fullcontext.config.training import (
    CheckpointConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PositionsConfig,
    Precision,
    ProfileConfig,
    ScheduleConfig,
    TrackingConfig,
)
from fullcontext.config.writing import EvidenceCheck, FiltersConfig, JudgeConfig, WriterConfig


@dataclass(kw_only=True)
class SynthesizeConfig:
    """synthesize.py: corpus -> segments -> questions -> store."""

    corpus: CorpusConfig
    data: DataConfig
    model: ModelConfig
    """Only its tokenizer is used."""
    writer: WriterConfig
    judge: JudgeConfig
    filters: FiltersConfig
    instructions: InstructionsConfig
    seed: int = 0
    answers: str = "outputs/answers"
    """Folder of everything that models replied: what is in it is not asked again."""
    part: int = 0
    """Which of `parts` processes this is: each makes its own shards; the last to end joins them."""
    parts: int = 1
    estimate: bool = False
    """Says what the whole job takes, before the first request, and stops."""
    export: str | None = None
    """Folder to which the finished store is written as a data set for the hub."""
    load: str | None = None
    """Exported folder or hub name from which the store is made, instead of a corpus."""

    def __post_init__(self) -> None:
        check.within("parts", self.parts, 1)
        check.within("part", self.part, 0, self.parts - 1)
        if self.filters.needs_judge and self.judge.name == "none":
            raise ValueError(
                "filters.closed_book, filters.single_piece and filters.evidence=nll need a model;"
                " choose judge=openai judge.model=NAME or judge=local judge.path=FOLDER"
            )
        if self.filters.evidence is EvidenceCheck.nll and self.judge.name != "local":
            raise ValueError(
                f"filters.evidence=nll reads log-likelihoods, which judge={self.judge.name} does"
                " not give; choose judge=local judge.path=FOLDER"
            )


@dataclass(kw_only=True)
class TrainConfig:
    """train.py: store -> batches -> loss -> checkpoints, with probes on the way."""

    corpus: CorpusConfig
    writer: WriterConfig
    data: DataConfig
    model: ModelConfig
    objective: ObjectiveConfig
    positions: PositionsConfig
    schedule: ScheduleConfig
    sharding: ShardingConfig
    attention: AttentionConfig
    probe: ProbeConfig
    tracking: TrackingConfig
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    name: str | None = None
    """Name of the run in tables and in W&B; null takes the chosen experiment's."""
    claim: str | None = None
    """What the experiment is expected to show, in a sentence."""
    expected: dict[str, float] = field(default_factory=dict)
    """Published figures by the names of metrics (config/expected.py), in points of 100."""
    seed: int = 0
    batch_size: int = 128
    """Examples of one optimizer step, whatever the number of ranks."""
    epochs: float = 1.0
    tokens: float | None = None
    """Tokens to train on, in place of `epochs`: as many steps as read so many by the mean of the
    length law (`data.mean_tokens`), so that runs of other ranges or mixtures cost the same."""
    max_steps: int | None = None
    """Fewer steps than `epochs` gives, spanned by the whole schedule; null trains all epochs."""
    max_tokens: int = 32768
    """Most tokens that run through the model at once on a rank; a micro-batch holds up to
    `sharding.context_parallel` times as many."""
    precision: Precision = Precision.bf16
    checkpointing: Checkpointing = Checkpointing.auto
    log_every: int = 1
    max_bad_steps: int = 5
    """Steps in a row with a non-finite loss or gradient before the run gives up."""
    threads: int | None = None
    """CPU threads of torch; null leaves its choice. Bit-identical resume needs the same number."""
    init: str | None = None
    """Run folder or exported model whose weights training starts from."""
    resume: str | None = None
    """Run folder to continue from its newest complete checkpoint, with its own configuration."""

    def __post_init__(self) -> None:
        expected.checked("expected", self.expected)
        check.within("batch_size", self.batch_size, 1)
        check.above("epochs", self.epochs, 0)
        self._check_tokens()
        check.within("max_steps", self.max_steps, 1)
        check.within("max_tokens", self.max_tokens, 16)
        check.within("log_every", self.log_every, 1)
        check.within("max_bad_steps", self.max_bad_steps, 1)
        check.within("threads", self.threads, 1)
        if self.data.limit is not None and self.data.limit % self.batch_size:
            raise ValueError(
                f"data.limit={self.data.limit} is not a multiple of batch_size={self.batch_size};"
                " whole batches come again"
            )
        if self.objective.needs_pairs and self.data.kinds != ("pair",):
            raise ValueError(
                f"objective={self.objective.name} trains on pairs of answers alone, data.mixture"
                f" has {', '.join(self.data.kinds)}; choose data=pairs, or objective=sft"
            )
        self.precision.refuse_lossy()
        self.adapter.refuse_unmergeable()
        architecture = self.model.architecture
        self.checkpointing = self.checkpointing.settled(architecture.num_parameters)
        self.sharding.exchange_by(architecture.num_heads, architecture.num_kv_heads)
        for stage in self.data.all_stages:
            self._check_stage(stage)
        if self.probe.tasks:
            self._check_length("probe.context_tokens", self.probe.longest)
        if isinstance(self.probe, ReplayConfig):
            raise ValueError(
                "probe=replay trains nothing; replay with: python probe.py probe=replay"
            )

    def _check_tokens(self) -> None:
        check.above("tokens", self.tokens, 0)
        if self.tokens is None:
            return
        if self.data.curriculum:
            raise ValueError(
                f"tokens={self.tokens:g} beside data.curriculum, whose stages differ in length;"
                " remove one of them (epochs and max_steps count steps)"
            )
        if self.data.length is LengthLaw.natural:
            raise ValueError(
                f"tokens={self.tokens:g} beside data.length=natural, whose lengths only the store"
                " knows; remove tokens and set epochs or max_steps"
            )

    def _check_stage(self, stage: DataConfig) -> None:
        longest = stage.context_range[1]
        alone = stage.questions_per_context == 1 or stage.needs_store
        if alone and longest > self.row_tokens:
            raise ValueError(
                f"max_tokens={self.max_tokens} is below the longest example,"
                f" data.context_range[1]={longest}; raise max_tokens or shorten the contexts"
            )
        self._check_length("data.context_range[1]", longest)

    def _check_length(self, key: str, tokens: int) -> None:
        positions = self.model.architecture.max_positions
        if tokens > positions:
            raise ValueError(
                f"{key}={tokens} exceeds model.architecture.max_positions={positions} of model"
                f" {self.model.name}; shorten it or choose a model with more positions"
            )

    @property
    def row_tokens(self) -> int:
        """Most tokens of a micro-batch, which context-parallel ranks share."""
        return self.max_tokens * self.sharding.context_parallel

    @property
    def steps(self) -> int:
        """Optimizer steps of the run: whole batches in `epochs` or `tokens`, cut at `max_steps`."""
        drawn = sum(self.data.examples[kind] for kind in self.data.kinds) * self.epochs
        if self.tokens is not None:
            drawn = self.tokens / self.data.mean_tokens
        steps = max(1, int(drawn // self.batch_size))
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass(kw_only=True)
class ProbeRunConfig:
    """probe.py: checkpoint -> answers by position."""

    model: ModelConfig
    probe: ProbeConfig
    data: DataConfig
    answerer: AnswererConfig
    attention: AttentionConfig
    positions: PositionsConfig
    precision: Precision = Precision.bf16
    run: str | None = None
    """Run folder whose model (exported, or its newest checkpoint) is probed; null probes `model`
    as it is. The run's own model, prompt and positions are used."""
    step: int | None = None
    """Step of `run` whose checkpoint is probed; null takes the newest."""
    seed: int = 0
    threads: int | None = None
    name: str | None = None
    claim: str | None = None
    """What the probe is expected to show, in a sentence."""
    expected: dict[str, float] = field(default_factory=dict)
    """Published figures by the names of metrics (config/expected.py), in points of 100."""
    export: str | None = None
    """Folder to which the questions are written as lm-eval tasks; nothing is answered then."""

    def __post_init__(self) -> None:
        expected.checked("expected", self.expected)
        self.precision.refuse_lossy()


@dataclass(kw_only=True)
class ReportConfig:
    """report.py: runs -> one page, figures and tables."""

    runs: list[str]
    """Run folders, folders that hold them, or .wandb files."""
    baseline: str | None = None
    """What every other group is compared with: a label on the page, KEY=VALUE, the name of a run or
    its folder; null takes the first group."""
    title: str = "fullcontext report"
    output: str | None = None
    """Folder of the page; null uses the verb's own output folder."""
    status: str | None = None
    """Sweep folder of which is printed where each point is, instead of a page: --status FOLDER."""
    permutations: int = 1000
    """Permutations behind each flat gap and its p."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.runs and self.status is None:
            raise ValueError("runs is empty; name at least one run: python report.py FOLDER ...")
        check.within("permutations", self.permutations, 100)
