"""Draws depend on seed, purpose and index, and on nothing else."""

import subprocess
import sys

from fullcontext.randomness import rng, torch_seed


def test_equal_arguments_give_equal_draws_in_any_process() -> None:
    here = rng(3, "test", 1, 2).integers(1 << 40)
    code = "from fullcontext.randomness import rng; print(rng(3, 'test', 1, 2).integers(1 << 40))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(there.stdout) == here


def test_each_argument_matters() -> None:
    draws = {
        int(generator.integers(1 << 60))
        for generator in (
            rng(0, "a", 0),
            rng(1, "a", 0),
            rng(0, "b", 0),
            rng(0, "a", 1),
            rng(0, "a"),
        )
    }
    assert len(draws) == 5
    assert torch_seed(0, "a") != torch_seed(0, "b") and torch_seed(0, "a") < 2**63
