"""What a step cannot do is said with the setting to change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fullcontext.compose import ConfigError
from fullcontext.train import faults
from tests.objective.test_sft import example


def test_a_question_beyond_the_models_positions_is_refused_by_number() -> None:
    """Questions of one context start where it ends: the second needs 20 + 4 + 5, not all 34."""
    given = example(1, 20, (3, 2), (4, 5))
    faults.refuse([given], 29)
    with pytest.raises(ConfigError, match=r"question 1 of example 0 needs 29 positions.* has 28"):
        faults.refuse([given], 28)


@pytest.mark.parametrize("weights", [None, np.zeros(2, np.float32)])
def test_a_question_without_a_supervised_token_is_refused(weights) -> None:
    given = example(1, 20, (3, 2))
    (asked,) = given.asked
    answer = asked.answer if weights is not None else asked.answer[:0]
    given = replace(given, asked=(replace(asked, answer=answer, weights=weights),))
    with pytest.raises(ConfigError, match="no supervised token, so that its loss would be 0 / 0"):
        faults.refuse([given], 100)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_names_settings_and_the_estimate(train_config, error: Exception) -> None:
    said = faults.explained(error, train_config("experiments=demo"), 4096)
    assert isinstance(said, faults.OutOfMemory) and said.is_own
    for word in ("4,096 tokens", "GiB a process", "max_tokens=", "checkpointing=full", "init="):
        assert word in str(said)


def test_other_errors_stay_what_they_are(train_config) -> None:
    error = RuntimeError("shapes cannot be multiplied")
    assert faults.explained(error, train_config("experiments=demo"), 1) is error
