"""Gated memory computes what the authors' does, in every family, and leaves the model as it is."""

import copy
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config.adapter import Adapter, AdapterConfig, MemoryInit, Quantize
from fullcontext.model import attention, gated_memory, lora
from fullcontext.model.gated_attention import Memory

IDS = torch.tensor([[3, 5, 7, 9, 11, 4, 8, 2, 6, 10, 13, 12]])
SIZES = {
    "vocab_size": 40, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 64, "initializer_range": 0.2, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 39,
}  # fmt: skip
"""Heads of 8, four of them: wider than the hidden states, 24."""
FAMILIES = {
    "llama": ("LlamaConfig", {}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {}),
    "gemma2": ("Gemma2Config", {"sliding_window": 4, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 4, "query_pre_attn_scalar": 8}),
}


BACKENDS = [
    (family, backend)
    for family in FAMILIES
    for backend in ("eager", "sdpa", attention.NAME)
    if (family, backend) != ("gemma2", "sdpa")
]
"""transformers does not let Gemma 2, which caps its scores, run by sdpa."""


def model(family: str = "llama", backend: str = attention.NAME, **others: Any) -> Any:
    """Two layers, fp32."""
    name, own = FAMILIES[family]
    attention.register()
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**SIZES, **own, **others})
    made = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=backend)
    return made.float().eval()


def given_settings(**others: Any) -> AdapterConfig:
    return AdapterConfig(kind=Adapter.gated_memory, **others)


def attached(
    family: str = "llama",
    backend: str = attention.NAME,
    sizes: dict[str, Any] | None = None,
    **others: Any,
) -> Any:
    made = model(family, backend, **(sizes or {}))
    gated_memory.attach(made, given_settings(**others), seed=1)
    return made


def opened(made: Any, scale: float = 3.0) -> Any:
    """With weights so large that memory and gate matter, those of the output head too."""
    drawn = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in lora.trained(made).values():
            weight.copy_(scale * torch.randn(weight.shape, generator=drawn) / weight.shape[-1])
    return made


def taught(made: Any, steps: int = 3, rate: float = 1e-2) -> list[float]:
    """Losses of some steps of AdamW."""
    optimizer = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=rate)
    losses = []
    for _ in range(steps):
        loss = made(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def bits(made: Any) -> dict[str, str]:
    """A hash of each of a model's own weights, by the name that it has without an adapter."""
    return {
        name.replace(".base_layer", ""): hashlib.sha256(weight.detach().numpy()).hexdigest()
        for name, weight in made.named_parameters()
        if not weight.requires_grad
    }


GOLDEN = [
    [-1.9798698425292969, -1.612877607345581, -1.2458851337432861, -0.8788927793502808,
     -0.5119004249572754, -0.14490771293640137, 0.22208452224731445, 0.5890772342681885],
    [-1.6463112831115723, -1.2665703296661377, -0.8868291974067688, -0.5070882439613342,
     -0.12734737992286682, 0.2523937225341797, 0.6321346163749695, 1.011876106262207],
    [-20.26089859008789, -14.001962661743164, -7.743029594421387, -1.4840946197509766,
     4.774837493896484, 11.033771514892578, 17.292705535888672, 23.5516414642334],
]  # fmt: skip
"""What the authors' attention gives for three tokens (their code, run once)."""
GOLDEN_GATES = [
    [0.06496775895357132, 0.04996059834957123, 0.0022085034288465977],
    [0.03372097387909889, 0.05015404149889946, 0.5895999670028687],
]
"""Of its two heads."""


def test_an_attention_layer_gives_what_the_authors_does() -> None:
    config = transformers.LlamaConfig(
        hidden_size=8, num_attention_heads=2, num_key_value_heads=1, head_dim=4
    )
    config._attn_implementation = "sdpa"
    layer = LlamaAttention(config, 0)
    memory = layer.memory = Memory(layer)
    layer.q_proj.register_forward_hook(memory.see)
    layer.o_proj.register_forward_pre_hook(memory.mix)
    by_their_names = {
        "gate_proj.0": memory.gate_in, "gate_proj.2": memory.gate_out,
        "k_proj": layer.k_proj.weight, "mem_proj.0": memory.value_in,
        "mem_proj.2": memory.value_out, "o_proj": layer.o_proj.weight,
        "q_proj": layer.q_proj.weight, "v_proj": layer.v_proj.weight,
    }  # fmt: skip
    with torch.no_grad():
        for i, (_, weight) in enumerate(sorted(by_their_names.items())):
            drawn = torch.linspace(-1, 1, weight.numel()).view(weight.shape)
            weight.copy_(drawn * (0.3 + 0.1 * i))
    x = torch.linspace(-1, 1, 24).view(1, 3, 8)
    around = LlamaRotaryEmbedding(config)(x, torch.arange(3)[None])
    found, _ = layer(x, position_embeddings=around, attention_mask=None)
    torch.testing.assert_close(found[0], torch.tensor(GOLDEN), rtol=1e-6, atol=1e-6)
    gate = memory.gate(layer.q_proj(x).view(1, 3, 2, 4))
    torch.testing.assert_close(gate[0, :, :, 0].T, torch.tensor(GOLDEN_GATES), rtol=1e-6, atol=1e-6)


def test_a_fresh_gate_is_near_that_of_an_empty_memory() -> None:
    """sigmoid(-3) = 0.0474."""
    made = attached(sizes={"initializer_range": 0.02})
    with gated_memory.gates(made) as found:
        made(input_ids=IDS)
    assert found() == pytest.approx([0.0474, 0.0474], abs=5e-4)


def test_the_mean_gate_counts_tokens_not_passes() -> None:
    """The gates of 9 tokens in one pass and of 3 in another: nine parts of the one mean, three of
    the other. What runs after the block is not counted."""
    made = opened(attached())
    means = []
    for part in (IDS[:, :9], IDS[:, 9:]):
        with gated_memory.gates(made) as found:
            made(input_ids=part)
        means.append(found())
    with gated_memory.gates(made) as both:
        made(input_ids=IDS[:, :9])
        made(input_ids=IDS[:, 9:])
    expected = [(9 * one + 3 * other) / 12 for one, other in zip(*means, strict=True)]
    assert both() == pytest.approx(expected, rel=1e-6)
    made(input_ids=IDS)
    assert both() == pytest.approx(expected, rel=1e-6)
    with gated_memory.gates(made) as none:
        pass
    assert all(math.isnan(each) for each in none())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gate_driven_to_zero_gives_the_logits_of_the_model(family: str) -> None:
    """SiLU(x) + SiLU(-x) = x tanh(x / 2) is above 0, and G2 takes it a million times off."""
    plain, made = model(family), attached(family)
    for memory in gated_memory.memories(made):
        with torch.no_grad():
            memory.gate_in[:, :, 1] = -memory.gate_in[:, :, 0]
            memory.gate_out.fill_(-1e12)
    with gated_memory.gates(made) as found:
        logits = made(input_ids=IDS).logits
    assert found() == [0.0, 0.0]
    torch.testing.assert_close(logits, plain(input_ids=IDS).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_switched_off_the_model_says_what_it_said_bit_for_bit(family: str) -> None:
    plain, made = model(family), opened(attached(family))
    ours = made(input_ids=IDS).logits
    with gated_memory.disabled(made):
        assert torch.equal(made(input_ids=IDS).logits, plain(input_ids=IDS).logits)
    assert torch.equal(made(input_ids=IDS).logits, ours)
    assert not torch.allclose(ours, plain(input_ids=IDS).logits, atol=1e-2)
    assert all(weight.requires_grad for n, weight in made.named_parameters() if "memory" in n)
    assert all(weight.requires_grad for n, weight in made.named_parameters() if "lora" in n)


@pytest.mark.parametrize(("family", "backend"), BACKENDS)
def test_generation_with_a_cache_is_the_full_forward_pass(family: str, backend: str) -> None:
    made = opened(attached(family, backend))
    given_tokens = IDS[:, :7]
    out = made.generate(
        given_tokens, attention_mask=torch.ones_like(given_tokens), max_new_tokens=8,
        do_sample=False, use_cache=True, output_logits=True, return_dict_in_generate=True,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    whole = made(input_ids=out.sequences[:, :-1], use_cache=False).logits[0, 6:]
    torch.testing.assert_close(torch.cat(out.logits), whole, rtol=1e-5, atol=1e-5)
    assert torch.equal(whole.argmax(-1), out.sequences[0, 7:])


@pytest.mark.parametrize(("family", "backend"), BACKENDS)
def test_every_attention_gives_the_same(family: str, backend: str) -> None:
    logits, eager = (
        opened(attached(family, each))(input_ids=IDS).logits for each in (backend, "eager")
    )
    torch.testing.assert_close(logits, eager, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_the_query_is_what_rotary_positions_turn(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caught where the model gives it to them: after the norm, whatever the order of its axes."""
    made = attached(family)
    turned, own = [], []
    module = __import__(type(made).__module__, fromlist=["apply_rotary_pos_emb"])
    turn = module.apply_rotary_pos_emb
    monkeypatch.setattr(
        module, "apply_rotary_pos_emb", lambda q, *rest: (turned.append(q), turn(q, *rest))[1]
    )
    query = Memory.query
    monkeypatch.setattr(
        Memory, "query", lambda self, seen: (own.append(query(self, seen)), own[-1])[1]
    )
    made(input_ids=IDS[:, :4])  # as many tokens as heads
    assert len(own) == 2
    for theirs, ours in zip(turned, own, strict=True):
        torch.testing.assert_close(ours.transpose(1, 2), theirs, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_checkpointing_gives_the_same_gradients_and_gates(family: str) -> None:
    plain, again = opened(attached(family)), opened(attached(family))
    again.gradient_checkpointing_enable({"use_reentrant": False})
    found = []
    for made in (plain, again):
        made.train()
        with gated_memory.gates(made) as gates:
            made(input_ids=IDS, labels=IDS).loss.backward()
        found.append(gates())
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    for (name, one), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (not one.requires_grad), name
        if one.grad is not None:
            assert torch.equal(one.grad, other.grad) and one.grad.abs().max() > 0


@pytest.mark.parametrize("tied", [False, True])
def test_a_step_changes_the_adapter_and_no_bit_of_the_model(tied: bool) -> None:
    before = model(tie_word_embeddings=tied)
    after = copy.deepcopy(before)
    gated_memory.attach(after, given_settings(), seed=1)
    fresh = {name: weight.clone() for name, weight in lora.trained(after).items()}
    taught(after, steps=2)
    assert all(not torch.equal(fresh[n], weight) for n, weight in lora.trained(after).items())
    before.requires_grad_(False)
    assert bits(after) == bits(before)
    head = after.get_output_embeddings().base_layer.weight
    assert (head is after.get_input_embeddings().weight) == tied
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in fresh} == {"memory", "default"}


def test_saved_weights_come_back_into_another_model(tmp_path: Path) -> None:
    one = opened(attached())
    gated_memory.save(tmp_path, one)
    other = attached(memory_init=MemoryInit.per_head)
    gated_memory.load(other, tmp_path)
    assert torch.equal(one(input_ids=IDS).logits, other(input_ids=IDS).logits)
    said = json.loads((tmp_path / gated_memory.SETTINGS).read_text())
    assert (said["kind"], said["layers"], said["heads"], said["head_dim"]) == (
        "gated_memory", 2, 4, 8,
    )  # fmt: skip
    assert said["base_sum"] == lora.base_sum(model())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_rank": 3}, "head_rank=2 .* here it is 3"),
        ({"sizes": {"head_dim": 16}}, "head_dim=8 .* here it is 16"),
        ({"sizes": {"num_hidden_layers": 1}}, "layers=2 .* here it is 1"),
        ({"sizes": {"initializer_range": 0.1}}, "base_sum="),
    ],
)
def test_another_shape_or_base_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    gated_memory.save(tmp_path, attached())
    with pytest.raises(ConfigError, match=message):
        gated_memory.load(attached(**change), tmp_path)


def test_another_kind_of_adapter_is_refused(tmp_path: Path) -> None:
    low_rank = model()
    lora.attach(low_rank, AdapterConfig(kind=Adapter.lora, rank=2), seed=0)
    lora.save(tmp_path, low_rank)
    with pytest.raises(ConfigError, match="holds no gated memory"):
        gated_memory.load(attached(), tmp_path)


def test_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = attached()
    drawn = torch.rand(3)
    torch.manual_seed(5)
    model()
    assert torch.equal(torch.rand(3), drawn)
    first = {name: weight.clone() for name, weight in lora.trained(one).items()}
    taught(one)
    gated_memory.redraw(one, given_settings(), seed=2)
    assert all(
        not torch.equal(first[name], weight)
        for name, weight in lora.trained(one).items()
        if "lora_B" not in name
    )
    gated_memory.redraw(one, given_settings(), seed=1)
    for name, weight in lora.trained(one).items():
        assert torch.equal(first[name], weight)


def test_both_ways_to_begin_have_the_bounds_that_they_name() -> None:
    """Of (4, 8, 16) the bound is 1 / sqrt(128) = 0.088, or 1 / sqrt(8) = 0.354 for each head."""
    for init, bound in ((MemoryInit.reference, 0.0884), (MemoryInit.per_head, 0.3536)):
        memory = gated_memory.memories(attached(memory_init=init))[0]
        assert memory.value_in.shape == (4, 8, 16) and memory.gate_in.shape == (4, 8, 2)
        drawn = memory.value_in.detach()
        assert float(drawn.abs().max()) == pytest.approx(bound, rel=0.02)
        assert float(drawn.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def permuted(made: Any, order: list[int]) -> Any:
    """The heads of a model without grouped keys in another order, those of its memory with them."""
    with torch.no_grad():
        for layer in made.model.layers:
            own = layer.self_attn
            for product in (own.q_proj, own.k_proj, own.v_proj):
                product.weight.copy_(product.weight.unflatten(0, (4, 8))[order].flatten(0, 1))
            columns = own.o_proj.weight.unflatten(1, (4, 8))[:, order]
            own.o_proj.weight.copy_(columns.flatten(1, 2))
            for weight in own.memory.parameters():
                weight.copy_(weight[order])
    return made


@settings(max_examples=10)
@given(st.permutations(range(4)))
def test_the_order_of_heads_does_not_matter(order: list[int]) -> None:
    made = opened(attached(sizes={"num_key_value_heads": 4}))
    before = made(input_ids=IDS).logits
    torch.testing.assert_close(
        permuted(made, list(order))(input_ids=IDS).logits, before, rtol=1e-4, atol=1e-5
    )


def test_a_memorised_string_opens_the_gates() -> None:
    made = attached(sizes={"initializer_range": 0.1})
    text = torch.randint(1, 39, (1, 48), generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=1e-2)
    records = []
    for _ in range(200):
        with gated_memory.gates(made) as found:
            loss = made(input_ids=text, labels=text).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        records.append((loss.item(), sum(found()) / 2))
    (first, shut), (last, open_) = records[0], records[-1]
    assert last < first / 4 and open_ > 2 * shut


LLAMA3_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip


def test_llama_3_8b_gets_as_many_weights_as_the_authors_count() -> None:
    """A head: 2 * 128 * 256 of memory, 128 * 11 + 11 of gate; 32 heads, 32 layers: 68.56 M, the
    published figure. The output head's matrices are 2 * (4096 + 128256) more."""
    memory = 32 * 32 * (2 * 128 * 256 + 128 * 11 + 11)
    assert memory == 68_561_920
    config = transformers.LlamaConfig(**LLAMA3_8B)
    assert gated_memory.num_parameters(config, given_settings(head_rank=0)) == memory
    assert gated_memory.num_parameters(config, given_settings()) == memory + 264_704
    with torch.device("meta"):
        made = transformers.LlamaForCausalLM(config)
    gated_memory.attach(made, given_settings(), seed=0)
    assert sum(weight.numel() for weight in lora.trained(made).values()) == memory + 264_704


@pytest.mark.parametrize("family", FAMILIES)
def test_the_number_of_weights_is_known_from_the_config(family: str) -> None:
    made = attached(family)
    number = sum(weight.numel() for weight in lora.trained(made).values())
    assert number == gated_memory.num_parameters(made.config, given_settings())


def test_autocast_keeps_the_gate_wide_and_the_weights_in_fp32() -> None:
    made = opened(attached())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = made(input_ids=IDS).logits
        gate = gated_memory.memories(made)[0].gate(torch.ones(1, 1, 4, 8))
    assert gate.dtype is torch.float32
    assert all(weight.dtype is torch.float32 for weight in lora.trained(made).values())
    apart = (logits - made(input_ids=IDS).logits).abs().max()
    assert 0 < apart < 0.1 * logits.abs().max()


def test_a_base_in_four_bits_stays_so_and_the_memory_learns(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="not built for every platform")
    sizes = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 16}
    made = attached(sizes=sizes, quantize=Quantize.nf4)
    layer = made.model.layers[0].self_attn
    assert layer.q_proj.weight.dtype is torch.uint8 and not layer.q_proj.weight.requires_grad
    packed = layer.q_proj.weight.clone()
    losses = taught(made, steps=20)
    assert losses[-1] < losses[0] and torch.equal(layer.q_proj.weight, packed)
    gated_memory.save(tmp_path, made)
    again = attached(sizes=sizes, quantize=Quantize.nf4)
    gated_memory.load(again, tmp_path)
    assert torch.equal(again(input_ids=IDS).logits, made(input_ids=IDS).logits)


def without_queries() -> Any:
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 16, "n_positions": 16}
    made = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    made.get_decoder = lambda: type("Decoder", (), {"layers": made.transformer.h})
    return made


def of_twice_the_width() -> Any:
    made = model()
    made.model.layers[1].self_attn.q_proj = torch.nn.Linear(24, 64)
    return made


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (without_queries, "layer 0 has 0 modules with q_proj"),
        (of_twice_the_width, "q_proj of layer 1 gives 64 values and o_proj takes 32"),
        (attached, "has gated memory already"),
    ],
)
def test_a_model_that_it_does_not_fit_is_refused(broken: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gated_memory.attach(broken(), given_settings(), seed=0)


@pytest.mark.parametrize(
    ("given_values", "message"),
    [({"head_rank": -1}, "adapter.head_rank=-1"), ({"head_alpha": 0.0}, "adapter.head_alpha=0")],
)
def test_settings_out_of_range_are_refused(given_values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given_settings(**given_values)


def test_training_refuses_it_and_adapting_takes_it() -> None:
    with pytest.raises(ConfigError, match=r"cannot be merged .* adapt\.py is its place"):
        compose_verb("train", ["adapter=gated_memory"])
    words = ["document=book.txt", "adapter=gated_memory", "adapter.memory_init=per_head"]
    adapter = compose_verb("adapt", words).adapter
    assert (adapter.kind, adapter.memory_init, adapter.head_rank) == (
        Adapter.gated_memory, MemoryInit.per_head, 2,
    )  # fmt: skip
    assert not compose_verb("adapt", ["document=book.txt", "adapter=full"]).adapter.is_on
