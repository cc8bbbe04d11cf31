"""The update is that of one process, on any number of ranks and in any strategy."""

import numpy as np
import pytest

from tests.ranks import together

WORDS = [
    "data=key_value_symbols", "model=symbols", "precision=fp32", "batch_size=24",
    "data.questions_per_context=4", "schedule.peak=1e-3", "schedule.decay=constant",
]  # fmt: skip
LAYOUTS = [
    (1, "sharding=full_shard", "sharding.cpu_offload=false"),
    (2, "sharding=full_shard", "sharding.cpu_offload=false"),
    (2, "sharding=full_shard", "max_tokens=110"),
    (2, "sharding=full_shard", "max_tokens=110", "sharding.accumulate=local"),
    (2, "sharding=ddp", "max_tokens=110"),
    (2, "sharding=full_shard", "sharding.context_parallel=2"),
    (2, "sharding=ddp", "sharding.context_parallel=2", "sharding.context_parallel_by=keys"),
    (4, "sharding=full_shard"),
    (4, "sharding=hybrid", "sharding.shard_size=2", "max_tokens=110"),
    (4, "sharding=full_shard", "sharding.context_parallel=2", "max_tokens=110"),
]


def steps(world, overrides: list[str], number: int) -> tuple[list[dict[str, float]], np.ndarray]:
    """Records of some steps, and the weights after them."""
    from fullcontext.compose import compose_verb
    from fullcontext.data.mixture import Mixture
    from fullcontext.data.tokens import Encoder, Prompt
    from fullcontext.model import load, sharding, tokenizer
    from fullcontext.train.loop import Loop

    config = compose_verb("train", [*WORDS, *overrides])
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    mixture = Mixture(config.data, prompt, None, config.seed, config.batch_size)
    model = load.load(config.model, config.positions, config.seed).train()
    sharding.recompute(model, config.checkpointing)
    model = sharding.shard(model, config.sharding, config.precision, world)
    share = sharding.share(config.sharding, world, model)
    loop = Loop(config, model, mixture, world.device, share)
    done = list(loop.run(number, lambda *_: None))
    watched = [{k: v for k, v in d.watched.items() if k.startswith("loss/")} for d in done]
    assert all(w["loss/key_value"] > 0 and w["loss/depth_1_of_5"] > 0 for w in watched)
    records = [
        {"loss": d.loss, "norm": d.grad_norm, **w} for d, w in zip(done, watched, strict=True)
    ]
    whole = [getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters()]
    return records, np.concatenate([p.detach().numpy().ravel() for p in whole])


@pytest.fixture(scope="module")
def alone() -> tuple[list[dict[str, float]], np.ndarray]:
    (found,) = together(1, steps, ["sharding=none"], 3)
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: " ".join(map(str, layout)))
def test_losses_norms_and_weights_are_those_of_one_process(alone, layout) -> None:
    size, *overrides = layout
    for records, weights in together(size, steps, overrides, 3):
        for one, other in zip(alone[0], records, strict=True):
            assert other == pytest.approx(one, rel=1e-5)
        assert np.linalg.norm(weights - alone[1]) < 1e-5 * np.linalg.norm(alone[1])
