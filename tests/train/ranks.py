"""Real ranks for tests: processes that import torch once and then run functions of test modules.

A function gets a process group of as many ranks as asked for, over gloo and a file.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path

from fullcontext.compose import ROOT

PATIENCE_S = 30
"""Of a collective whose peer does not come."""


class Ranks:
    """A pool that grows to the largest number of ranks asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._calls = folder, 0
        self._processes: list[subprocess.Popen[str]] = []

    def run(self, module: str, function: str, size: int, folder: Path, *words: str) -> None:
        """Calls `function(folder, *words)` on `size` ranks; fails if it fails on one of them."""
        while len(self._processes) < size:
            self._processes.append(self._started())
        self._calls += 1
        meeting = str(self._folder / f"meeting{self._calls}")
        called = self._processes[:size]
        for rank, process in enumerate(called):
            call = [module, function, str(folder), *words]
            assert process.stdin is not None
            process.stdin.write(json.dumps([meeting, rank, size, call]) + "\n")
            process.stdin.flush()
        faults = [json.loads(process.stdout.readline()) for process in called if process.stdout]
        assert not any(faults), "\n".join(
            f"rank {rank}: {fault}" for rank, fault in enumerate(faults) if fault
        )

    def _started(self) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        return subprocess.Popen(
            [sys.executable, "-m", __name__], text=True, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )  # fmt: skip

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()
            process.communicate()


def answer(meeting: str, rank: int, size: int, call: list[str]) -> str | None:
    """What went wrong, or None."""
    import torch.distributed as dist

    module, function, folder, *words = call
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=size,
            timeout=timedelta(seconds=PATIENCE_S),
        )  # fmt: skip
        getattr(importlib.import_module(module), function)(Path(folder), *words)
        dist.barrier()
    except BaseException:
        return traceback.format_exc()
    finally:
        dist.destroy_process_group()
    return None


def main() -> None:
    """One of the processes: a call a line, an answer a line."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(*json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
