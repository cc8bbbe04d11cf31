"""A tiny model learns dictionaries by heart: make lift.

For each seed a model that looks up keys in up to 544 tokens (experiments=lift_start, lift_base)
adapts to a dictionary of 512 tokens, by gated memory and by LoRA. It is asked closed-book before
and after, about items that auxiliary questions told it and others; three other dictionaries are
asked in context. What is finished is not done again, so that a second call costs seconds.
"""

import json
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("outputs/lift")
SEEDS = (0, 1, 2)
STUDENT = 4.303
"""97.5 % point of Student's law with the two degrees of freedom of three seeds."""
LORA = ["adapter=lora", "adapter.rank=16", "adapter.alpha=16"]
ARMS = {
    "gated memory": [],
    "LoRA": LORA,
    "gated memory, no rehearsal": ["rehearsal.examples=0"],
    "gated memory, half of the items told": ["documents.told=0.5"],
}


def call(script: str, *words: str) -> float:
    """Runs a verb; what it prints goes to a log. The CPU-seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (OUT / "log.txt").open("a") as log:
        command = [sys.executable, str(ROOT / script), *words, "tracking=none"]
        subprocess.run(command, check=True, stdout=log, stderr=log)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(seed: int) -> float:
    """The model of a seed, made where it is not there; CPU-seconds."""
    spent = 0.0
    for name in ("lift_start", "lift_base"):
        status = Path(f"outputs/train/{name}/seed{seed}/status.json")
        if not (status.exists() and json.loads(status.read_text())["state"] == "finished"):
            spent += call("train.py", f"experiments={name}", f"seed={seed}")
    return spent


def adapted(seed: int, arm: str) -> dict[str, Any]:
    """The results of an arm."""
    name = f"{arm.replace(',', '').replace(' ', '_').lower()}_{seed}"
    folder = OUT / name
    if not (folder / "results.json").exists():
        words = ["experiments=lift_symbols", f"seed={seed}", f"output={OUT}", f"name={name}"]
        call("adapt.py", *words, *ARMS[arm])
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def score(found: dict[str, Any], mode: str, adapted: bool, kind: str = "all") -> float:
    """Mean exact match."""
    for row in found["scores"]:
        if (row["mode"], row["adapted"], row["kind"]) == (mode, adapted, kind):
            return float(row["scores"]["exact"]["mean"])
    return math.nan


def interval(values: list[float]) -> str:
    """Mean and 95 % interval over seeds."""
    mean = sum(values) / len(values)
    if any(map(math.isnan, values)):
        return ""
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    half = STUDENT * spread / math.sqrt(len(values))
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def main() -> None:
    """Runs what is missing and prints the table."""
    OUT.mkdir(parents=True, exist_ok=True)
    spent = sum(trained(seed) for seed in SEEDS)
    print(f"models to adapt: {spent / 60:.1f} CPU minutes\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("| adapter | closed book, told: before | after | untold: before | after |", end="")
    print(" others lose | CPU-s a document | pays from |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    for arm in ARMS:
        found = [adapted(seed, arm) for seed in SEEDS]
        closed = [
            [score(f, "closed_book", after, kind) for f in found]
            for kind in ("told", "untold")
            for after in (False, True)
        ]
        cells = [interval(each) for each in closed]
        cells.append(interval([f["drop_on_others"] for f in found]))
        costs = [f["costs"] for f in found]
        cells.append(f"{sum(c['training_cpu_s'] / c['documents'] for c in costs) / len(costs):.1f}")
        paying = [c["crossover_alone"] for c in costs]
        cells.append(
            "never"
            if None in paying
            else " to ".join(f"{n:,.0f}" for n in (min(paying), max(paying)))
        )
        print(f"| {arm} | {' | '.join(cells)} |")
    others = [score(f, "others", False) for f in found]
    print(f"\nothers in context before: {interval(others)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"adapting and answering: {used / 60:.1f} CPU minutes")


if __name__ == "__main__":
    main()
