"""A run in a process of its own: python child.py FOLDER SCRIPT, SCRIPT being JSON steps.

    {"words": [...], "from": 0, "to": 5, "probe": true, "wait": true, "more": 7}

With `wait` it stops after `logged` until a line comes in; then it logs on to `more`. It prints how
many seconds the start, the logging after the wait and the finish took.
"""

import json
import logging
import sys
import time
from pathlib import Path

from fullcontext import compose
from fullcontext.records import Answer
from fullcontext.track import Tracker


def answers(task: str = "database", lengths: tuple[int, ...] = (512, 1024)) -> list[Answer]:
    """Ten items a length; the first half of the context is answered, the second is not."""
    return [
        Answer(
            task=task, set=0, position=i, items=10, depth=i / 10 + 0.05, context_tokens=length,
            question="q", gold="g", prediction="p", score=float(i < 5), first_logp=-1.0,
            mean_logp=-1.0, length=length, strict=0.0,
        )
        for length in lengths
        for i in range(10)
    ]  # fmt: skip


def main(folder: Path, script: dict) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder.mkdir(exist_ok=True)
    config = compose.compose_verb("train", ["tracking=wandb", *script.get("words", [])])
    if not (folder / "config.yaml").exists():
        compose.write_yaml(config, folder / "config.yaml")
        (folder / "commit.txt").write_text("abc123\ndirty\ndiff --git a/x b/x\n")
        (folder / "data.json").write_text('{"sources": {}}')
        (folder / "export").mkdir()
        (folder / "export" / "model.safetensors").write_bytes(b"w" * 1000)
    choices = script.get("choices", {"experiments": "demo", "sweeps": "seeds"})
    info = compose.RunInfo(folder, choices, [])
    start = script.get("from", 0)
    began = time.monotonic()
    tracker = Tracker(folder, config, info, name="demo", verb="train", step=start)
    print(f"began {time.monotonic() - began:.2f}", flush=True)
    for step in range(start + 1, script.get("to", 5) + 1):
        tracker.log(step, {"loss": 1 / step, "tokens": 100 * step})
    if script.get("probe"):
        tracker.log(script["to"], {"probe/database/avg": 0.5})
        tracker.curves(script["to"], {"database": answers()}, 5)
        tracker.results()
    print("logged", flush=True)
    if script.get("wait"):
        sys.stdin.readline()
    began = time.monotonic()
    for step in range(script.get("to", 5) + 1, script.get("more", 0) + 1):
        tracker.log(step, {"loss": 1 / step, "tokens": 100 * step})
    print(f"logged more {time.monotonic() - began:.2f}", flush=True)
    began = time.monotonic()
    tracker.finish()
    print(f"finished {time.monotonic() - began:.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
