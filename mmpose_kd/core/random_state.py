"""Random numbers: put aside for a while, or started from a name."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import numpy as np
import torch


def digest(*parts) -> str:
    """A short hash (24 hexadecimal digits) of values that have a stable ``repr``."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


@contextmanager
def random_states_kept(seed: Optional[str] = None) -> Iterator[None]:
    """Leave random numbers afterwards as they were before, also after an error.

    Those of ``random``, ``numpy.random`` and torch on the CPU; not those of GPUs.

    Args:
        seed: Inside they start from this number in hexadecimal digits, as of :func:`digest`.
            None: they just go on.
    """
    states = random_states()
    try:
        if seed is not None:
            number = int(seed[:16], 16)
            random.seed(number)
            np.random.seed(number % 2**32)
            # not torch.manual_seed, which would seed the GPU's generators as well
            torch.default_generator.manual_seed(number % 2**63)
        yield
    finally:
        set_random_states(states)


def seed_libraries(step, seed: str) -> None:
    """Seed the generators that steps of a pipeline have of their own: newer albumentations'.

    Args:
        step: A step, or steps together: MMPose's ``Compose``.
        seed: Hexadecimal digits, as of :func:`digest`.
    """
    library = getattr(step, 'aug', None)
    if hasattr(library, 'set_random_seed'):
        library.set_random_seed(int(seed[:8], 16))
    for inner in getattr(step, 'transforms', ()):
        seed_libraries(inner, seed)


def random_states() -> tuple:
    """The states of ``random``, ``numpy.random`` and torch's CPU generator."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_states(states: tuple) -> None:
    """Set what :func:`random_states` gave."""
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
