"""Memory of a step on one row of 16,384 tokens, against scoring every position.

    python benchmarks/memory_logits.py [TOKENS] [REPEATS]

Both sides run forward and backward of the same 19M-parameter model in fp32 over a context with one
answer of 64 tokens, with and without activation checkpointing: ours (block attention, the head at
labelled positions alone) and transformers' own (`model(ids, labels=labels)`, sdpa). Step memory is
the most resident in the step, less what was resident before it; gradients are among it, AdamW is
not.

What it does not show: GPUs and their allocator. The vocabulary is 125 times as wide as the model
(7.8 times in Mistral 7B), which makes the logits weigh more than they would there.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import subject

ANSWER = 64


def ours(tokens: int, checkpointing: bool) -> dict[str, float]:
    from fullcontext.config import Normalise
    from fullcontext.data.packing import pack
    from fullcontext.objective import sft

    config = subject.config(f"checkpointing={'full' if checkpointing else 'none'}")
    model = subject.loop(config).model
    example = subject.example(tokens - subject.PROMPT - ANSWER, 1, 0, ANSWER)
    batch = sft.batch(pack([example]), Normalise.token)
    return _measured(lambda: sft.loss(model, batch).total / ANSWER)


def plain(tokens: int, checkpointing: bool) -> dict[str, float]:
    import torch
    from transformers import MistralForCausalLM

    from fullcontext.model.load import mistral_config

    torch.set_num_threads(1)
    model = MistralForCausalLM(mistral_config(subject.config().model.architecture)).float().train()
    model.config.use_cache = False
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    example = subject.example(tokens - subject.PROMPT - ANSWER, 1, 0, ANSWER)
    (asked,) = example.asked
    given = np.concatenate([example.context, asked.prompt, asked.answer]).astype(np.int64)
    ids = torch.from_numpy(given)[None]
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    return _measured(lambda: model(input_ids=ids, labels=labels).loss)


def _measured(loss):
    before, start = subject.resident()[0], time.process_time()
    found = loss()
    found.backward()
    return {
        "memory": subject.resident()[1] - before,
        "seconds": time.process_time() - start,
        "loss": float(found.detach()),
    }


def main(tokens: int = 16384, repeats: int = 3) -> None:
    """Prints a Markdown table."""
    script, say = str(Path(__file__).resolve()), sys.stdout.write
    say(f"{tokens:,} tokens; {subject.machine()}\n\n")
    say("| side | activation checkpointing | step memory | CPU-s | of transformers' memory |\n")
    say("|---|---|--:|--:|--:|\n")
    for checkpointing in ("no", "yes"):
        memory = {}
        for side in ("transformers", "ours"):
            words = (side, str(tokens), checkpointing)
            found = [subject.run_side(script, *words) for _ in range(repeats)]
            memory[side] = statistics.median(each["memory"] for each in found)
            seconds = statistics.median(each["seconds"] for each in found)
            share = memory[side] / memory["transformers"]
            say(
                f"| {side} | {checkpointing} | {memory[side]:,.0f} MB | {seconds:.1f} |"
                f" {share:.2f} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        subject.confine()
        side = ours if sys.argv[2] == "ours" else plain
        json.dump(side(int(sys.argv[3]), sys.argv[4] == "yes"), sys.stdout)
    else:
        main(*map(int, sys.argv[1:]))
