"""What is recorded of a step is what happened in it."""

import numpy as np
import pytest
import torch

from fullcontext.data.packing import Price, pack
from fullcontext.records import Asked, Example
from fullcontext.train.watching import Gauge, Losses

ONE = np.zeros(1, np.int32)


def example(kind: str, *asked: tuple[int, float | None]) -> Example:
    questions = [
        Asked(str(i), kind, ONE, np.zeros(answer, np.int32), depth)
        for i, (answer, depth) in enumerate(asked)
    ]
    return Example(0, np.zeros(4, np.int32), tuple(questions))


def test_losses_are_means_over_tokens_by_kind_and_by_depth() -> None:
    losses = Losses(["near", "far", "never"])
    row = pack([example("near", (2, 0.1), (1, 0.99))])
    losses.add(row, row.label_questions, np.array([1.0, 2.0, 6.0]))
    row = pack([example("far", (1, 1.0)), example("near", (1, None))])
    losses.add(row, row.label_questions, np.array([4.0, 1.0]))
    assert losses.record() == {
        "loss/near": 10 / 4,
        "loss/far": 4.0,
        "loss/depth_1_of_5": 1.5,
        "loss/depth_5_of_5": 5.0,
        "supervised/near": 4,
        "supervised/far": 1,
        "supervised/never": 0,
    }


def test_sums_of_two_ranks_are_those_of_one() -> None:
    rows = [pack([example("a", (2, 0.3))]), pack([example("b", (1, 0.7))])]
    nll = [np.array([1.0, 2.0]), np.array([3.0])]
    together, first, second = (Losses(["a", "b"]) for _ in range(3))
    for row, values, rank in zip(rows, nll, (first, second), strict=True):
        together.add(row, row.label_questions, values)
        rank.add(row, row.label_questions, values)
    first.sums = [a + b for a, b in zip(first.sums, second.sums, strict=True)]
    assert first.record() == together.record()


def test_a_rank_adds_the_losses_of_its_piece_of_a_row_alone() -> None:
    row = pack([example("a", (2, 0.3), (1, 0.9))])
    losses = Losses(["a"])
    losses.add(row, np.array([0], np.int32), np.array([2.0]))
    assert losses.record() == {"loss/a": 2.0, "loss/depth_2_of_5": 2.0, "supervised/a": 1}


def test_utilisation_is_a_share_of_the_peak_of_every_device(train_config) -> None:
    """Context 4, answer 1 after a prompt of 1: 6 tokens, 10 + 2 * 4 + 3 pairs, 1 label."""
    config = train_config("experiments=debug", "hardware.peak_flops=10000")
    price = Price(token=100, pair=10, label=1)
    gauge = Gauge(config, price, torch.device("cpu"), devices=2)
    read = gauge.read([example("a", (1, None))], seconds=0.5, waited=0.1)
    assert read["flops_per_s"] == 3 * (600 + 210 + 1)
    assert read["flops_per_s_full"] == 3 * (600 + (16 + 2 * 6) * 10 + 1)
    assert read["mfu"] == pytest.approx(0.2433) and read["mfu_full"] == pytest.approx(0.2643)
    assert read["data_wait"] == 0.2 and read["peak_memory_gib"] > 0.05
    assert "hfu" not in read


def test_without_a_known_peak_no_utilisation_is_claimed(train_config) -> None:
    gauge = Gauge(train_config("experiments=debug"), Price(), torch.device("cpu"))
    assert not {"mfu", "mfu_full"} & set(gauge.read([example("a", (1, None))], 1.0, 0.0))


def test_what_is_computed_again_is_named_apart(train_config) -> None:
    config = train_config("experiments=debug", "hardware.peak_flops=10000", "checkpointing=full")
    gauge = Gauge(config, Price(token=100, pair=10, label=1), torch.device("cpu"))
    read = gauge.read([example("a", (1, None))], 1.0, 0.0)
    assert read["mfu"] == pytest.approx(0.2433)
    assert read["hfu"] == pytest.approx((2433 + 810) / 10_000)
