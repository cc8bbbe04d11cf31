"""What is trained beside a model's own weights, which then stay as they are."""

from dataclasses import dataclass, field
from enum import StrEnum

from fullcontext.config import check

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The products of a layer of Llama, Mistral, Qwen and Gemma."""


class Adapter(StrEnum):
    """Which weights are trained."""

    none = "none"
    """The model's own, all of them."""
    lora = "lora"
    """Low-rank matrices beside some of them (arXiv 2106.09685)."""
    gated_memory = "gated_memory"
    """A memory in every self-attention, and a gate between the two (LIFT, arXiv 2502.14644 v3)."""


class MemoryInit(StrEnum):
    """What kaiming_uniform(a=sqrt 5), which is U(-1/sqrt(fan), 1/sqrt(fan)), takes for the fan of
    gated memory: its weights are (heads, in, out)."""

    reference = "reference"
    """in * out: what torch reads off three dimensions, and what the authors' code begins with."""
    per_head = "per_head"
    """in: that of each head's own matrix, whose weights begin larger by sqrt(out)."""


class Quantize(StrEnum):
    """How the weights that stay are held."""

    none = "none"
    """In fp32."""
    nf4 = "nf4"
    """Those of the layers' products in four bits, quantised twice (QLoRA, arXiv 2305.14314)."""


@dataclass(kw_only=True)
class AdapterConfig:
    """Adapters on a model; the option `none` of the group trains the model itself."""

    kind: Adapter = Adapter.none
    rank: int = 128
    alpha: float = 128.0
    """The product of the two matrices is scaled by alpha / rank."""
    dropout: float = 0.0
    """Known only so that it can be refused with the reason."""
    targets: list[str] = field(default_factory=lambda: list(PROJECTIONS))
    """Last part of the names of the linear modules that get one."""
    quantize: Quantize = Quantize.none
    memory_init: MemoryInit = MemoryInit.reference
    """Of kind=gated_memory."""
    head_rank: int = 2
    """Of kind=gated_memory: the rank of low-rank matrices beside the output head; 0 leaves them
    out."""
    head_alpha: float = 4.0
    """Their product is scaled by head_alpha / head_rank."""

    def __post_init__(self) -> None:
        check.within("adapter.rank", self.rank, 1)
        check.above("adapter.alpha", self.alpha, 0)
        check.within("adapter.head_rank", self.head_rank, 0)
        check.above("adapter.head_alpha", self.head_alpha, 0)
        if self.dropout:
            raise ValueError(
                f"adapter.dropout={self.dropout:g}: what is dropped would depend on how a batch is"
                " cut, so that no two layouts and no resumed run would agree; set it to 0"
            )
        if not self.targets:
            raise ValueError(
                f"adapter.targets is empty; name modules, e.g. {', '.join(PROJECTIONS)}"
            )
        if self.quantize is not Quantize.none and self.kind is Adapter.none:
            raise ValueError(
                f"adapter.quantize={self.quantize.value} with adapter.kind=none would train weights"
                " of four bits, which cannot hold an update; choose adapter=qlora"
            )

    @property
    def is_on(self) -> bool:
        """Whether the model's own weights stay."""
        return self.kind is not Adapter.none

    def refuse_unmergeable(self) -> None:
        """Raises ValueError for adapters that no weights of the model can hold; for train.py."""
        if self.kind is Adapter.gated_memory:
            raise ValueError(
                "adapter.kind=gated_memory cannot be merged into weights that transformers reads,"
                " so that nothing could be exported; adapt.py is its place, train.py takes"
                " adapter=lora, qlora or none"
            )
