"""How long report.py takes for a sweep: python benchmarks/report.py [VALUES] [SEEDS].

A run has 60 answers on each of 3 tasks at 2 steps, and 200 lines of metrics. One process, one
thread; CPU seconds tell more than the clock on a machine that others use.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path

TASKS, STEPS, CONTEXTS, ITEMS, LINES = ("document", "code", "database"), (0, 200), 6, 10, 200


def write(folder: Path, value: int, seed: int, rng: random.Random) -> None:
    """A run folder of a made-up training with data.segment_size = value."""
    (folder / "answers").mkdir(parents=True)
    config = f"seed: {seed}\nname: sweep\ndata: {{segment_size: {value}}}\nprobe: {{bins: 5}}\n"
    (folder / "config.yaml").write_text(config)
    status = {"verb": "train", "name": "sweep", "state": "finished", "step": LINES, "steps": LINES}
    (folder / "status.json").write_text(json.dumps({**status, "seconds": 900.0}))
    lines = [
        {
            "step": step,
            "tokens": 4000 * step,
            "seconds": 4.5 * step,
            "loss": 7 - 3 * step / LINES + rng.gauss(0, 0.1),
            "lr": 1e-3,
            "grad_norm": 1 + rng.random(),
            "tokens_per_s": 900.0,
            "loss/fine_grained": 7 - 3 * step / LINES,
        }
        for step in range(1, LINES + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for task in TASKS:
        for step in STEPS:
            rows = [answer(task, one, at, rng) for one in range(CONTEXTS) for at in range(ITEMS)]
            path = folder / "answers" / f"{task}_step{step:06d}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def answer(task: str, one: int, at: int, rng: random.Random) -> dict[str, object]:
    """A row whose chance of being right is a U over the depth."""
    depth = at / ITEMS
    score = float(rng.random() < 0.3 + 2 * (depth - 0.5) ** 2)
    given = {"task": task, "set": one, "position": at, "items": ITEMS, "depth": depth}
    texts = {"question": f"Question {one}, {at}?", "gold": "Ada", "prediction": "Ada Lovelace"}
    numbers = {"context_tokens": 1000, "length": 1024, "window": 8192, "mean_logp": score - 2}
    return {**given, **texts, **numbers, "score": score, "strict": score, "first_logp": -1.0}


def main(values: int, seeds: int) -> None:
    """Writes the sweep, reports it, prints the seconds."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for value in range(values):
            for seed in range(seeds):
                write(folder / "sweep" / f"{value:03d}_{seed:03d}", 32 + value, seed, rng)
        clock, cpu = time.monotonic(), time.process_time()
        from fullcontext.compose import RunInfo
        from fullcontext.config.verbs import ReportConfig
        from fullcontext.report.run import run

        page = run(ReportConfig(runs=[str(folder / "sweep")]), RunInfo(folder / "out", {}, []))
        clock, cpu = time.monotonic() - clock, time.process_time() - cpu
        print(
            f"{values * seeds} runs in {values} groups: {clock:.1f} s, {cpu:.1f} s of CPU,"
            f" imports included; page {page.stat().st_size / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:3]]
    main(*(given or (8, 25)))
