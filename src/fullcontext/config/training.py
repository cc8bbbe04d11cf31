"""How a model is built, trained, saved and tracked."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check


class Chat(StrEnum):
    """The markup around what the user says."""

    inst = "inst"
    """`[INST] ... [/INST]`, as FILM trains Mistral-7B-Instruct-v0.2."""
    template = "template"
    """The chat template that comes with the tokenizer."""
    none = "none"
    """No markup."""


class Decay(StrEnum):
    """What the learning rate does after warm-up."""

    cosine = "cosine"
    linear = "linear"
    constant = "constant"


class Normalise(StrEnum):
    """What one unit of the loss is."""

    token = "token"
    """Every supervised token of the step counts the same."""
    example = "example"
    """Every example of the step counts the same, whatever the length of its answer."""


class Precision(StrEnum):
    """The dtype of the matrix products; weights and optimizer state are always fp32."""

    fp32 = "fp32"
    bf16 = "bf16"
    bf16_weights = "bf16_weights"
    """Known only so that it can be refused with the reason."""

    def refuse_lossy(self) -> None:
        """Raises ValueError for weights that cannot hold an update."""
        if self is Precision.bf16_weights:
            raise ValueError(
                "precision=bf16_weights is not to be had: bf16 keeps 8 bits, so that an update of"
                " 1e-6 to a weight of 1e-2 is lost; choose precision=bf16, which computes in bf16"
                " and keeps fp32 weights"
            )


class MirrorKind(StrEnum):
    """A tracker that mirrors the run folder."""

    wandb = "wandb"
    trackio = "trackio"


class TrackingMode(StrEnum):
    """Where W&B records go; the run folder is always written."""

    auto = "auto"
    """Online where there is a key and a server, else offline; `WANDB_MODE` is obeyed."""
    online = "online"
    """Tries without a key in sight, too; offline if that fails."""
    offline = "offline"


@dataclass(kw_only=True)
class ArchitectureConfig:
    """Sizes of a Mistral-shaped model: builds `tiny`, and lets preflight know a 7B unopened."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    rope_theta: float
    tie_embeddings: bool
    initializer_range: float = 0.02
    qkv_bias: bool = False
    """Whether queries, keys and values have a bias (Qwen 2)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and not isinstance(value, bool):
                check.within(f"model.architecture.{name}", value, 1)
        check.above("model.architecture.rope_theta", self.rope_theta, 1)
        check.above("model.architecture.initializer_range", self.initializer_range, 0)
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"model.architecture.num_heads={self.num_heads} is not a multiple of"
                f" num_kv_heads={self.num_kv_heads}"
            )

    @property
    def num_parameters(self) -> int:
        """Weights of the model, counted from its sizes."""
        attention = self.hidden_size * self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        if self.qkv_bias:
            attention += self.head_dim * (self.num_heads + 2 * self.num_kv_heads)
        layer = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_embeddings else 2)
        return self.num_layers * layer + embeddings + self.hidden_size


@dataclass(kw_only=True)
class ModelConfig:
    """A model by hub name or local folder, or built from its architecture with random weights."""

    name: str
    path: str | None = None
    """Hub repository or local folder; null builds `architecture` with random weights."""
    tokenizer: str
    """`mistral_v1` (from mistral-common), `symbols` (one token a word), or a name or folder."""
    chat: Chat = Chat.template
    architecture: ArchitectureConfig
    symbols: dict[str, int] = field(default_factory=dict)
    """For `tokenizer: symbols`: prefix of the symbol -> how many of them."""
    trust_remote_code: bool = False


@dataclass(kw_only=True)
class PositionsConfig:
    """What the model is told about positions, and how far back it looks."""

    rope_theta: float | None = None
    """Base of the rotary embedding; null keeps the model's own."""
    sliding_window: int | None = None
    """A token sees itself and so many tokens, less one, before it; null keeps the model's own."""
    yarn_factor: float | None = None
    """Stretches the positions by YaRN (arXiv 2309.00071), here without training for it: a model
    made for 32768 has 65536 with 2, which model.architecture.max_positions has to say; null
    leaves them."""

    def __post_init__(self) -> None:
        check.above("positions.rope_theta", self.rope_theta, 1)
        check.within("positions.sliding_window", self.sliding_window, 1)
        check.above("positions.yarn_factor", self.yarn_factor, 1)


@dataclass(kw_only=True)
class ObjectiveConfig:
    """What is minimised. Each objective is a subclass and an option of its own."""

    name: str
    normalise: Normalise = Normalise.token

    @property
    def needs_pairs(self) -> bool:
        """Whether every answer needs one that is worse."""
        return False


@dataclass(kw_only=True)
class SftConfig(ObjectiveConfig):
    """Negative log-likelihood of the answer and its end token, nothing else (IN2, section 2.2)."""

    name: str = "sft"


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate as a function of the step."""

    peak: float = 1e-6
    decay: Decay = Decay.cosine
    warmup_ratio: float = 0.03
    """Share of all steps over which the rate rises linearly from 0."""
    hold_ratio: float = 0.0
    """Share of all steps after warm-up for which it stays at the peak before it decays."""
    floor_ratio: float = 0.0
    """The rate at the end, as a share of the peak (of cosine and linear)."""

    def __post_init__(self) -> None:
        check.above("schedule.peak", self.peak, 0)
        check.within("schedule.peak", self.peak, 0, 1)
        check.within("schedule.warmup_ratio", self.warmup_ratio, 0, 1)
        check.within("schedule.hold_ratio", self.hold_ratio, 0, 1)
        check.within("schedule.floor_ratio", self.floor_ratio, 0, 1)


@dataclass(kw_only=True)
class OptimizerConfig:
    """AdamW. The paper reports neither betas nor weight decay nor clipping: these are ours."""

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        check.within("optimizer.beta1", self.beta1, 0, 0.999999)
        check.within("optimizer.beta2", self.beta2, 0, 0.999999)
        check.above("optimizer.epsilon", self.epsilon, 0)
        check.within("optimizer.weight_decay", self.weight_decay, 0)
        check.above("optimizer.clip_norm", self.clip_norm, 0)


@dataclass(kw_only=True)
class CheckpointConfig:
    """When state is saved."""

    every_steps: int = 100
    keep: int = 2
    """How many of the newest checkpoints stay."""
    keep_every: int | None = None
    """Checkpoints whose step this divides stay for ever; null keeps only the newest."""
    asynchronous: bool = True
    """Copies the state to main memory and writes it while training goes on; false waits."""
    export: bool = True
    """Writes the final model as a Hugging Face folder."""
    export_dtype: Precision = Precision.fp32
    """Of the exported weights; training is always in fp32 weights."""

    def __post_init__(self) -> None:
        check.within("checkpoint.every_steps", self.every_steps, 1)
        check.within("checkpoint.keep", self.keep, 1)
        check.within("checkpoint.keep_every", self.keep_every, 1)
        if self.keep_every is not None and self.keep_every % self.every_steps:
            raise ValueError(
                f"checkpoint.keep_every={self.keep_every} is not a multiple of"
                f" checkpoint.every_steps={self.every_steps}, so hardly any step would be kept;"
                f" set it to {-(-self.keep_every // self.every_steps) * self.every_steps}"
            )


@dataclass(kw_only=True)
class TrackingConfig:
    """Mirrors of the run folder; none of them can stop or hold a run."""

    mirrors: list[MirrorKind] = field(default_factory=list)
    """Trackers that get every record; none where the run folder is enough."""
    mode: TrackingMode = TrackingMode.auto
    """Of W&B."""
    project: str = "fullcontext"
    entity: str | None = None
    """Of W&B: a team; null takes the user's own."""
    group: str | None = None
    """Of W&B; null takes the chosen sweep, else the experiment. improve.py gives all its runs one.
    """
    upload_export: bool = False
    """Uploads the exported model (a 7B in fp32 has 29 GB); false notes where it stands."""
    init_timeout_s: int = 20
    """Seconds that a W&B server gets to answer before records stay offline."""
    finish_timeout_s: int = 60
    """Seconds after the last step in which a mirror may send what is left."""

    def __post_init__(self) -> None:
        check.within("tracking.init_timeout_s", self.init_timeout_s, 1)
        check.within("tracking.finish_timeout_s", self.finish_timeout_s, 1)


@dataclass(kw_only=True)
class ProfileConfig:
    """Which steps are traced."""

    steps: list[int] = field(default_factory=list)
    """First and last step of the trace, from 1; empty traces nothing."""

    def __post_init__(self) -> None:
        if self.steps and not (len(self.steps) == 2 and 1 <= self.steps[0] <= self.steps[1]):
            raise ValueError(
                f"profile.steps={self.steps} must be [first, last] with 1 <= first <= last"
            )
