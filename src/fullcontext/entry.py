"""How a script begins and how it ends when something is wrong: one sentence and an exit status."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

from fullcontext.compose import PLURALS, ConfigError, hint, run_info
from fullcontext.sweeping import refuse_without_optuna


@contextmanager
def errors_for_people() -> Iterator[None]:
    """An error meant for the user is printed as one sentence; the exit status is 2, or 1 where
    the command is right and the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"error: the disk is full{place}; free some space and run it again\n")
        raise SystemExit(1) from None
    except ConfigError as error:
        if error.is_own or os.environ.get("LOCAL_RANK", "0") == "0":
            sys.stderr.write(f"error: {error}\n")
        remove_empty(run_info().output_dir)
        raise SystemExit(2) from None


def remove_empty(folder: Path) -> None:
    """Takes back the folder that Hydra made for a run that did not begin, and empty ones above."""
    with suppress(OSError):
        for each in (folder, *folder.parents[:2]):
            each.rmdir()


def launch(main: Callable[[], Any], first: Callable[[list[str]], None] | None = None) -> None:
    """Starts a verb's Hydra entry point.

    What Hydra would refuse without saying why is refused here: the singular `experiment=x`, and a
    sweep by Optuna where Optuna is not installed. `first` gets the command line before Hydra
    launches anything, and may raise ConfigError.
    """
    refuse_without_optuna(sys.argv[1:])
    for arg in sys.argv[1:]:
        key = arg.split("=")[0].lstrip("+~")
        if key in PLURALS:
            sys.stderr.write(f"error: unknown config key: {key}; {hint(key)}\n")
            raise SystemExit(2)
    try:
        if first is not None:
            first(sys.argv[1:])
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    main()
