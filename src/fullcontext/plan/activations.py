"""What the backward pass of a micro-batch needs of its forward pass.

Tensors of transformers' Mistral, Llama and Qwen 2 layers under train.py's block attention, one by
one; tests/plan/test_activations.py compares them with what autograd keeps.
"""

import math

from fullcontext.config import Adapter, ContextParallelBy, Precision, TrainConfig
from fullcontext.plan.work import Load


class Saved:
    """Bytes that the backward pass of a micro-batch needs, on one rank."""

    def __init__(self, config: TrainConfig, load: Load) -> None:
        sizes, degree = config.model.architecture, config.sharding.context_parallel
        self.is_fp32 = config.precision is Precision.fp32
        self.is_cast = not self.is_fp32 and config.sharding.splits_weights
        """Whether weights and hidden states are in bf16; else autocast makes what is needed."""
        self.width = 4 if self.is_fp32 else 2
        """Of a matrix product's operands."""
        self.stream = 2 if self.is_cast else 4
        """Of the hidden states between layers."""
        by = config.sharding.exchange_by(sizes.num_heads, sizes.num_kv_heads)
        self.by_keys = degree > 1 and by is ContextParallelBy.keys
        self.tokens = load.tokens / degree
        self.keys = load.keys if self.by_keys else load.keys / degree
        self.masked = load.masked / degree if self.by_keys else load.masked
        self.is_whole = load.blocks == 1 and not self.by_keys
        self.labels = load.labels
        self.sizes = sizes
        self.adapter = config.adapter
        self.attended = sizes.num_heads * sizes.head_dim
        self.kv = sizes.num_kv_heads * sizes.head_dim

    @property
    def layer(self) -> float:
        """Of one decoder layer."""
        inner = self.sizes.intermediate_size * (4 if self.trains_products else 3)
        states = 2 * self.attended + inner  # queries, the output, and what gates the MLP
        if self.is_whole:
            # The output again for low-rank matrices: peft casts it to fp32, and autocast back.
            is_again = self.adapter.kind is Adapter.lora and self.stream > self.width
            states += 2 * self.kv + self.attended * is_again
        else:
            states += self.attended  # the outputs of the blocks are put together
        per_token = self._norms + self.width * states + 4 * self.sizes.num_heads + 8
        over_keys = 0.0 if self.is_whole else self.width * 2 * self.kv * self.keys
        per_token += self._adapters
        return per_token * self.tokens + over_keys + self.width * self.masked

    @property
    def trains_products(self) -> bool:
        """Whether the products of a layer, or low-rank matrices beside them, are trained: what
        goes into a product is kept for the gradient of its weights alone."""
        return self.adapter.kind is not Adapter.gated_memory

    @property
    def _norms(self) -> int:
        """Two, each: its input in fp32; what it scales, if its weights are trained; and what the
        products take, which autocast copies for each."""
        hidden = self.sizes.hidden_size
        kept = 2 * 4 * hidden
        if not self.adapter.is_on:
            kept += 2 * self.stream * hidden
        if self.trains_products:
            copies = 3 + 2 if self.stream > self.width else 2
            kept += copies * self.width * hidden
        return kept

    @property
    def _adapters(self) -> int:
        """Between low-rank matrices, or in the memory of each head: queries, both sides of each
        SiLU, the memory, and in fp32 the gate and what it leaves."""
        adapter, sizes = self.adapter, self.sizes
        match adapter.kind:
            case Adapter.lora:
                return self.width * adapter.rank * len(adapter.targets)
            case Adapter.gated_memory:
                opened = 2 * sizes.num_heads * math.isqrt(sizes.head_dim)
                return self.width * (6 * self.attended + opened) + 2 * 4 * sizes.num_heads
            case _:
                return 0

    @property
    def around(self) -> float:
        """Outside of the layers: the last norm, the rotary table, ids and the block table."""
        hidden = self.sizes.hidden_size
        norm = 2 * 4 * hidden if self.stream == 4 else 6 * hidden
        rotary = 2 * self.stream * self.sizes.head_dim
        return (norm + rotary + 40) * self.tokens + 8 * self.keys

    @property
    def kept(self) -> float:
        """The input of a layer that is computed again."""
        return self.stream * self.sizes.hidden_size * self.tokens

    @property
    def passing(self) -> float:
        """Gradients of activations on their way through a layer."""
        inner = self.width * self.sizes.intermediate_size
        return (inner + 2 * self.stream * self.sizes.hidden_size) * self.tokens

    @property
    def logits(self) -> float:
        """At the labelled positions: logits or their gradient, and log-probabilities."""
        return self.labels * self.sizes.vocab_size * (8 if self.is_fp32 else 10)

    @property
    def exchanged(self) -> float:
        """What ranks that hold pieces of a row send and get in a layer."""
        if self.by_keys:  # all keys and values of the row: padded, gathered, put together
            return 2 * self.width * 2 * self.kv * self.keys
        return 3 * self.width * (self.attended + 2 * self.kv) * self.tokens
