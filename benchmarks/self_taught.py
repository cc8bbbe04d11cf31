"""What a tiny model gains from its own answers, no gold: make self-taught.

For each seed a model that answers half to seven tenths of its questions rightly (experiments=
self_taught_start) answers 2,048 new ones sixteen times. It is then trained on answers that are
chosen at random, by minimum Bayes risk (SFT, ORPO), or, as an upper bound, by the gold answer.
Measured are its greedy answers to 1,536 probe questions, and 16 drawn answers to each of 512 more.
What is finished is not done again.
"""

import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("outputs/self_taught")
SEEDS = (0, 1, 2)
STUDENT = 4.303
"""97.5 % point of Student's law with the two degrees of freedom of three seeds."""
ARMS = {
    "random, SFT": ("random", "sft"),
    "MBR, SFT": ("mbr", "sft"),
    "MBR, ORPO": ("mbr", "orpo"),
    "oracle, SFT": ("oracle", "sft"),
}


def call(script: str, *words: str) -> None:
    """Runs a verb; what it prints goes to a log."""
    with (OUT / "log.txt").open("a") as log:
        command = [sys.executable, str(ROOT / script), *words, "tracking=none"]
        subprocess.run(command, check=True, stdout=log, stderr=log)


def is_finished(folder: Path) -> bool:
    """Whether train.py has ended there."""
    path = folder / "status.json"
    return path.exists() and json.loads(path.read_text())["state"] == "finished"


def pairs(folder: Path) -> dict[str, Any]:
    """What is said of the pairs of a round."""
    found: dict[str, Any] = json.loads((folder / "round_1/pairs/manifest.json").read_text())
    return found


def started(seed: int) -> Path:
    """The model of a seed that the arms start from."""
    base, start = Path(f"outputs/train/miniature_base/seed{seed}"), OUT / f"start/seed{seed}"
    if not is_finished(base):
        call("train.py", "experiments=miniature_base", "probe=none", f"seed={seed}")
    if not is_finished(start):
        call("train.py", "experiments=self_taught_start", f"seed={seed}", f"hydra.run.dir={start}")
    return start


def sampled(seed: int, selector: str, start: Path) -> Path:
    """Pairs by a selector; all of a seed's share one sampling."""
    name = f"{selector}{seed}"
    words = ["experiments=self_taught_samples", f"seed={100 + seed}", f"run={start}"]
    words += [f"output={OUT / 'pairs'}", f"name={name}", f"selector={selector}"]
    if selector != "mbr":
        words.append(f"samples={OUT / 'pairs' / f'mbr{seed}' / 'round_1'}")
    call("improve.py", *words)
    return OUT / "pairs" / name


def trained(seed: int, given: Path, objective: str, start: Path) -> Path:
    """An arm."""
    folder = OUT / f"arms/{given.name}_{objective}"
    if not is_finished(folder):
        number = pairs(given)["pairs"]
        words = [f"data.pairs={given / 'round_1/pairs'}", f"data.examples.pair={number}"]
        words += [f"init={start}", f"objective={objective}", f"seed={seed}"]
        call("train.py", "experiments=self_taught", *words, f"hydra.run.dir={folder}")
    return folder


def measured(seed: int, run: Path) -> dict[str, float]:
    """Shares of right answers: greedy, and drawn at temperature 1."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    greedy = [line["probe/key_value/avg"] for line in lines if "probe/key_value/avg" in line][-1]
    name = f"{run.parent.name}_{run.name}"
    words = ["experiments=self_taught_samples", f"seed={200 + seed}", "prompts.number=512"]
    call("improve.py", *words, f"run={run}", f"output={OUT / 'measured'}", f"name={name}")
    return {"greedy": greedy, "drawn": pairs(OUT / "measured" / name)["right"]["random"]}


def row(name: str, key: str, found: list[dict[str, float]], before: list[dict[str, float]]) -> str:
    """A line of the table: each seed, the mean, and the mean change with its interval."""
    values = [each[key] for each in found]
    gains = [each[key] - was[key] for each, was in zip(found, before, strict=True)]
    mean = sum(gains) / len(gains)
    spread = math.sqrt(sum((g - mean) ** 2 for g in gains) / (len(gains) - 1))
    half = STUDENT * spread / math.sqrt(len(gains))
    shown = ", ".join(f"{value:.3f}" for value in values)
    change = "" if found is before else f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
    return f"| {name} | {key} | {shown} | {sum(values) / len(values):.3f} | {change} |"


def main() -> None:
    """Runs what is missing and prints the tables."""
    OUT.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    found: dict[str, list[dict[str, float]]] = {"before": [], **{name: [] for name in ARMS}}
    labels = []
    for seed in SEEDS:
        start = started(seed)
        chosen = {
            selector: sampled(seed, selector, start) for selector in ("mbr", "random", "oracle")
        }
        labels.append({selector: pairs(each)["right"] for selector, each in chosen.items()})
        found["before"].append(measured(seed, start))
        for name, (selector, objective) in ARMS.items():
            found[name].append(measured(seed, trained(seed, chosen[selector], objective, start)))
    print("| arm | answers | seeds 0, 1, 2 | mean | change, 95 % |\n|---|---|---|---|---|")
    for key in ("greedy", "drawn"):
        for name, each in found.items():
            print(row(name, key, each, found["before"]))
    print("\n| seed | greedy right | drawn right | of pairs: drawn | MBR | oracle |")
    print("|---|---|---|---|---|---|")
    for seed, each in zip(SEEDS, labels, strict=True):
        right = each["mbr"]
        shown = (right["greedy"], right["random"], right["random_of_pairs"], right["chosen"])
        cells = " | ".join(f"{value:.3f}" for value in (*shown, each["oracle"]["chosen"]))
        print(f"| {seed} | {cells} |")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (used.ru_utime + used.ru_stime) / 60
    print(f"\n{minutes:.1f} CPU minutes, {(time.monotonic() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
