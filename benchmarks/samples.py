"""16 outputs of a 2K context: one pass over it for all, against a pass for each.

python benchmarks/samples.py [OUTPUTS] [NEW_TOKENS]
"""

import sys
import time

import numpy as np
import torch

from fullcontext import compose
from fullcontext.config import Sampling
from fullcontext.improve.decoding import Draws, Sampler
from fullcontext.model import load

CONTEXT = 2048
GOAL = 5.0


def main(number: int, new_tokens: int) -> None:
    torch.set_num_threads(1)
    config = compose.compose_verb("train", ["model=tiny", "data=key_value"])
    model = load.load(config.model, config.positions).eval()
    prompt = np.random.default_rng(0).integers(3, 32000, CONTEXT).astype(np.int32)
    draws = [Draws(0, "q", i) for i in range(number)]
    sampler = Sampler(model, frozenset(), Sampling(max_new_tokens=new_tokens), number)
    sampler.outputs(prompt, draws[:1])  # warm
    started = time.process_time()
    together, _ = sampler.outputs(prompt, draws)
    shared = time.process_time() - started
    started = time.process_time()
    apart = [sampler.outputs(prompt, [draw])[0][0] for draw in draws]
    separate = time.process_time() - started
    same = sum(a.tokens == b.tokens for a, b in zip(together, apart, strict=True))
    print(
        f"{number} outputs of {new_tokens} tokens after {CONTEXT}: {shared:.2f} CPU s together,"
        f" {separate:.2f} apart: {separate / shared:.1f}x (goal {GOAL:g}x); {same} outputs equal"
    )


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], 16, 32][:2]))
