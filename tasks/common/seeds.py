"""Randomness as a function of (seed, what it is for, index), never of call order."""

import hashlib

import torch


def seed_for(seed: int, purpose: str, *index: int | str) -> int:
    """A 63-bit seed from the run's seed, a purpose such as "noise", and an index such as (step, image key)."""
    text = "/".join([str(seed), purpose, *map(str, index)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, purpose: str, *index: int | str) -> torch.Generator:
    """A fresh CPU generator: the same numbers on every device, in every batch, after every restart."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, *index))
