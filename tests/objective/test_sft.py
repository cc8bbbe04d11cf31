"""The loss and its gradient are the same on every layout, and nothing leaks between documents."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from fullcontext.config import Normalise
from fullcontext.data.packing import pack
from fullcontext.model import attention
from fullcontext.objective import sft
from fullcontext.records import Asked, Example

attention.register()
SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 512,
}  # fmt: skip
CONFIGS = {
    "mistral": lambda: MistralConfig(**SIZES, sliding_window=None),
    "llama": lambda: LlamaConfig(**SIZES),
    "qwen2": lambda: Qwen2Config(**{k: v for k, v in SIZES.items() if k != "head_dim"}),
    "qwen3": lambda: Qwen3Config(**SIZES),
    "gemma": lambda: GemmaConfig(**SIZES),
    "gemma2": lambda: Gemma2Config(
        **SIZES, sliding_window=9, attn_logit_softcapping=0.5, final_logit_softcapping=2.0,
        initializer_range=0.3,  # else no score comes near its cap
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **SIZES, sliding_window=9, layer_types=["sliding_attention", "full_attention"]
    ),
    "mistral with a window": lambda: MistralConfig(**SIZES, sliding_window=9),
    "qwen2 with windows": lambda: Qwen2Config(
        **{k: v for k, v in SIZES.items() if k != "head_dim"}, use_sliding_window=True,
        sliding_window=9, max_window_layers=1,
    ),
}  # fmt: skip


def model(name: str = "mistral", implementation: str = "blocks"):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        CONFIGS[name](), attn_implementation=implementation
    ).double()


def example(seed: int, context: int, *questions: tuple[int, int]) -> Example:
    draw = np.random.default_rng(seed)

    def take(n):
        return draw.integers(0, 97, n).astype(np.int32)

    return Example(
        0,
        take(context),
        tuple(
            Asked(id=str(i), kind="x", prompt=take(p), answer=take(a))
            for i, (p, a) in enumerate(questions)
        ),
    )


EXAMPLES = [
    example(1, 20, (3, 2), (4, 5)),
    example(2, 0, (6, 1)),
    example(3, 20, (3, 2), (4, 5)),
    example(4, 33, (2, 3)),
]
SINGLE = [[Example(0, e.context, (asked,))] for e in EXAMPLES for asked in e.asked]


def gradient(net, rows: list[list[Example]], normalise: Normalise) -> tuple[float, torch.Tensor]:
    net.zero_grad()
    total = count = 0.0
    for examples in rows:
        loss = sft.loss(net, sft.batch(pack(examples), normalise))
        loss.total.backward()
        total, count = total + float(loss.total.detach()), count + loss.count
    flat = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    return total / count, flat / count


@pytest.mark.parametrize("normalise", list(Normalise))
@pytest.mark.parametrize("name", list(CONFIGS))
def test_packed_shared_and_accumulated_equal_one_by_one(name: str, normalise: Normalise) -> None:
    net = model(name)
    loss, expected = gradient(net, SINGLE, normalise)
    for layout in ([EXAMPLES], [EXAMPLES[:2], EXAMPLES[2:]], [[e] for e in EXAMPLES]):
        other, found = gradient(net, layout, normalise)
        assert other == pytest.approx(loss, rel=1e-6)
        assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("name", list(CONFIGS))
def test_it_is_the_loss_of_plain_transformers(name: str) -> None:
    net, plain = model(name), model(name, "eager")
    total = count = 0.0
    for (one,) in SINGLE:
        asked = one.asked[0]
        ids = torch.tensor(
            np.concatenate([one.context, asked.prompt, asked.answer]).astype(np.int64)
        )
        labels = ids.clone()
        labels[: -len(asked.answer)] = -100
        n = len(asked.answer)
        total, count = (
            total + n * float(plain(ids[None], labels=labels[None]).loss.detach()),
            count + n,
        )
    assert gradient(net, [EXAMPLES], Normalise.token)[0] == pytest.approx(total / count, rel=1e-6)


def test_examples_count_the_same_however_long_their_answers() -> None:
    net = model()
    losses = [gradient(net, [row], Normalise.token)[0] for row in SINGLE]
    assert gradient(net, [EXAMPLES], Normalise.example)[0] == pytest.approx(
        np.mean(losses), rel=1e-6
    )


@settings(max_examples=25)
@given(st.integers(0, 4), st.data())
def test_one_changed_token_changes_nothing_outside_its_example(which: int, data) -> None:
    """Questions of one context are documents to each other, too."""
    net = model()
    row = pack(EXAMPLES)
    owner = np.concatenate([[i] * e.tokens for i, e in enumerate(EXAMPLES)])
    position = data.draw(st.integers(0, len(owner) - 1))
    hidden = []
    for ids in (
        row.input_ids,
        np.where(np.arange(len(owner)) == position, (row.input_ids + 1) % 97, row.input_ids),
    ):
        batch = sft.batch(row, Normalise.token)
        with torch.no_grad():
            hidden.append(
                net.get_decoder()(
                    input_ids=torch.tensor(ids.astype(np.int64))[None],
                    position_ids=batch.position_ids, use_cache=False, block_table=batch.blocks,
                ).last_hidden_state[0]
            )  # fmt: skip
    changed = (hidden[0] != hidden[1]).any(1).numpy()
    assert changed[position] and not changed[owner != owner[position]].any()
    span = next(b.queries for b in row.blocks if b.queries.start <= position < b.queries.stop)
    in_question = any(b.queries == span and b.keys for b in row.blocks)
    if in_question:
        assert not changed[: span.start].any() and not changed[span.stop :].any()


def test_no_logits_but_at_labels(monkeypatch) -> None:
    net = model()
    shapes = []
    net.lm_head.register_forward_hook(lambda module, args, out: shapes.append(out.shape))
    sft.loss(net, sft.batch(pack(EXAMPLES), Normalise.token))
    assert shapes == [(1, sum(e.supervised for e in EXAMPLES), 97)]


def test_cached_generation_attends_causally() -> None:
    net, plain = model(), model("mistral", "sdpa")
    ids = torch.randint(0, 97, (2, 15), generator=torch.Generator().manual_seed(0))
    cache = net(ids[:, :9], use_cache=True).past_key_values
    rest = net(ids[:, 9:], past_key_values=cache, use_cache=True).logits
    assert torch.allclose(rest, plain(ids).logits[:, 9:], atol=1e-10)
