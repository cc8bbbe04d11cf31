"""Memory that plan tells against what torch's allocator gives out in a step of training."""

import numpy as np
import pytest

from fullcontext.config import Strategy
from fullcontext.plan import memory, work
from fullcontext.plan.memory import Place
from fullcontext.records import Asked, Example
from tests.plan.allocator import peak
from tests.plan.test_work import loop

SIZES = {
    "hidden_size": 256, "intermediate_size": 688, "num_layers": 4, "num_heads": 8,
    "num_kv_heads": 2, "head_dim": 32, "vocab_size": 8000, "max_positions": 8192,
}  # fmt: skip
WORDS = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "precision=fp32",
    "model.architecture.tie_embeddings=false", "checkpoint.asynchronous=false",
    *(f"model.architecture.{key}={value}" for key, value in SIZES.items()),
]  # fmt: skip


def example(tokens: int, questions: int) -> Example:
    def take(n):
        return np.arange(n, dtype=np.int32) % SIZES["vocab_size"]

    asked = [Asked(str(i), "key_value", take(40), take(20)) for i in range(questions)]
    return Example(0, take(tokens - 60 * questions), tuple(asked))


@pytest.mark.parametrize(
    ("words", "row"),
    [
        (["checkpointing=none"], (2048, 1, 1)),
        pytest.param(["checkpointing=full"], (8192, 1, 1), marks=pytest.mark.slow),
        (["checkpointing=selective"], (4096, 1, 1)),
        (["max_tokens=1024"], (1024, 4, 3)),
        (["max_tokens=512", "precision=bf16"], (256, 2, 2)),
        pytest.param(["max_tokens=1024", "precision=bf16"], (1024, 4, 3), marks=pytest.mark.slow),
        pytest.param(
            ["precision=bf16", "checkpointing=full"], (4096, 2, 1), marks=pytest.mark.slow
        ),
        (["max_tokens=512"], (256, 1, 2)),
    ],
    ids=lambda given: " ".join(map(str, given)),
)
def test_a_step_takes_the_memory_planned(
    train_config, words: list[str], row: tuple[int, int, int]
) -> None:
    config = train_config(*WORDS, *words)
    made = loop(config)
    tokens, questions, number = row
    examples = [example(tokens, questions) for _ in range(number)]
    made.step(examples, 10)  # after it the optimizer has its state
    state = 12 * config.model.architecture.num_parameters
    measured = state + peak(lambda: made.step(examples, 10))
    planned = memory.peak(config, work.rounds(config, examples, 1), Place(1, 1, "cpu"))
    assert planned.total == pytest.approx(measured, rel=0.07)


def spread(train_config, *words: str, ranks: int = 8, tokens: int = 1024) -> memory.Memory:
    config = train_config("data=key_value", "model=mistral7b", *words)
    return memory.peak(
        config, work.rounds(config, [example(tokens, 1)] * 8, ranks), Place(ranks, 8)
    )


def test_sharded_state_is_a_share_and_whole_state_is_whole(train_config) -> None:
    config = train_config("model=mistral7b")
    own = 4 * config.model.architecture.num_parameters
    sharded = spread(train_config, "sharding=full_shard", "sharding.cpu_offload=false")
    assert sharded.parts["weights"] == pytest.approx(own / 8)
    assert sharded.parts["optimizer"] == pytest.approx(own / 4)
    assert sharded.host == {"checkpoint copy": pytest.approx(3 * own / 8)}
    assert spread(train_config, "sharding=ddp").parts["weights"] == own


def test_offloaded_state_is_in_main_memory(train_config) -> None:
    offloaded = spread(train_config, "sharding=full_shard", "sharding.cpu_offload=true")
    assert "weights" not in offloaded.parts and "optimizer" not in offloaded.parts
    own = train_config("model=mistral7b").model.architecture.num_parameters / 8
    assert offloaded.host_total == pytest.approx(own * (4 + 4 + 8 + 12))


def test_local_accumulation_holds_all_gradients_and_sharded_its_part(train_config) -> None:
    words = ["sharding=full_shard", "sharding.cpu_offload=false", "max_tokens=1024",
             "checkpointing=full"]  # fmt: skip
    local = spread(train_config, *words, ranks=4)
    sharded = spread(train_config, *words, "sharding.accumulate=sharded", ranks=4)
    assert local.parts["gradients"] == 4 * sharded.parts["gradients"]


def test_pieces_of_rows_take_their_part_of_the_activations(train_config) -> None:
    words = ["sharding=full_shard", "checkpointing=full"]
    whole = spread(train_config, *words, tokens=32000, ranks=8)
    cut = spread(
        train_config,
        *words,
        "sharding.context_parallel=4",
        "max_tokens=8192",
        tokens=32000,
        ranks=8,
    )
    assert cut.parts["recompute"] == pytest.approx(whole.parts["recompute"] / 4, rel=0.1)
    assert "context parallel" in cut.parts and "context parallel" not in whole.parts


def test_hybrid_shards_over_a_machine(train_config) -> None:
    config = train_config("sharding=hybrid")
    assert config.sharding.strategy is Strategy.hybrid
    assert memory.shards(config, Place(64, 8)) == 8
    assert memory.shards(config, Place(4, 8)) == 4
