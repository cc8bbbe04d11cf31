"""Synthesis throughput against an endpoint that takes a fixed time for every reply.

    python benchmarks/synthesis.py [LATENCY_S] [CONCURRENCY] [QUESTIONS]

The bound is concurrency / latency. Client and server share this machine's cores. What it does not
show: servers whose latency varies or grows with load, and the time that a real model takes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(latency: float, concurrency: int, questions: int) -> None:
    """Prints a Markdown table."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks/endpoint.py"), str(latency)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            usage, wall, cpu = _synthesize(Path(folder), url, concurrency, questions)
    finally:
        server.terminate()
    bound = concurrency / latency
    rate = usage["requests"] / usage["seconds"]
    print("| latency | at once | requests | requests/s | bound | share of bound | client CPU |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    print(
        f"| {latency * 1000:.0f} ms | {concurrency} | {usage['requests']:,} | {rate:.1f} |"
        f" {bound:.1f} | {rate / bound:.1%} | {1000 * cpu / usage['requests']:.2f} ms/request |"
    )
    print(f"\nwhole process, start and cutting included: {wall:.1f} s")


def _synthesize(
    folder: Path, url: str, concurrency: int, questions: int
) -> tuple[dict[str, float], float, float]:
    others = "integration: 0, short_context: 0, instruction: 0"
    words = [
        "corpus=sotu", "data=in2_laptop", "model=tiny",
        f"data.examples={{fine_grained: {questions}, {others}}}",
        f"data.mixture={{fine_grained: 1.0, {others}}}",
        "filters.evidence=off", "filters.duplicates=off", "writer=openai", "writer.model=fixed",
        f"writer.base_url={url}",
        f"writer.concurrency={concurrency}", "data.store=store",
    ]  # fmt: skip
    start, before = time.monotonic(), os.times()
    subprocess.run(
        [sys.executable, str(ROOT / "synthesize.py"), *words], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system
    usage = json.loads((folder / "store" / "usage.json").read_text())["writer"]
    return usage, time.monotonic() - start, cpu - before.children_system


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        float(given[0]) if given else 0.3,
        int(given[1]) if len(given) > 1 else 32,
        int(given[2]) if len(given) > 2 else 3000,
    )
