"""How long ranks wait for each other: python benchmarks/balance.py [RANKS] [EXAMPLES] [DRAWS].

Simulated with the FLOPs of a 7B model: contexts of 4K to 32K tokens, drawn uniformly. Sharded
ranks meet in every micro-batch, so a step takes the sum over micro-batches of the dearest rank's;
ranks that only sum gradients meet once a step. 1 is no waiting. What it does not show: exchanging
weights, kernels whose speed depends on the length, and ranks of unequal speed.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from fullcontext.data.packing import Price, plan
from fullcontext.randomness import rng
from fullcontext.records import Asked, Example

SHORTEST, LONGEST = 4096, 32768
ANSWER = 64
Rounds = list[list[float]]
"""Cost by round and rank."""


def examples(count: int, draw: int) -> list[Example]:
    lengths = rng(0, "balance benchmark", draw).integers(SHORTEST, LONGEST + 1, count)
    answer = np.zeros(ANSWER, np.int32)
    return [
        Example(i, np.zeros(n - ANSWER, np.int32), (Asked(str(i), "x", answer[:0], answer),))
        for i, n in enumerate(lengths.tolist())
    ]


def one_by_one(given: list[Example], ranks: int, ordered: bool) -> Rounds:
    costs = [float(Price().of(example)) for example in given]
    if ordered:
        costs.sort(reverse=True)
    return [costs[at : at + ranks] for at in range(0, len(costs), ranks)]


def planned(given: list[Example], ranks: int, max_tokens: int) -> Rounds:
    by_rank = [
        [float(sum(Price().of(given[i]) for i in micro)) for micro in micros]
        for micros in plan(given, max_tokens, ranks)
    ]
    return [list(together) for together in zip(*by_rank, strict=True)]


def main(ranks: int = 16, count: int = 128, draws: int = 100) -> None:
    """Prints a Markdown table."""
    ways: list[tuple[str, Callable[[list[Example]], Rounds]]] = [
        ("one example a micro-batch, as drawn", lambda given: one_by_one(given, ranks, False)),
        ("one example a micro-batch, sorted", lambda given: one_by_one(given, ranks, True)),
    ]
    for max_tokens in (32768, 36864, 40960, 49152, 65536):
        name = f"planned, max_tokens={max_tokens:,}"
        ways.append((name, lambda given, most=max_tokens: planned(given, ranks, most)))
    say = sys.stdout.write
    say(f"{ranks} ranks, {count} examples of {SHORTEST:,} to {LONGEST:,} tokens, {draws} draws\n\n")
    say("| micro-batches | meet in each: mean | worst | meet once: mean | number | planning |\n")
    say("|---|--:|--:|--:|--:|--:|\n")
    for name, way in ways:
        each, once, number, seconds = [], [], [], []
        for draw in range(draws):
            given = examples(count, draw)
            mean = sum(Price().of(example) for example in given) / ranks
            start = time.process_time()
            rounds = way(given)
            seconds.append(time.process_time() - start)
            each.append(sum(max(together) for together in rounds) / mean)
            once.append(max(sum(by_rank) for by_rank in zip(*rounds, strict=True)) / mean)
            number.append(len(rounds))
        say(
            f"| {name} | {np.mean(each):.3f} | {max(each):.3f} | {np.mean(once):.3f} |"
            f" {np.mean(number):.1f} | {1000 * np.median(seconds):.0f} ms |\n"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
