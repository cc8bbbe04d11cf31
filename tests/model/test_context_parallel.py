"""Rows in pieces on several ranks give the loss and the gradient of whole rows on one."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ConfigError
from fullcontext.config import ContextParallelBy, Normalise
from fullcontext.data.packing import pack
from fullcontext.model import attention
from fullcontext.model import table as tables
from fullcontext.model.context_parallel import exchange, pieces
from fullcontext.objective import sft
from fullcontext.records import Block, Span
from tests.objective.test_sft import EXAMPLES, example, gradient, model
from tests.ranks import together

LONG = [example(5, 700, (9, 4), (5, 3)), example(6, 40, (3, 1))]
"""Longer than a chunk of queries: cut in two, the second piece has masks of several chunks."""
ROWS = {"packed": [EXAMPLES], "accumulated": [EXAMPLES[:2], EXAMPLES[2:]], "long": [LONG]}


@given(st.integers(0, 300), st.integers(1, 9))
def test_pieces_cover_the_row_and_differ_by_one_token_at_most(tokens: int, number: int) -> None:
    cut = pieces(tokens, number)
    assert [t for piece in cut for t in range(*piece)] == list(range(tokens))
    assert max(p.length for p in cut) - min(p.length for p in cut) <= 1


def in_pieces(world: Any, name: str, by: str, normalise: Normalise, layout: str) -> tuple:
    """Loss and gradient, summed over ranks; and how many labels each rank has."""
    import torch.distributed as dist

    attention.register()
    net, around = model(name), exchange(ContextParallelBy(by), dist.group.WORLD)
    total, count, labels = torch.zeros((), dtype=torch.float64), 0.0, 0
    for examples in ROWS[layout]:
        batch = sft.batch(pack(examples), normalise, exchange=around)
        loss = sft.loss(net, batch)
        loss.total.backward()
        total, count = total + loss.total.detach(), count + loss.count
        labels += len(batch.at)
    flat = torch.cat([p.grad.flatten() for p in net.parameters()])
    sums = torch.cat([flat, total[None], torch.tensor([count], dtype=torch.float64)])
    dist.all_reduce(sums)
    return float(sums[-2] / sums[-1]), (sums[:-2] / sums[-1]).numpy(), labels


CASES = [
    ("mistral", 2, "heads", Normalise.token, "packed"),
    ("qwen3", 2, "keys", Normalise.example, "packed"),
    ("gemma", 2, "heads", Normalise.example, "accumulated"),
    ("llama", 4, "keys", Normalise.token, "packed"),
    ("mistral", 2, "keys", Normalise.token, "long"),
    ("mistral", 4, "keys", Normalise.token, "long"),
    ("qwen2", 2, "heads", Normalise.token, "long"),
    ("gemma2", 2, "heads", Normalise.token, "long"),
    ("gemma3", 4, "keys", Normalise.example, "long"),
    ("mistral with a window", 2, "keys", Normalise.token, "packed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "by", "normalise", "layout"), CASES)
def test_loss_and_gradient_are_those_of_whole_rows(
    name: str, size: int, by: str, normalise: Normalise, layout: str
) -> None:
    loss, expected = gradient(model(name), ROWS[layout], normalise)
    for other, found, _ in together(size, in_pieces, name, by, normalise, layout):
        assert other == pytest.approx(loss, rel=1e-6)
        assert np.linalg.norm(found - expected.numpy()) < 1e-5 * float(expected.norm())


def test_ranks_without_a_label_take_part() -> None:
    """The only example's answers are in the last quarter of its row."""
    answers = together(4, in_pieces, "mistral", "keys", Normalise.token, "long")
    assert [labels for *_, labels in answers] == [0, 0, 0, 8]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "degree", "by"),
    [(32, 8, 8, "heads"), (32, 8, 16, "keys"), (9, 3, 3, "heads"), (9, 3, 2, "keys")],
)
def test_heads_are_exchanged_where_the_degree_divides_them(
    train_config, heads: int, kv_heads: int, degree: int, by: str
) -> None:
    sharding = train_config(f"sharding.context_parallel={degree}").sharding
    assert sharding.exchange_by(heads, kv_heads) == by


def test_a_degree_that_does_not_divide_the_heads_is_refused(train_config) -> None:
    words = ["sharding.context_parallel=16", "sharding.context_parallel_by=heads"]
    with pytest.raises(ConfigError, match=r"=16 by heads.* 32 heads and 8 kv heads.*by=keys"):
        train_config(*words)


def test_no_mask_of_a_cut_block_is_as_large_as_queries_by_keys() -> None:
    """The second half of a block of 4,096: its mask would be 2,048 x 4,096."""
    block = (Block(Span(0, 4096), None),)
    table = tables.table(block, piece=Span(2048, 4096))
    (group,) = table.groups
    assert (group.queries, group.keys, group.mask) == (2048, 4096, None)
    states = torch.randn(1, 2, 4096, 8, generator=torch.Generator().manual_seed(0))
    states.requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        out = attention.blocks(states[:, :, 2048:], states, states, None, table)
    whole = attention.blocks(states, states, states, None, tables.table(block))
    assert torch.allclose(out, whole[:, 2048:], atol=1e-6)
    assert max(kept) <= states.numel()
