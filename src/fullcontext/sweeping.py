"""What a sweep needs beyond Hydra."""

import sys
from collections.abc import Iterable
from importlib.util import find_spec


def refuse_without_optuna(words: Iterable[str]) -> None:
    """Exits with status 2 where words choose Optuna, which is not installed: Hydra would say only
    that there is no such group."""
    for word in words:
        chosen = word.lstrip("+").startswith(("sweeps=optuna", "hydra/sweeper=optuna"))
        if chosen and find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
            sys.stderr.write(
                f"error: {word} needs the package hydra-optuna-sweeper, which is not installed;"
                " pip install 'fullcontext[optuna]', or choose a grid"
                " (sweeps=learning_rate_batch_size)\n"
            )
            raise SystemExit(2)
