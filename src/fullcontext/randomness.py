"""Everything random derives from (seed, purpose, index): never from rank, time or global state."""

import hashlib

import numpy as np


def rng(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """The generator of one decision; equal arguments give equal draws on every machine."""
    name = f"{seed} {purpose!r} {index}".encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(name).digest())))


def torch_seed(seed: int, purpose: str, *index: int) -> int:
    """A seed for `torch.manual_seed`, where only torch can draw (initial weights, dropout)."""
    return int(rng(seed, purpose, *index).integers(2**63 - 1))
