"""CPU seconds and memory of a supervised answer, ours and TRL's, on contexts of 4,096 tokens.

    python benchmarks/answers.py [STEPS] [--trl PYTHON]

Ours asks k = 1, 4, 8 and 16 questions a context; a step is forward, backward and AdamW over 16
answers. TRL's SFTTrainer has rows of one context and one question, as k = 1 has, 4 a step. PYTHON
is an interpreter that has trl 1.16 (`pip install trl==1.16.0`, in an environment of its own).

What it does not show: GPUs. Without Triton, TRL scores every position on purpose, in tiles; on a
GPU its fused head scores the supervised ones alone, as ours does, so k = 1 is the fair peer of TRL
there. The vocabulary is 125 times as wide as the model (7.8 times in Mistral 7B), which makes the
head dearer than it would be. Nothing here says how well a model learns from shared contexts.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import subject

CONTEXT, ANSWERS, TRL_ANSWERS = 4096, 16, 4
KS = (1, 4, 8, 16)


def ours(questions: int, steps: int) -> dict[str, object]:
    """CPU seconds an answer of each step but the first."""
    row = CONTEXT + questions * (subject.PROMPT + subject.ANSWER)
    config = subject.config(f"batch_size={ANSWERS}", f"max_tokens={max(row, 8192)}")
    loop = subject.loop(config)
    before = subject.resident()[0]
    seconds = []
    for step in range(steps + 1):
        first = step * ANSWERS
        given = [
            subject.example(CONTEXT, questions, first + i) for i in range(ANSWERS // questions)
        ]
        start = time.process_time()
        done = loop.step(given, steps + 1)
        seconds.append((time.process_time() - start) / ANSWERS)
        assert done.is_finite and done.examples == ANSWERS
    return {"seconds": seconds[1:], "before": before, "peak": subject.resident()[1]}


def trl(steps: int) -> dict[str, object]:
    """The same of SFTTrainer."""
    import torch
    from datasets import Dataset
    from transformers import MistralForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from fullcontext.model.load import mistral_config

    torch.set_num_threads(1)
    model = MistralForCausalLM(mistral_config(subject.config().model.architecture)).float()
    rows = []
    for index in range((steps + 1) * TRL_ANSWERS):
        example = subject.example(CONTEXT, 1, index)
        (asked,) = example.asked
        ids = np.concatenate([example.context, asked.prompt, asked.answer])
        labels = np.where(np.arange(len(ids)) < len(ids) - len(asked.answer), -100, ids)
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    seconds: list[float] = []
    supervised: list[int] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            self.start = time.process_time()

        def on_step_end(self, *_: object, **__: object) -> None:
            seconds.append((time.process_time() - self.start) / TRL_ANSWERS)

    class Counting(SFTTrainer):
        def compute_loss(self, model, inputs, *words, **named):
            supervised.append(int((inputs["labels"] != -100).sum()))
            return super().compute_loss(model, inputs, *words, **named)

    settings = SFTConfig(
        output_dir=sys.argv[-1], per_device_train_batch_size=1, max_length=None, packing=False,
        gradient_accumulation_steps=TRL_ANSWERS, max_steps=steps + 1, use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to="none", learning_rate=1e-4,
        disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True},
        logging_strategy="no", dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Counting(
        model, settings, train_dataset=Dataset.from_list(rows), callbacks=[Clock()],
        processing_class=_words(),
    )  # fmt: skip
    before = subject.resident()[0]
    trainer.train()
    assert set(supervised) == {subject.ANSWER}, set(supervised)
    return {"seconds": seconds[1:], "before": before, "peak": subject.resident()[1]}


def _words():
    """SFTTrainer wants a tokenizer, of which it uses the padding token alone."""
    from fullcontext.model import tokenizer

    words = tokenizer.load(subject.config().model)
    words.pad_token = words.pad_token or words.eos_token
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="?", type=int, default=3)
    parser.add_argument("--trl", help="an interpreter that has trl 1.16")
    given = parser.parse_args()
    script, say = str(Path(__file__).resolve()), sys.stdout.write
    say(f"{subject.machine()}\n\n")
    say("| side | CPU-s an answer | of k = 1 | token bound | of the bound | step memory | peak |\n")
    say("|---|--:|--:|--:|--:|--:|--:|\n")
    alone = 0.0
    question = subject.PROMPT + subject.ANSWER
    for k in KS:
        found = subject.run_side(script, "ours", str(k), str(given.steps))
        seconds = statistics.median(found["seconds"])
        alone = alone or seconds
        bound = (CONTEXT + k * question) / (k * (CONTEXT + question))
        say(
            f"| ours, k = {k} | {seconds:.3f} | {seconds / alone:.3f} | {bound:.3f} |"
            f" {seconds / alone / bound:.2f} | {_memory(found)} |\n"
        )
        sys.stdout.flush()
    if given.trl:
        found = subject.run_side(script, "trl", str(given.steps), "/tmp", python=given.trl)
        seconds = statistics.median(found["seconds"])
        say(f"| TRL 1.16 | {seconds:.3f} | {seconds / alone:.3f} | | | {_memory(found)} |\n")


def _memory(found: dict[str, float]) -> str:
    return f"{found['peak'] - found['before']:,.0f} MB | {found['peak']:,.0f} MB"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        subject.confine()
        side = ours(int(sys.argv[3]), int(sys.argv[4])) if sys.argv[2] == "ours" else None
        json.dump(side or trl(int(sys.argv[3])), sys.stdout)
    else:
        main()
