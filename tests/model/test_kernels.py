"""What GPU kernels are asked to compute is what the block kernel computes.

The kernels themselves need a GPU; flash-attn's call is replaced by one that does its documented
maths, and flex_attention runs its forward pass, uncompiled.
"""

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from fullcontext.compose import ConfigError
from fullcontext.data.packing import pack
from fullcontext.model import attention, kernels
from fullcontext.model import table as tables
from fullcontext.records import Block, Span
from tests.objective.test_sft import EXAMPLES, example

ROWS = {
    "packed": pack(EXAMPLES).blocks,
    "one context": pack([example(1, 0, (290, 10))]).blocks,
    "shared": pack([example(2, 200, (5, 3), (130, 4), (2, 1))]).blocks,
}
PIECES = [None, Span(30, 75), Span(0, 41)]


def states(tokens: int, heads: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(1, heads, tokens, 16, generator=draw, requires_grad=True)


def varlen_by_hand(  # noqa: PLR0913 - the signature is flash-attn's
    q: Tensor, k: Tensor, v: Tensor, *, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor,
    max_seqlen_q: int, max_seqlen_k: int, softmax_scale: float | None, causal: bool,
) -> Tensor:  # fmt: skip
    """flash_attn_varlen_func (README, 2.1 and later): the last query sees the last key."""
    assert causal and cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert int(cu_seqlens_q.diff().max()) == max_seqlen_q
    assert int(cu_seqlens_k.diff().max()) == max_seqlen_k
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    out = []
    for (a, b), (c, d) in zip(
        cu_seqlens_q.unfold(0, 2, 1).tolist(), cu_seqlens_k.unfold(0, 2, 1).tolist(), strict=True
    ):
        scores = torch.einsum("qhw,khw->hqk", q[a:b], k[c:d]) * (
            softmax_scale or q.shape[-1] ** -0.5
        )
        hidden = torch.ones(b - a, d - c, dtype=torch.bool).triu(d - c - (b - a) + 1)
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        out.append(torch.einsum("hqk,khw->qhw", weights, v[c:d]))
    return torch.cat(out)


def asked(name: str, piece: Span | None) -> tuple[attention.BlockTable, Tensor, Tensor, Tensor]:
    blocks = ROWS[name]
    tokens = blocks[-1].queries.stop
    table = tables.table(blocks, piece=piece)
    query = states(piece.length if piece else tokens, 4, 1)
    return table, query, states(tokens, 2, 2), states(tokens, 2, 3)


@pytest.mark.parametrize("piece", PIECES, ids=str)
@pytest.mark.parametrize("name", list(ROWS))
def test_flash_is_asked_for_the_same_output_and_gradient(name: str, piece: Span | None) -> None:
    table, *given = asked(name, piece)
    expected = attention.blocks(*given, 0.3, table)
    found = kernels.flash(*given, 0.3, table, varlen_by_hand)
    assert torch.allclose(found, expected, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(4))
    for one, other in zip(
        torch.autograd.grad((expected * weights).sum(), given),
        torch.autograd.grad((found * weights).sum(), given),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("piece", PIECES, ids=str)
@pytest.mark.parametrize("name", list(ROWS))
def test_flex_is_asked_for_the_same_output(name: str, piece: Span | None) -> None:
    table, *given = asked(name, piece)
    given = [each.detach() for each in given]
    expected = attention.blocks(*given, 0.3, table)
    assert torch.allclose(kernels.flex(*given, 0.3, table, flex_attention), expected, atol=1e-5)


def test_tiles_that_nobody_sees_are_left_out() -> None:
    """Two documents of 512: each touches 4 x 4 of the 8 x 8 tiles of 128."""
    blocks = [Block(Span(0, 512), None), Block(Span(512, 1024), None)]
    tiles = kernels.tiles(tables.sights(blocks), 1024, torch.device("cpu"))
    assert int(tiles.kv_num_blocks.sum()) == 32
    assert tiles.kv_num_blocks.shape[-1] == 8


def test_a_documents_keys_are_not_copied_and_a_shared_contexts_are() -> None:
    cpu = torch.device("cpu")
    assert kernels.varlen(tables.sights(ROWS["one context"]), cpu).keys is None
    shared = kernels.varlen(tables.sights(ROWS["shared"]), cpu)
    assert shared.keys is not None and len(shared.keys) == 200 + (200 + 8) + (200 + 134) + 203


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("backend", ["flash", "flex"])
def test_a_backend_this_machine_lacks_is_refused(backend: str) -> None:
    with pytest.raises(ConfigError, match=rf"attention={backend} needs a GPU"):
        kernels.register(backend)
