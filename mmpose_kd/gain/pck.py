"""PCK as pure functions of arrays. N persons, K keypoints; coordinates in image pixels."""

from __future__ import annotations

from typing import Optional

import numpy as np

TORSO = ('left_shoulder', 'right_hip')


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances (N, K) between points (N, K, 2)."""
    return np.linalg.norm(np.asarray(a, float) - np.asarray(b, float), axis=-1)


def torso_lengths(target: np.ndarray, visible: np.ndarray, torso: tuple[int, int]) -> np.ndarray:
    """Length (N,) of each person's torso, 0 where one of its two joints is not labelled.

    Args:
        target: Labels (N, K, 2).
        visible: Which of them are labelled (N, K).
        torso: The two joints.
    """
    a, b = torso
    return distances(target[:, a], target[:, b]) * (visible[:, a] & visible[:, b])


def box_lengths(boxes: np.ndarray) -> np.ndarray:
    """Longer side (N,) of boxes (N, 4) given as left, top, right, bottom."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def torso_joints(names: list[str]) -> Optional[tuple[int, int]]:
    """Indices of left shoulder and right hip, None where the names have no such joints."""
    plain = [name.lower().replace(' ', '_').replace('-', '_') for name in names]
    return tuple(plain.index(n) for n in TORSO) if set(TORSO) <= set(plain) else None


def hits_and_counts(
    found: np.ndarray, target: np.ndarray, visible: np.ndarray, length: np.ndarray, thr: float
) -> tuple[np.ndarray, np.ndarray]:
    """Per person, how many labelled joints were found, and how many there are.

    Args:
        found: Predictions (N, K, 2).
        target: Labels (N, K, 2).
        visible: Which of them are labelled (N, K).
        length: Yardstick (N,); persons with 0 are left out.
        thr: A joint is found when it is nearer than this many yardsticks.

    Returns:
        Hits (N,) and counts (N,), both 0 for persons that are left out.
    """
    counted = visible & (length > 0)[:, None]
    hit = distances(found, target) / np.where(length > 0, length, 1)[:, None] < thr
    return (hit & counted).sum(axis=1), counted.sum(axis=1)
