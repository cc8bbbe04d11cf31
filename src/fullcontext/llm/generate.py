"""Decoding a batch of prompts, each reply drawn from its own seed."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullcontext.randomness import rng


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Token ids and how to go on from them."""

    ids: list[int]
    max_new_tokens: int
    temperature: float
    """0 takes the likeliest token."""
    top_p: float
    seed: int


@torch.inference_mode()
def generate(model: Any, prompts: Sequence[Prompt], ends: AbstractSet[int]) -> list[list[int]]:
    """The replies' tokens, the end token included where one came; at least one token each.

    Prompts are padded on the left, where the mask hides the padding and positions leave it out, so
    that a reply is what it would be alone, to rounding. A reply that has ended leaves the batch.
    """
    said: list[list[int]] = [[] for _ in prompts]
    draws = [rng(prompt.seed, "reply") for prompt in prompts]
    ids, mask = _padded([prompt.ids for prompt in prompts], model.device)
    cache: Any = None
    going = list(range(len(prompts)))
    while going:
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = output.past_key_values
        logits = output.logits[:, -1].float().cpu()
        for row, i in enumerate(going):
            said[i].append(choose(logits[row], prompts[i], draws[i]))
        keep = [
            row
            for row, i in enumerate(going)
            if said[i][-1] not in ends and len(said[i]) < prompts[i].max_new_tokens
        ]
        if len(keep) < len(going):
            rows = torch.tensor(keep, dtype=torch.long, device=model.device)
            going, mask = [going[row] for row in keep], mask[rows]
            if going:
                cache.batch_select_indices(rows)
        ids = torch.tensor([[said[i][-1]] for i in going], device=model.device)
        mask = torch.cat([mask, mask.new_ones(len(going), 1)], 1)
    return said


def _padded(prompts: list[list[int]], device: Any) -> tuple[Tensor, Tensor]:
    """Ids and mask, shape (prompts, longest): 0 stands left of the shorter ones, masked."""
    longest = max(map(len, prompts))
    ids = [[0] * (longest - len(one)) + one for one in prompts]
    mask = [[0] * (longest - len(one)) + [1] * len(one) for one in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def choose(logits: Tensor, prompt: Prompt, draw: np.random.Generator) -> int:
    """A token: the likeliest, or one drawn by temperature among the likeliest of mass top_p.

    Temperature comes first, as in transformers and vLLM; the token that crosses top_p is in.
    """
    if prompt.temperature == 0:
        return int(logits.argmax())
    scaled = (logits.double() / prompt.temperature).softmax(-1).numpy()
    # One uniform number a token, so that a reply is a function of its seed.
    share = draw.random()
    if prompt.top_p >= 1:  # the order does not matter, and sorting a vocabulary takes long
        return _at(np.cumsum(scaled), share)
    order: npt.NDArray[np.int64] = np.argsort(-scaled, kind="stable")
    mass = np.cumsum(scaled[order])
    last = int(np.searchsorted(mass, min(prompt.top_p, mass[-1])))
    return int(order[_at(mass[: last + 1], share)])


def _at(mass: npt.NDArray[np.float64], share: float) -> int:
    """The place where a cumulative mass exceeds a share (0-1) of its total."""
    return min(int(np.searchsorted(mass, share * mass[-1], side="right")), len(mass) - 1)
