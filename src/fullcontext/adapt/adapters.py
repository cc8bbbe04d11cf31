"""What is trained for a document: gated memory, low-rank matrices, or the model itself.

The model is loaded once. `begin` gives each document a fresh start that follows from (seed,
document) alone, and `end` gives the model back as it was, bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fullcontext.adapt.documents import number_of
from fullcontext.config import AdaptConfig, Adapter, Precision
from fullcontext.model import gated_memory, lora
from fullcontext.randomness import rng
from fullcontext.store import write_aside

WEIGHTS = "model.safetensors"
"""Of adapter=full: the whole model's."""


class Adapters:
    """The adapters of one loaded model, one document after another."""

    def __init__(self, model: Any, config: AdaptConfig, device: torch.device) -> None:
        self.model, self.config = model, config
        self.kind = config.adapter.kind
        self._own: dict[str, torch.Tensor] = {}
        compute = torch.float32 if config.precision is Precision.fp32 else torch.bfloat16
        match self.kind:
            case Adapter.gated_memory:
                gated_memory.attach(model, config.adapter, config.seed, compute)
            case Adapter.lora:
                lora.attach(model, config.adapter, config.seed, compute, device)
            case _:
                self._own = {n: p.detach().clone() for n, p in model.named_parameters()}

    def begin(self, document: str) -> None:
        """Fresh adapter weights for a document."""
        drawn = rng(self.config.seed, "adapter of a document", number_of(document))
        seed = int(drawn.integers(1 << 62))
        match self.kind:
            case Adapter.gated_memory:
                gated_memory.redraw(self.model, self.config.adapter, seed)
            case Adapter.lora:
                lora.redraw(self.model, self.config.adapter, seed)
            case _:
                self.end()

    @torch.no_grad()
    def end(self) -> None:
        """Gives the model its own weights back, where they were trained."""
        for name, weight in self.model.named_parameters():
            if name in self._own:
                weight.copy_(self._own[name])

    @contextmanager
    def without(self) -> Iterator[None]:
        """The model as it is without an adapter, for a while."""
        match self.kind:
            case Adapter.gated_memory:
                with gated_memory.disabled(self.model):
                    yield
            case Adapter.lora:
                with lora.disabled(self.model):
                    yield
            case _:
                with self._swapped():
                    yield

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        trained = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.end()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    weight.copy_(trained[name])

    def save(self, folder: Path) -> list[str]:
        """Writes the adapter; the names of its files."""
        match self.kind:
            case Adapter.gated_memory:
                gated_memory.save(folder, self.model)
            case Adapter.lora:
                lora.save(folder, self.model)
            case _:
                from safetensors.torch import save

                found = {n: p.detach().cpu() for n, p in self.model.named_parameters()}
                write_aside(folder / WEIGHTS, save(found, {"format": "pt"}))
        return sorted(path.name for path in folder.iterdir() if path.suffix in _SAVED)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Puts a saved adapter into the model. Raises ConfigError if it does not fit."""
        match self.kind:
            case Adapter.gated_memory:
                gated_memory.load(self.model, folder)
            case Adapter.lora:
                lora.load(self.model, folder)
            case _:
                from safetensors.torch import load_file

                saved = load_file(folder / WEIGHTS)
                for name, weight in self.model.named_parameters():
                    weight.copy_(saved[name])

    @property
    def trained(self) -> int:
        """Weights that are trained."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)


_SAVED = (".safetensors", ".json")


@contextmanager
def gates(model: Any) -> Iterator[Callable[[], list[float] | None]]:
    """Says afterwards the mean gate of each layer; None of a model without gated memory."""
    if not gated_memory.is_attached(model):
        yield lambda: None
        return
    with gated_memory.gates(model) as found:
        yield found
