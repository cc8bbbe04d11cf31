"""Steps that do what they say: same update on any split, bad steps skipped and named."""

import numpy as np
import pytest
import torch

from fullcontext.compose import ConfigError
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, tokenizer
from fullcontext.train.loop import Diverged, Loop

WORDS = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "precision=fp32",
    "batch_size=32", "data.questions_per_context=4", "schedule.peak=1e-3", "max_bad_steps=2",
]  # fmt: skip


def loop(train_config, *overrides: str) -> Loop:
    config = train_config(*WORDS, *overrides)
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    mixture = Mixture(config.data, prompt, None, config.seed, config.batch_size)
    model = load.load(config.model, config.positions, config.seed).train()
    return Loop(config, model, mixture, torch.device("cpu"))


def weights(made: Loop) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in made.model.parameters()])


def test_the_update_is_the_same_in_one_or_many_micro_batches(train_config) -> None:
    whole, split = loop(train_config), loop(train_config, "max_tokens=60")
    for made in (whole, split):
        list(made.run(3, lambda *_: None))
    a, b = weights(whole), weights(split)
    assert float((a - b).norm() / a.norm()) < 1e-4  # Adam magnifies rounding where gradients vanish


@pytest.mark.parametrize("normalise", ["token", "example"])
def test_the_loss_falls(train_config, normalise: str) -> None:
    made = loop(train_config, f"objective.normalise={normalise}", "max_steps=30")
    losses = [done.loss for done in made.run(30, lambda *_: None)]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_bf16_compute_keeps_fp32_weights(train_config) -> None:
    made = loop(train_config, "precision=bf16")
    done = next(iter(made.run(1, lambda *_: None)))
    assert done.is_finite
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    moments = [m for state in made.optimizer.state.values() for m in state.values() if m.ndim]
    assert {m.dtype for m in moments} == {torch.float32}


def test_a_bad_step_makes_no_update_and_is_named(train_config) -> None:
    made = loop(train_config)
    named = []

    def poison(*_: object) -> None:
        made.model.get_output_embeddings().weight.register_hook(lambda g: g * float("nan"))

    before = weights(made)
    poison()
    with pytest.raises(Diverged, match="2 steps in a row, up to step 2"):
        list(made.run(5, lambda step, done, examples: named.append((step, examples[0].index))))
    assert named == [(1, 0), (2, 32)] and made.progress.skipped == 2
    assert torch.equal(weights(made), before)


def test_one_good_step_forgives_the_bad_ones(train_config) -> None:
    made = loop(train_config)
    steps = iter(made.run(6, lambda *_: None))
    for poisoned in (True, False, True, False):
        hook = made.model.get_output_embeddings().weight.register_hook(
            lambda g, p=poisoned: g * float("nan") if p else g
        )
        done = next(steps)
        hook.remove()
        assert done.is_finite is not poisoned
    assert made.progress.skipped == 2 and made.progress.skipped_in_a_row == 0


def test_totals_count_examples_and_tokens(train_config) -> None:
    made = loop(train_config)
    done = list(made.run(3, lambda *_: None))
    assert made.progress.examples == 96 == sum(d.examples for d in done)
    assert made.progress.supervised_tokens == 192
    assert made.tally.kinds["key_value"]["examples"] == 96


def test_a_limit_trains_on_the_same_batches_until_they_are_known_by_heart(train_config) -> None:
    made = loop(train_config, "batch_size=8", "data.limit=16", "schedule.peak=5e-3")
    mixture = made.mixture
    first, second, third = ([e.index for e in mixture.batch(step)] for step in (0, 1, 2))
    assert first == third and first != second
    losses = [done.loss for done in made.run(60, lambda *_: None)]
    assert losses[0] > 2 and max(losses[-2:]) < 0.05


def test_a_limit_that_cuts_a_batch_is_refused(train_config) -> None:
    with pytest.raises(ConfigError, match=r"data.limit=20 is not a multiple of batch_size=16"):
        train_config("experiments=overfit_one_batch", "data.limit=20")


def test_waiting_for_data_counts_as_time_and_is_named(train_config) -> None:
    made = loop(train_config)
    done = made.step(made.mixture.batch(0), 6, waited=100.0)
    assert done.watched["data_wait"] == pytest.approx(1, abs=0.01) and done.seconds > 100
    record = done.record()
    assert record["supervised/key_value"] == 64 and record["tokens_per_s"] < 10
