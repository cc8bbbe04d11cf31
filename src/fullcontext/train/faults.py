"""What a step cannot do, said with its remedy."""

from collections.abc import Sequence

import torch

from fullcontext.compose import ConfigError
from fullcontext.config import TrainConfig
from fullcontext.records import Example
from fullcontext.train import preflight


class OutOfMemory(ConfigError):
    """One rank's, whatever the others say."""

    is_own = True


def refuse(examples: Sequence[Example], positions: int) -> None:
    """Raises ConfigError for a question without a supervised token or beyond the positions."""
    for example in examples:
        for asked in example.asked:
            tokens = len(example.context) + len(asked.prompt) + len(asked.answer)
            alone = asked.preferred is None  # a rejected answer weighs nothing by itself
            weightless = alone and asked.weights is not None and not asked.weights.any()
            if not len(asked.answer) or weightless:
                raise ConfigError(
                    f"question {asked.id} of example {example.index} has no supervised token, so"
                    " that its loss would be 0 / 0; give every question an answer"
                )
            if tokens > positions:
                raise ConfigError(
                    f"question {asked.id} of example {example.index} needs {tokens} positions, the"
                    f" model has {positions} (max_position_embeddings); lower data.context_range"
                    " or choose a model with more positions"
                )


def explained(error: Exception, config: TrainConfig, tokens: int) -> Exception:
    """OutOfMemory with the settings to change if memory ran out in a micro-batch; else `error`."""
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not is_memory and "can't allocate memory" not in str(error):
        return error
    needed = preflight.needed_bytes(config) / preflight.GIB
    said = (str(error).splitlines() or ["no detail"])[0]
    return OutOfMemory(
        f"memory ran out in a micro-batch of {tokens:,} tokens ({said}); these settings were"
        f" estimated to need {needed:.1f} GiB a process. Lower max_tokens={config.max_tokens},"
        f" set checkpointing=full (it is {config.checkpointing.value}), or raise"
        f" sharding.context_parallel={config.sharding.context_parallel}; start with them from the"
        " weights there are: init=FOLDER"
    )
