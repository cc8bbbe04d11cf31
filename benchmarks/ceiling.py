"""FLOP/s of a training step against a measured ceiling of matrix products, in the same process.

    python benchmarks/ceiling.py [TOKENS] [STEPS]

The model has the shape of SmolLM2-135M and random weights; a step is forward and backward over one
row with an answer of 60 tokens. Matrix products of 4,096 by 4,096 run before and after every step,
and the ceiling is the median of both. FLOPs are counted causally (train/flops.py). What it does not
show: more than one core, GPUs, the optimizer, and other shapes than this narrow one.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import subject

ANSWER, SIDE = 60, 4096
SMOLLM2 = {
    "hidden_size": 576, "intermediate_size": 1536, "num_layers": 30, "num_heads": 9,
    "num_kv_heads": 3, "head_dim": 64, "vocab_size": 49152, "max_positions": 8192,
    "tie_embeddings": True,
}  # fmt: skip


def side(precision: str, tokens: int, steps: int) -> dict[str, list[float]]:
    """FLOP/s of steps and of matrix products."""
    import torch

    from fullcontext.data.packing import pack
    from fullcontext.train import flops

    sizes = [
        f"model.architecture.{name}={value}".replace("True", "true")
        for name, value in SMOLLM2.items()
    ]
    loop = subject.loop(subject.config(*sizes, f"precision={precision}"))
    example = subject.example(tokens - subject.PROMPT - ANSWER, 1, 0, ANSWER)
    batch = loop.objective.batch(pack([example]), loop.device, None)
    done = flops.work([example], loop.price)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    rates: dict[str, list[float]] = {"matmul": [], "step": []}
    for turn in range(steps + 1):
        for name, work, run in (
            ("matmul", 2 * SIDE**3, lambda: a @ b),
            ("step", done.causal, lambda: loop._backward(batch, float(ANSWER), 1.0)),
            ("matmul", 2 * SIDE**3, lambda: a @ b),
        ):
            start = time.process_time()
            run()
            if turn:
                rates[name].append(work / (time.process_time() - start))
        loop.optimizer.zero_grad(set_to_none=True)
    return rates


def main(tokens: int = 2048, steps: int = 3) -> None:
    """Prints a Markdown table."""
    script, say = str(Path(__file__).resolve()), sys.stdout.write
    say(f"{tokens:,} tokens; {subject.machine()}\n\n")
    say("| precision | matrix products | step | share of the ceiling |\n|---|--:|--:|--:|\n")
    for precision in ("fp32", "bf16"):
        rates = subject.run_side(script, precision, str(tokens), str(steps))
        ceiling, step = (statistics.median(rates[name]) / 1e9 for name in ("matmul", "step"))
        say(
            f"| {precision} | {ceiling:,.0f} GFLOP/s | {step:,.0f} GFLOP/s |"
            f" {step / ceiling:.2f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        subject.confine()
        json.dump(side(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])), sys.stdout)
    else:
        main(*map(int, sys.argv[1:]))
