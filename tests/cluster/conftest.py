"""One cluster, and one undisturbed run, for all tests of survival."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A real SLURM; the tests are skipped, saying why, where it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="fullcontext-slurm-") as folder:
        made = Lab(Path(folder))
        if wrong := made.up():
            pytest.skip(f"no SLURM here, and none can be installed: {wrong.strip()[-300:]}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", made.settings["SLURM_CONF"])
            yield made
        made.down()
