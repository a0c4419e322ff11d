"""Interval of a difference in PCK, for other seeds and other persons, as a pure function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Gain(NamedTuple):
    """A difference in percentage points with its 95 % interval.

    Attributes:
        gain: As found, pooled over persons and seeds.
        low, high: Ends of the interval.
        seeds: How many are behind it. With one, the interval is for other persons only.
    """

    gain: float
    low: float
    high: float
    seeds: int


def paired_gain(
    plain: tuple[np.ndarray, np.ndarray], distilled: tuple[np.ndarray, np.ndarray]
) -> Gain:
    """How much more of the joints the distilled models find than the plain ones.

    The variance is the sum of two. Seeds: the sample variance of the differences of S seeds,
    over S; models of a seed share initial weights and the order of the data. Persons: that of the
    pooled ratio, linearised, since all models met the same easy and hard persons. The interval is
    Student's t with the degrees of freedom of Welch and Satterthwaite: about S - 1 where
    seeds differ more than persons do, so that it is honest for three seeds.

    Args:
        plain: Hits and counts of joints, each (S, N): a row per seed, a column per person.
        distilled: The same of the other method; rows and columns stand for the same.

    Raises:
        ValueError: A seed has no labelled joint at all.
    """
    hits, counts, more_hits, more_counts = (
        np.asarray(table, float) for table in (*plain, *distilled)
    )
    num_seeds, num_persons = hits.shape
    if not (counts.sum(axis=1).all() and more_counts.sum(axis=1).all()):
        raise ValueError('no person has a labelled joint and a yardstick: nothing to compare')
    found = 100 * (more_hits.sum() / more_counts.sum() - hits.sum() / counts.sum())
    by_seed = 100 * (
        more_hits.sum(axis=1) / more_counts.sum(axis=1) - hits.sum(axis=1) / counts.sum(axis=1)
    )
    share = _influence(more_hits, more_counts) - _influence(hits, counts)  # (N,)
    parts = []  # variance and degrees of freedom
    if num_seeds > 1:
        parts.append((by_seed.var(ddof=1) / num_seeds, num_seeds - 1))
    if num_persons > 1:
        correction = num_persons / (num_persons - 1)
        parts.append((correction * (share**2).sum(), num_persons - 1))
    variance = sum(v for v, _ in parts)
    half = 0.0
    if variance > 0:
        freedom = variance**2 / sum(v**2 / df for v, df in parts)
        half = t.ppf(0.975, freedom) * np.sqrt(variance)
    return Gain(float(found), float(found - half), float(found + half), num_seeds)


def _influence(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How much each of N persons moves the pooled ratio, in percentage points."""
    ratio = hits.sum() / counts.sum()
    return 100 * (hits - ratio * counts).sum(axis=0) / counts.sum()
