"""Every layout of every experiment agrees, and what is broken is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fullcontext import launch
from fullcontext.compose import compose_verb, plain
from fullcontext.config import TrainConfig
from fullcontext.records import Block, Span
from fullcontext.verify import layouts, measure, run
from tests.test_configs import options, verb_of

EXPERIMENTS = [name for name in options("experiments") if verb_of(name) == "train"]


def composed(name: str) -> TrainConfig:
    return compose_verb("train", [f"experiments={name}"])


def kinds_of_run() -> list[str]:
    """One experiment for each set of settings on which the layouts depend."""
    found: dict[str, str] = {}
    for name in EXPERIMENTS:
        config = composed(name)
        sizes = config.model.architecture
        matters = [
            plain(config.objective), plain(config.sharding), plain(config.attention),
            plain(config.adapter),
            config.data.questions_per_context, sizes.tie_embeddings, config.model.path,
            sizes.num_kv_heads < sizes.num_heads,
        ]  # fmt: skip
        found.setdefault(json.dumps(matters), name)
    return list(found.values())


OFTEN = ("film7b", "film7b_window_both", "miniature", "sealong_llama8b")
"""Answers alone, sliding windows, bare symbols, pairs; the others take minutes."""


@pytest.mark.parametrize("name", OFTEN)
def test_all_layouts_of_an_experiment_agree(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run.run(composed(name))
    said = capsys.readouterr().out
    assert "all layouts agree" in said
    for layout in ("packed", "shared context", "2 ranks", "4 ranks", "context par", "resumed"):
        assert layout in said


@pytest.mark.slow
def test_all_layouts_of_every_kind_of_experiment_agree(capsys: pytest.CaptureFixture[str]) -> None:
    for name in kinds_of_run():
        if name not in OFTEN:
            test_all_layouts_of_an_experiment_agree(name, capsys)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """The layouts of one process only."""
    whole = layouts.layouts
    monkeypatch.setattr(
        run, "layouts", lambda *given: [each for each in whole(*given) if each.ranks == 1]
    )
    return composed("demo")


def broken_positions(pack):
    """Positions run on. Rotary ones are relative: only questions after the first notice."""

    def packed(examples):
        row = pack(examples)
        return replace(row, position_ids=np.arange(len(row.input_ids), dtype=np.int32))

    return packed


def broken_blocks(pack):
    """Everything of a row sees all that stands before it."""

    def packed(examples):
        row = pack(examples)
        return replace(row, blocks=(Block(Span(0, len(row.input_ids)), None),))

    return packed


@pytest.mark.parametrize(
    ("fault", "first"),
    [(broken_positions, "shared context"), (broken_blocks, "packed")],
)
def test_a_broken_layout_is_named_and_exits_with_1(
    alone: TrainConfig, fault, first: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from fullcontext.train import loop

    monkeypatch.setattr(loop, "pack", fault(loop.pack))
    with pytest.raises(SystemExit) as stopped:
        run.run(alone)
    assert stopped.value.code == 1
    assert f"the layout '{first}' differs" in capsys.readouterr().err


def test_a_mean_of_means_is_named(
    alone: TrainConfig, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The commonest wrong loss: every micro-batch divided by its own count."""
    from fullcontext.train import loop

    whole = loop.Loop._backward
    monkeypatch.setattr(
        loop.Loop,
        "_backward",
        lambda self, batch, count, weight: whole(
            self, batch, float(batch.weights.sum()) * 3, weight
        ),
    )
    with pytest.raises(SystemExit):
        run.run(alone)
    assert "differs by more than" in capsys.readouterr().err


def test_the_difference_is_relative_to_each_weights_own_gradient() -> None:
    import torch

    expected = measure.Measured(2.0, {"a": torch.tensor([1e-3, 0.0]), "b": torch.tensor([10.0])})
    found = measure.Measured(2.1, {"a": torch.tensor([1e-3, 1e-4]), "b": torch.tensor([10.1])})
    loss, gradient, name = run.difference(expected, found)
    assert (loss, gradient, name) == (pytest.approx(0.05), pytest.approx(0.1), "a")
    missing = measure.Measured(2.0, {"a": torch.tensor([1e-3, 0.0])})
    assert run.difference(expected, missing)[1:] == (float("inf"), "b")


@pytest.mark.parametrize("family", ["LlamaConfig", "Qwen2Config", "Qwen3Config", "GemmaConfig"])
def test_a_model_on_this_machine_lends_its_family(family: str, tmp_path: Path) -> None:
    import transformers

    settings = getattr(transformers, family)(num_hidden_layers=2, hidden_size=128)
    settings.save_pretrained(tmp_path)
    config = composed("demo")
    config = replace(config, model=replace(config.model, path=str(tmp_path)))
    model = measure.tiny(config, "blocks")
    assert type(model.config).__name__ == family and model.config.hidden_size == 64
    given = layouts.examples(config, 3)
    with launch.world() as world:
        reference, packed, *_ = layouts.layouts(config, given)
        found = [measure.step(layout, given, world) for layout in (reference, packed)]
    loss, gradient, _ = run.difference(*found)
    assert max(loss, gradient) < run.GOAL
