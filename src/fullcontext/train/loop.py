"""The loop: fetch, loss / count, backward, clip, step, log, save; in this order, nothing else."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fullcontext import launch
from fullcontext.compose import ConfigError
from fullcontext.config import AdaptConfig, Precision, TrainConfig
from fullcontext.data.accounts import Tally
from fullcontext.data.mixture import Mixture
from fullcontext.data.packing import pack, plan
from fullcontext.model import lora, sharding
from fullcontext.model.sharding import Share
from fullcontext.objective import batch as objective
from fullcontext.objective.batch import Batch, LossSum
from fullcontext.records import Example
from fullcontext.train import faults
from fullcontext.train.flops import price
from fullcontext.train.schedule import learning_rate
from fullcontext.train.watching import Gauge, Losses


class Diverged(RuntimeError):
    """Too many steps in a row with a non-finite loss or gradient."""


@dataclass
class Progress:
    """How far a run has come; part of every checkpoint."""

    step: int = 0
    """Steps done."""
    tokens: int = 0
    supervised_tokens: int = 0
    examples: int = 0
    seconds: float = 0.0
    skipped: int = 0
    """Steps without an update, since loss or gradient was not finite."""
    skipped_in_a_row: int = 0


@dataclass
class Step:
    """What one optimizer step did."""

    loss: float
    grad_norm: float
    lr: float
    tokens: int
    supervised: int
    examples: int
    seconds: float
    watched: dict[str, float] = field(default_factory=dict)
    """What train/watching.py has to say of it."""

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.loss) and np.isfinite(self.grad_norm))

    def record(self) -> dict[str, float]:
        """As metrics.jsonl has it."""
        return {
            "loss": self.loss,
            "grad_norm": self.grad_norm,
            "lr": self.lr,
            "tokens_per_s": round(self.tokens / self.seconds, 1),
            "supervised_per_s": round(self.supervised / self.seconds, 1),
            "examples_per_s": round(self.examples / self.seconds, 3),
            **self.watched,
        }


class Loop:
    """Model, optimizer and data of a run, and one step after the other."""

    def __init__(
        self,
        config: TrainConfig,
        model: Any,
        mixture: Mixture,
        device: torch.device,
        share: Share | None = None,
    ) -> None:
        self.config, self.model, self.mixture, self.device = config, model, mixture, device
        self.share = share or Share()
        self.objective = objective.load(config.objective)
        self.optimizer = adamw(config, model)
        self.progress = Progress()
        self.tally = Tally(config.data)
        self.price = price(model)
        ranks = self.share.number * config.sharding.context_parallel
        self.gauge = Gauge(config, self.price, device, ranks)

    def run(self, steps: int, bad: Callable[[int, Step, list[Example]], None]) -> Iterator[Step]:
        """Steps from `progress.step` up to `steps`; each is yielded when it is done.

        Raises Diverged after `max_bad_steps` non-finite steps in a row.
        """
        with _prefetched(self.mixture, self.progress.step, steps) as batches:
            for assembled, waited in batches:
                examples = self.objective.supervise(assembled)
                done = self.step(examples, steps, waited)
                self._count(done, examples)
                if not done.is_finite:
                    bad(self.progress.step, done, examples)
                    if self.progress.skipped_in_a_row >= self.config.max_bad_steps:
                        raise Diverged(
                            f"loss or gradient was not finite in {self.config.max_bad_steps} steps"
                            f" in a row, up to step {self.progress.step}; the examples are in"
                            " bad_steps.jsonl; lower schedule.peak or look at them"
                        )
                yield done

    def step(self, examples: list[Example], steps: int, waited: float = 0.0) -> Step:
        """One optimizer step over `examples`: of every rank's micro-batches this one's share.

        `waited` are the seconds that assembling them held up the loop. Raises ConfigError if no
        token is supervised, an example is longer than the model's positions, or the device has too
        little memory.
        """
        start = time.perf_counter()
        rate = learning_rate(self.config.schedule, self.progress.step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = Losses(self.config.data.kinds)
        examples = self.objective.supervise(examples)
        loss = self._accumulate(examples, losses)
        norm = sharding.clip(self.model, self.config.optimizer.clip_norm)
        done = Step(
            loss=loss,
            grad_norm=norm,
            lr=rate,
            tokens=sum(e.tokens for e in examples),
            supervised=sum(e.supervised for e in examples),
            examples=sum(e.questions for e in examples),
            seconds=0.0,
        )
        if done.is_finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        done.seconds = time.perf_counter() - start + waited
        done.watched = losses.record() | self.gauge.read(examples, done.seconds, waited)
        return done

    def gradients(self, examples: list[Example]) -> float:
        """Leaves the gradients of a step in the weights, without an update; its loss."""
        losses = Losses(self.config.data.kinds)
        return self._accumulate(self.objective.supervise(examples), losses)

    def _accumulate(self, examples: list[Example], losses: Losses) -> float:
        """Gradients of the whole step; its loss. Token losses are added to `losses`."""
        faults.refuse(examples, self.model.config.max_position_embeddings)
        # What the step is divided by is known before the first micro-batch, to every rank.
        total, count = 0.0, self.objective.count(examples)
        plans = plan(examples, self.config.row_tokens, self.share.number, self.price)
        own = plans[self.share.index]
        for number, micro in enumerate(own, 1):
            sharding.sync(self.model, self.share, is_last=number == len(own))
            # A rank without examples takes part in the collectives with one that weighs nothing.
            row = pack([examples[i] for i in micro] if micro else [min(examples, key=_tokens)])
            batch = self.objective.batch(row, self.device, self.share.exchange)
            loss = self._backward(batch, count, weight=float(bool(micro)))
            if micro:
                total += float(loss.total.detach()) * loss.share
                losses.add(row, batch.questions, loss.token_nll.cpu().numpy())
                losses.compare(loss)
        # Each rank of a share has its own tokens, so that all ranks add up to all tokens.
        total, *losses.sums = launch.sum_floats([total, *losses.sums])
        return total / count

    def _backward(self, batch: Batch, count: float, weight: float) -> LossSum:
        try:
            with self.autocast():
                loss = self.objective.loss(self.model, batch)
            (loss.total * weight / count).backward()
        except (RuntimeError, MemoryError) as error:
            raise faults.explained(error, self.config, batch.input_ids.shape[1]) from error
        return loss

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """In which the model computes, for the precision of the run."""
        # Where weights are sharded, they come out of the all-gather in bf16 already.
        if self.config.precision is Precision.fp32 or self.config.sharding.splits_weights:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _count(self, done: Step, examples: list[Example]) -> None:
        progress = self.progress
        progress.step += 1
        progress.tokens += done.tokens
        progress.supervised_tokens += done.supervised
        progress.examples += done.examples
        progress.seconds += done.seconds
        progress.skipped += not done.is_finite
        progress.skipped_in_a_row = 0 if done.is_finite else progress.skipped_in_a_row + 1
        self.tally.add(examples)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights and optimizer."""
        made = lora.attached(self.model)
        beside = {} if made is None else {"base_sum": made.base_sum}
        return {"progress": vars(self.progress), "tally": self.tally.state(), **beside}

    def restore(self, extra: dict[str, Any]) -> None:
        """Goes on where a checkpoint was written.

        Raises ConfigError if its adapters belong to other weights than the model has.
        """
        made = lora.attached(self.model)
        if made is not None and extra["base_sum"] != made.base_sum:
            raise ConfigError(
                f"the weights of {made.base or 'the model'} have changed since the run began: its"
                " adapters do not belong to them; put them back, or start a new run"
            )
        self.progress = Progress(**extra["progress"])
        self.tally = Tally(self.config.data, **extra["tally"])


def adamw(config: TrainConfig | AdaptConfig, model: Any) -> torch.optim.AdamW:
    """AdamW over all weights; decay on matrices only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    settings = config.optimizer
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "weight_decay": settings.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.schedule.peak,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
    )


def _tokens(example: Example) -> int:
    return example.tokens


@contextlib.contextmanager
def _prefetched(
    mixture: Mixture, start: int, stop: int
) -> Iterator[Iterator[tuple[list[Example], float]]]:
    """Batches of steps [start, stop), each assembled while the one before is trained on; and for
    how many seconds each was waited for."""
    with ThreadPoolExecutor(1, "assembly") as pool:

        def batches() -> Iterator[tuple[list[Example], float]]:
            following = pool.submit(mixture.batch, start) if start < stop else None
            for step in range(start, stop):
                assert following is not None
                asked = time.perf_counter()
                examples = following.result()
                waited = time.perf_counter() - asked
                if step + 1 < stop:
                    following = pool.submit(mixture.batch, step + 1)
                yield examples, waited

        yield batches()


def bad_record(step: int, done: Step, examples: list[Example]) -> str:
    """A line of bad_steps.jsonl."""
    record = {
        "step": step,
        "loss": repr(done.loss),
        "grad_norm": repr(done.grad_norm),
        "examples": [asked.index for example in examples for asked in example.asked],
        "questions": [asked.id for example in examples for asked in example.asked],
    }
    return json.dumps(record) + "\n"
