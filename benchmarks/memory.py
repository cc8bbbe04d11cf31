"""Peak memory of synthesize.py on a small and a large corpus: python benchmarks/memory.py 10 1000.

Makes JSON lines of so many megabytes out of clauses of presidents' messages, joined anew so that
hardly a sentence occurs twice; runs `synthesize.py corpus=files` with the template writer on each,
in a process of its own; prints a Markdown table and the ratio. The goal is a ratio of at most 1.2.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fullcontext.compose import ROOT
from fullcontext.config import SotuCorpus
from fullcontext.data import corpus, sentences
from fullcontext.randomness import rng

GOAL = 1.2
PARAGRAPHS, SENTENCES = 4, 4
"""Of a document: some 650 tokens, as in the paper's corpus."""
ASK_ALL = 10**9


def clauses() -> tuple[list[str], list[str]]:
    """Beginnings and ends of real sentences; any beginning and any end make a sentence."""
    heads: list[str] = []
    tails: list[str] = []
    for message in corpus.read(SotuCorpus(), 0, Counter()):
        for line in message.text.splitlines():
            for sentence in sentences.split(line):
                head, comma, tail = sentence.partition(", ")
                if comma and sentences.is_plain(sentence) and 4 <= len(head.split()) <= 18:
                    heads.append(head)
                    tails.append(tail)
    return heads, tails


def documents(seed: int) -> Iterator[str]:
    """Texts without end."""
    heads, tails = clauses()
    index = 0
    while True:
        draw = rng(seed, "memory benchmark", index)
        shape = (PARAGRAPHS, SENTENCES)
        starts, ends = draw.integers(len(heads), size=shape), draw.integers(len(tails), size=shape)
        yield "\n\n".join(
            " ".join(f"{heads[a]}, {tails[b]}" for a, b in zip(first, second, strict=True))
            for first, second in zip(starts, ends, strict=True)
        )
        index += 1


def write(file: Path, megabytes: int) -> int:
    """Writes so much text; returns the number of documents."""
    size = count = 0
    with file.open("w", encoding="utf-8") as lines:
        for text in documents(0):
            size += lines.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            count += 1
            if size >= megabytes * 1_000_000:
                return count
    raise AssertionError("documents() does not end")


def measure(file: Path, store: Path, overrides: list[str]) -> tuple[float, float]:
    """Peak resident megabytes and seconds of one synthesize.py."""
    kinds = ("fine_grained", "integration", "short_context", "instruction")
    command = [
        sys.executable,
        str(ROOT / "synthesize.py"),
        "corpus=files",
        f"corpus.path={file}",
        "data=in2_laptop",
        "model=tiny",
        f"data.store={store}",
        *(f"data.examples.{kind}={ASK_ALL}" for kind in kinds),
        *overrides,
    ]
    start = time.monotonic()
    with (store.parent / "out.txt").open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"synthesize.py failed: {(store.parent / 'out.txt').read_text()[-2000:]}")
    return usage.ru_maxrss / 1024, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("megabytes", nargs="*", type=int, default=[10, 1000])
    parser.add_argument("--override", action="append", default=[], help="for synthesize.py")
    given = parser.parse_args()
    say = sys.stdout.write
    say("| corpus | documents | peak memory | time |\n|--:|--:|--:|--:|\n")
    peaks = []
    for megabytes in given.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "corpus.jsonl"
            count = write(file, megabytes)
            peak, seconds = measure(file, Path(folder) / "store", given.override)
        peaks.append(peak)
        say(f"| {megabytes:,} MB | {count:,} | {peak:,.0f} MB | {seconds:,.0f} s |\n")
        sys.stdout.flush()
    ratio = peaks[-1] / peaks[0]
    verdict = "as wanted" if ratio <= GOAL else "more than wanted"
    say(f"\nThe last takes {ratio:.2f} times the memory of the first: {verdict} ({GOAL}).\n")


if __name__ == "__main__":
    main()
