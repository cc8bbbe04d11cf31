"""Trains an adapter on one document: lessons -> steps, an epoch at a time."""

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import torch

from fullcontext.adapt import adapters
from fullcontext.adapt.lessons import Lessons
from fullcontext.compose import ConfigError
from fullcontext.config import AdaptConfig, Precision
from fullcontext.data.packing import pack, plan
from fullcontext.launch import StopFlag
from fullcontext.model import sharding
from fullcontext.objective.sft import Sft
from fullcontext.records import Example
from fullcontext.train import faults
from fullcontext.train.flops import price
from fullcontext.train.loop import adamw
from fullcontext.train.schedule import learning_rate


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training took."""

    records: list[dict[str, Any]]
    """One a step: epoch, loss, gradient norm, rate, tokens, mean gate of each layer."""
    cpu_s: float
    """Seconds of all threads of this process."""
    wall_s: float
    tokens: int
    supervised: int


def train(
    model: Any, config: AdaptConfig, lessons: Lessons, device: torch.device, stop: StopFlag
) -> Trained:
    """Trains what `adapters.begin` left trainable.

    Raises ConfigError if a lesson is longer than max_tokens or the model's positions, or the loss
    is not finite; SystemExit(75) after a stop signal.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    optimizer = adamw(config, model)
    objective, cost = Sft(config.normalise), price(model)
    plans = [lessons.steps(epoch) for epoch in range(lessons.epochs)]
    total = sum(map(len, plans))
    records: list[dict[str, Any]] = []
    model.train()
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task(f"adapting to {lessons.text.id}", total=total)
        for epoch, steps in enumerate(plans):
            for examples in steps:
                rate = learning_rate(config.schedule, len(records), total)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with adapters.gates(model) as gates:
                    loss = _accumulate(model, config, objective, examples, cost, device)
                norm = sharding.clip(model, config.optimizer.clip_norm)
                record = {
                    "step": len(records) + 1, "epoch": epoch + 1, "loss": loss, "grad_norm": norm,
                    "lr": rate, "tokens": sum(e.tokens for e in examples), "gates": gates(),
                }  # fmt: skip
                _refuse_infinite(record, lessons.text.id)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                records.append(record)
                bar.advance(task)
                stop.heed()
    model.eval()
    every = [example for steps in plans for examples in steps for example in examples]
    return Trained(
        records,
        time.process_time() - cpu,
        time.perf_counter() - wall,
        sum(example.tokens for example in every),
        sum(example.supervised for example in every),
    )


def _accumulate(
    model: Any,
    config: AdaptConfig,
    objective: Sft,
    examples: list[Example],
    cost: Any,
    device: torch.device,
) -> float:
    """Gradients of a step, packed in rows of `max_tokens`, divided once by the whole count."""
    faults.refuse(examples, model.config.max_position_embeddings)
    total, count = 0.0, objective.count(examples)
    (rows,) = plan(examples, config.max_tokens, 1, cost)
    for row in rows:
        batch = objective.batch(pack([examples[i] for i in row]), device, None)
        with autocast(config, device):
            loss = objective.loss(model, batch)
        (loss.total / count).backward()
        total += float(loss.total.detach())
    return total / count


def autocast(config: AdaptConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """In which the model computes, for the precision of the run."""
    if config.precision is Precision.fp32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _refuse_infinite(record: dict[str, Any], document: str) -> None:
    if not all(abs(record[key]) < float("inf") for key in ("loss", "grad_norm")):
        raise ConfigError(
            f"loss or gradient of step {record['step']} on document {document} is not finite; lower"
            " schedule.peak"
        )
