"""Adapters leave the model's own weights as they are, and the merged model says what it said."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from fullcontext.compose import ConfigError
from fullcontext.config.adapter import Adapter, AdapterConfig, Quantize
from fullcontext.model import four_bits, lora

IDS = torch.tensor([[3, 5, 7, 9, 11, 4]])


def model(width: int = 64) -> Any:
    """Two layers of Llama, fp32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def settings(quantize: Quantize = Quantize.none, **others: object) -> AdapterConfig:
    return AdapterConfig(kind=Adapter.lora, rank=4, alpha=8.0, quantize=quantize, **others)


def taught(given: AdapterConfig, steps: int = 3) -> tuple[Any, Any]:
    """A model before, and with adapters after some steps."""
    before = model()
    after = copy.deepcopy(before)
    lora.attach(after, given, seed=1)
    optimizer = torch.optim.AdamW([p for p in after.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        after(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, after


def test_adapters_change_nothing_before_the_first_step_and_something_after() -> None:
    before, after = taught(settings(), steps=0)
    assert torch.equal(before(input_ids=IDS).logits, after(input_ids=IDS).logits)
    before, after = taught(settings())
    assert not torch.allclose(before(input_ids=IDS).logits, after(input_ids=IDS).logits)


def test_the_weights_of_the_model_stay_bit_for_bit() -> None:
    before, after = taught(settings())
    kept = {n.replace(".base_layer", ""): p for n, p in after.named_parameters()}
    for name, weight in before.named_parameters():
        assert torch.equal(weight, kept[name])
    lora.attach(before, settings(), seed=2)
    assert lora.attached(after).base_sum == lora.attached(before).base_sum


def test_only_the_adapters_are_trained_and_their_number_is_known() -> None:
    """Of every product of n to m: 4 n + 4 m."""
    before, after = taught(settings(), steps=0)
    products = [
        m for n, m in before.named_modules()
        if isinstance(m, torch.nn.Linear) and not n.startswith("lm_head")
    ]  # fmt: skip
    expected = sum(4 * (m.in_features + m.out_features) for m in products)
    assert sum(p.numel() for p in lora.trained(after).values()) == expected


def test_adapters_are_drawn_from_the_seed_and_leave_the_global_draws_alone() -> None:
    one, other = model(), model()
    torch.manual_seed(5)
    lora.attach(one, settings(), seed=1)
    drawn = torch.rand(3)
    lora.attach(other, settings(), seed=1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    for name, weight in lora.trained(one).items():
        assert torch.equal(weight, lora.trained(other)[name])


@pytest.mark.parametrize("quantize", list(Quantize))
def test_redrawn_adapters_are_those_of_a_fresh_model_whatever_was_trained(
    quantize: Quantize,
) -> None:
    if quantize is Quantize.nf4:
        pytest.importorskip("bitsandbytes", reason="not built for every platform")
    _, after = taught(settings(quantize))
    drawn = torch.random.get_rng_state()
    lora.redraw(after, settings(), seed=2)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    fresh = model()
    lora.attach(fresh, settings(), seed=2)
    for name, weight in lora.trained(fresh).items():
        assert torch.equal(weight, lora.trained(after)[name]), name


def test_switched_off_adapters_leave_the_models_own_answer_and_train_on_afterwards() -> None:
    before, after = taught(settings())
    names = set(lora.trained(after))
    with lora.disabled(after):
        assert torch.equal(before(input_ids=IDS).logits, after(input_ids=IDS).logits)
    assert not torch.allclose(before(input_ids=IDS).logits, after(input_ids=IDS).logits)
    assert set(lora.trained(after)) == names


@pytest.mark.parametrize("quantize", list(Quantize))
def test_the_merged_weights_compute_what_the_adapted_model_does(quantize: Quantize) -> None:
    if quantize is Quantize.nf4:
        pytest.importorskip("bitsandbytes", reason="not built for every platform")
    _, after = taught(settings(quantize))
    plain = model()
    found = {name: lora.whole(weight) for name, weight in lora.merged(after).items()}
    assert set(found) == {name for name, _ in plain.named_parameters()}
    plain.load_state_dict(found, strict=False)
    torch.testing.assert_close(
        plain(input_ids=IDS).logits, after(input_ids=IDS).logits, rtol=1e-5, atol=1e-5
    )


def test_four_bits_hold_the_products_of_the_layers_and_their_gradients_pass() -> None:
    pytest.importorskip("bitsandbytes", reason="not built for every platform")
    before, after = taught(settings(Quantize.nf4))
    layer = after.model.layers[0].self_attn.q_proj
    assert layer.get_base_layer().weight.dtype is torch.uint8
    unpacked = four_bits.unpacked(layer.get_base_layer().weight)
    own = before.model.layers[0].self_attn.q_proj.weight
    error = (unpacked - own).abs().mean() / own.abs().mean()
    assert 0.08 < error < 0.1  # of normal weights in blocks of 64
    assert after.lm_head.weight.dtype is torch.float32


def test_peft_reads_what_is_saved_and_so_does_load(tmp_path: Path) -> None:
    before, after = taught(settings())
    lora.save(tmp_path, after)
    theirs = PeftModel.from_pretrained(copy.deepcopy(before), str(tmp_path))
    torch.testing.assert_close(theirs(input_ids=IDS).logits, after(input_ids=IDS).logits)
    again = copy.deepcopy(before)
    lora.attach(again, settings(), seed=2)
    lora.load(again, tmp_path)
    assert torch.equal(again(input_ids=IDS).logits, after(input_ids=IDS).logits)


def test_other_adapters_are_refused_by_name(tmp_path: Path) -> None:
    before, after = taught(settings(), steps=0)
    lora.save(tmp_path, after)
    lora.attach(before, settings(targets=["q_proj"]), seed=1)
    with pytest.raises(ConfigError, match="no place for: base_model"):
        lora.load(before, tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dropout": 0.05}, "depend on how a batch is cut"),
        ({"targets": []}, "adapter.targets is empty"),
        ({"rank": 0}, "adapter.rank=0"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdapterConfig(**{"kind": Adapter.lora, **given})


def test_targets_that_the_model_does_not_have_are_named_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match="no linear module c_attn; it has down_proj"):
        lora.attach(model(), settings(targets=["q_proj", "c_attn"]), seed=0)


def test_widths_that_bitsandbytes_gets_wrong_are_refused() -> None:
    pytest.importorskip("bitsandbytes", reason="not built for every platform")
    with pytest.raises(ConfigError, match="q_proj takes 32 inputs, which is no multiple of 64"):
        lora.attach(model(width=32), settings(Quantize.nf4), seed=0)
