"""Seconds from `train.py resume=RUN` to the first new step, at step 10 and at step 10,000.

    python benchmarks/resume.py [--repeats 5] [--store]

Ten steps are trained, then the run is killed. A copy of its folder is made to look as if it had
done 10,000: the checkpoint's name and counters are changed (and hashed anew), and metrics.jsonl
gets a line for every step. Both are resumed in turn, until a line of the next step is there;
copies of the folder, a process each, medians. The goal is equal times: the place in the data is
computed from the step, nothing is read through or replayed.

With --store the data are questions on segments of real text (makes a store first, minutes);
without, keys and values. What it does not show: large models, whose weights take most of the time
at any step.
"""

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fullcontext.compose import ROOT
from fullcontext.store import digest

FEW, MANY = 10, 10_000
COMMON = [
    "sharding=none", "tracking=none", "probe=none", "precision=fp32", "threads=1",
    "batch_size=8", "max_steps=20000", f"checkpoint.every_steps={FEW}",
]  # fmt: skip
KEYS = ["data=key_value_symbols", "model=symbols"]
STORE = ["corpus=sotu", "data=in2_laptop", "model=tiny"]


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """train.py in the folder above."""
    command = [sys.executable, str(ROOT / "train.py"), *words]
    with (folder.parent / "out.txt").open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, cwd=folder.parent)


def killed_when(process: subprocess.Popen[bytes], done: object) -> None:
    """Kills it when `done()` is true."""
    while not done():
        if process.poll() is not None:
            sys.exit("train.py ended by itself; look at what it says")
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def few_steps(folder: Path, words: list[str]) -> None:
    """A run that was killed after its first checkpoint."""
    process = started(folder, *words, *COMMON, f"hydra.run.dir={folder}")
    killed_when(process, (folder / "checkpoints" / f"step_{FEW:06d}").exists)


def made_old(few: Path, many: Path) -> None:
    """A copy of the run that claims to have done MANY steps."""
    shutil.copytree(few, many)
    checkpoint = many / "checkpoints" / f"step_{MANY:06d}"
    (many / "checkpoints" / f"step_{FEW:06d}").rename(checkpoint)
    extra = json.loads((checkpoint / "extra.json").read_text())
    extra["step"] = extra["progress"]["step"] = MANY
    for counter in ("tokens", "supervised_tokens", "examples", "seconds"):
        extra["progress"][counter] *= MANY // FEW
    (checkpoint / "extra.json").write_text(json.dumps(extra))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"]["extra.json"] = digest(checkpoint / "extra.json")
    (checkpoint / "manifest.json").write_text(json.dumps(manifest | {"step": MANY}))
    line = json.loads((few / "metrics.jsonl").read_text().splitlines()[0])
    lines = (json.dumps(line | {"step": step}) + "\n" for step in range(1, MANY + 1))
    (many / "metrics.jsonl").write_text("".join(lines))


def last_step(folder: Path) -> int:
    """Of metrics.jsonl."""
    with (folder / "metrics.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 4096))
        lines = [line for line in file.read().split(b"\n")[1:] if line.endswith(b"}")]
    return int(json.loads(lines[-1])["step"]) if lines else -1


def seconds(run: Path, step: int) -> float:
    """From the start of the process to the first step after the checkpoint."""
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    metrics = copy / "metrics.jsonl"
    kept = [x for x in metrics.read_text().splitlines(True) if json.loads(x)["step"] <= step]
    metrics.write_text("".join(kept))
    start = time.perf_counter()
    process = started(copy, f"resume={copy}")
    killed_when(process, lambda: last_step(copy) > step)
    taken = time.perf_counter() - start
    shutil.rmtree(copy)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--store", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        few, many = Path(place) / "few", Path(place) / "many"
        if given.store:
            command = [sys.executable, str(ROOT / "synthesize.py"), *STORE]
            subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
        few_steps(few, STORE if given.store else KEYS)
        made_old(few, many)
        taken: dict[int, list[float]] = {FEW: [], MANY: []}
        for _ in range(given.repeats):
            for run, step in ((few, FEW), (many, MANY)):
                taken[step].append(seconds(run, step))
    say = sys.stdout.write
    say("| resumed at step | median | fastest | slowest |\n|--:|--:|--:|--:|\n")
    for step, times in taken.items():
        median = statistics.median(times)
        say(f"| {step:,} | {median:.2f} s | {min(times):.2f} s | {max(times):.2f} s |\n")
    ratio = statistics.median(taken[MANY]) / statistics.median(taken[FEW])
    say(f"\nratio of the medians: {ratio:.3f}\n")


if __name__ == "__main__":
    main()
