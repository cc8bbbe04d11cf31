"""Small run folders, written as train.py and probe.py write them."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fullcontext.records import Answer

Curve = Callable[[float], float]


def answer(**changes: Any) -> Answer:
    """One answer, right unless told otherwise."""
    given: dict[str, Any] = {
        "task": "document",
        "set": 0,
        "position": 0,
        "items": 10,
        "depth": 0.0,
        "context_tokens": 512,
        "question": "Who?",
        "gold": "Ada",
        "prediction": "Ada",
        "score": 1.0,
        "first_logp": -0.1,
        "mean_logp": -0.2,
    }
    return Answer(**(given | changes))


def answers(curve: Curve, sets: int = 4, items: int = 10, task: str = "document") -> list[Answer]:
    """Every position of every set, scored by a function of the depth position / items."""
    return [
        answer(
            task=task,
            set=one,
            position=position,
            items=items,
            depth=position / items,
            score=curve(position / items),
            mean_logp=curve(position / items) - 1,
        )
        for one in range(sets)
        for position in range(items)
    ]


def write_answers(folder: Path, step: int, given: list[Answer]) -> Path:
    """answers/<task>_step<6 digits>.jsonl of a run folder."""
    path = folder / "answers" / f"{given[0].task}_step{step:06d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in given))
    return path


def write_run(folder: Path, steps: int = 4, **status: Any) -> Path:
    """A finished training run without answers."""
    folder.mkdir(parents=True)
    given = {"verb": "train", "name": folder.name, "id": "1", "state": "finished"}
    given |= {"step": steps, "steps": steps, "error": None, "seconds": 8.0}
    (folder / "status.json").write_text(json.dumps(given | status))
    (folder / "config.yaml").write_text("seed: 0\nprobe: {bins: 5}\nclaim: null\n")
    lines = [
        {
            "step": step,
            "tokens": 100 * step,
            "supervised_tokens": 10 * step,
            "examples": 2 * step,
            "seconds": 2.0 * step,
            "loss": 5.0 - step,
            "lr": 0.001,
            "grad_norm": 1.0,
            "tokens_per_s": 50.0,
            "supervised_per_s": 5.0,
            "loss/fine_grained": 5.0 - step,
        }
        for step in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def u_shape(depth: float) -> float:
    return 1.0 if depth < 0.2 or depth >= 0.8 else 0.5
