"""What is recorded of a step besides its loss: losses by kind and depth, speed, waiting, memory."""

import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fullcontext.config import Checkpointing, Precision, TrainConfig
from fullcontext.data.packing import Price
from fullcontext.objective.batch import LossSum
from fullcontext.plan import hardware
from fullcontext.records import Example, Ids, Row
from fullcontext.train import flops

DEPTHS = 5
"""Bins of the depth of the evidence: those of the probes' curves would be empty in most steps."""
GIB = 1 << 30
_OF_PAIRS = ("pairs", "pairs/in_order", "pairs/margin")


class Losses:
    """Token losses by kind of question and by depth of its evidence.

    `sums` adds up over micro-batches and ranks; its order is the same on every rank.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = tuple(kinds)
        self._names = [*kinds, *(f"depth_{i + 1}_of_{DEPTHS}" for i in range(DEPTHS))]
        self.sums = [0.0] * (2 * len(self._names) + len(_OF_PAIRS))
        """The sum of the losses under each name, then how many tokens they are of; then those of
        pairs, of the names _OF_PAIRS."""

    def add(self, row: Row, questions: Ids, nll: np.ndarray[Any, Any]) -> None:
        """Adds the losses of a row's supervised tokens, or of the piece that this rank holds.

        `questions`, of the shape of `nll`, says which question of the row each belongs to.
        """
        asked = [asked for example in row.examples for asked in example.asked]
        totals = np.bincount(questions, nll, len(asked))
        counts = np.bincount(questions, minlength=len(asked))
        for question, total, count in zip(asked, totals, counts, strict=True):
            if question.preferred is not None:
                continue  # a rejected answer is to become unlikely
            places = [self._kinds.index(question.kind)]
            if question.depth is not None:
                places.append(len(self._kinds) + min(DEPTHS - 1, int(question.depth * DEPTHS)))
            for place in places:
                self.sums[place] += float(total)
                self.sums[place + len(self._names)] += int(count)

    def compare(self, loss: LossSum) -> None:
        """Counts the pairs of a row, how many are in order, and how far apart they are."""
        if loss.margins is None:
            return
        ahead = loss.margins.double().cpu()
        start = 2 * len(self._names)
        values = (len(ahead), float((ahead > 0).sum()), float(ahead.sum()))
        for place, value in enumerate(values, start):
            self.sums[place] += value * loss.share

    def record(self) -> dict[str, float]:
        """Mean loss under each name that had tokens, and the tokens of each kind; of pairs the
        share in which the preferred answer is ahead, and by how much on average."""
        totals, counts = np.split(np.array(self.sums[: 2 * len(self._names)]), 2)
        means = {
            f"loss/{name}": float(total / count)
            for name, total, count in zip(self._names, totals, counts, strict=True)
            if count
        }
        tokens = zip(self._kinds, counts.tolist(), strict=False)
        means |= {f"supervised/{kind}": count for kind, count in tokens}
        number, *of_pairs = self.sums[2 * len(self._names) :]
        if not number:
            return means
        return means | {k: v / number for k, v in zip(_OF_PAIRS[1:], of_pairs, strict=True)}


class Gauge:
    """What the machine made of a step."""

    def __init__(
        self, config: TrainConfig, price: Price, device: torch.device, devices: int = 1
    ) -> None:
        self.price, self.device, self.devices = price, device, devices
        self.recomputed = {Checkpointing.full: 1.0, Checkpointing.selective: 0.5}.get(
            config.checkpointing, 0.0
        )
        """Share of the layers' forward pass that is computed once more."""
        self.peak = config.hardware.peak_flops
        """FLOP/s of one device at its best; None leaves utilisation out."""
        if self.peak is None and device.type == "cuda" and config.precision is Precision.bf16:
            known = hardware.of_device(torch.cuda.get_device_name(device))
            self.peak = known.peak_flops if known else None

    def read(self, examples: Sequence[Example], seconds: float, waited: float) -> dict[str, float]:
        """For the log: FLOP/s and utilisation of one device, waiting for data, memory.

        `examples` are those of all devices; `seconds` those of the step, the wait included.
        """
        done = flops.work(examples, self.price)
        rate = 1 / (seconds * self.devices)
        found = {
            "data_wait": round(waited / seconds, 4),
            "flops_per_s": done.causal * rate,
            "flops_per_s_full": done.full * rate,
            "peak_memory_gib": round(self.peak_memory() / GIB, 3),
        }
        if self.peak is not None:
            found["mfu"] = done.causal * rate / self.peak
            found["mfu_full"] = done.full * rate / self.peak
            if self.recomputed:
                found["hfu"] = (done.causal + self.recomputed * done.recomputed) * rate / self.peak
        return found

    def peak_memory(self) -> int:
        """In bytes. GPU: most allocated since the last reading; CPU: most resident, ever."""
        if self.device.type == "cuda":
            most = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            return most
        return resident()


def resident() -> int:
    """The most main memory this process ever had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
