"""Paired bootstrap of a difference in PCK over persons and seeds, as a pure function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CHUNK = 200  # resamples at a time: bounds the memory


class Gain(NamedTuple):
    """A difference in percentage points with its 95 % interval."""

    gain: float
    low: float
    high: float


def paired_gain(
    plain: tuple[np.ndarray, np.ndarray],
    distilled: tuple[np.ndarray, np.ndarray],
    resamples: int = 2000,
    seed: int = 0,
) -> Gain:
    """How much more of the joints the distilled models find than the plain ones.

    Persons are drawn with replacement, the same ones for both methods and all seeds: all models
    met the same easy and hard persons. Seeds are drawn with replacement, the same ones for both
    methods: models of one seed share initial weights and the order of the data.

    Args:
        plain: Hits and counts of joints, each (S, N): a row per seed, a column per person.
        distilled: The same of the other method; rows and columns stand for the same.
        resamples: How often is drawn.
        seed: Of the draws.

    Returns:
        Difference of hits over counts, pooled over persons and seeds, in percentage points: as
        found, and the 2.5th and 97.5th percentile of the resamples.
    """
    tables = np.stack([np.asarray(t, float) for t in (*plain, *distilled)])  # (4, S, N)
    _, num_seeds, num_persons = tables.shape
    if not (tables[1].sum() and tables[3].sum()):
        raise ValueError('no person has a labelled joint and a yardstick: nothing to compare')
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        # how often each one is drawn
        persons = rng.multinomial(num_persons, np.full(num_persons, 1 / num_persons), size)
        seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size)
        drawn.append(np.einsum('tsb,bs->tb', tables @ persons.T.astype(float), seeds))
    low, high = np.percentile(_difference(np.concatenate(drawn, axis=1)), [2.5, 97.5])
    return Gain(float(_difference(tables.sum(axis=(1, 2)))), float(low), float(high))


def _difference(sums: np.ndarray) -> np.ndarray:
    """Percentage points from sums (4, ...) of plain hits, counts, distilled hits, counts."""
    hits, counts, more_hits, more_counts = sums
    return 100 * (more_hits / np.maximum(more_counts, 1) - hits / np.maximum(counts, 1))
