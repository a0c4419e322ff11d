"""What a heatmap says for certain: its bits, and the map without what is not in them."""

from __future__ import annotations

import torch
from torch import Tensor

from ...schedule import is_number

FORMS = ('soft', 'hard', 'raw')


def binarize(maps: Tensor, threshold: float = 0.5, floor: float = 0.1) -> Tensor:
    r"""Bits of heatmaps: 1 near the peak, 0 elsewhere, and all 0 in a map without a peak.

    .. math:: B(H) = 1 \text{ where } H \ge \tau \max H \text{, else } 0;
        \quad B(H) = 0 \text{ if } \max H < c

    Wu et al., "Lightweight Human Pose Estimation Based on Densely Guided Self-Knowledge
    Distillation", ICANN 2023 (https://doi.org/10.1007/978-3-031-44210-0_34) binarise the
    teachers' heatmaps against their noise. Their formula could not be had: this one is our
    reconstruction from the abstract.

    Args:
        maps: Heatmaps (B, K, H, W), any range; ground truth peaks at 1.
        threshold: :math:`\tau` in (0, 1], relative to the map's own peak. At 0.5 a Gaussian of
            sigma 2 leaves 21 pixels.
        floor: :math:`c > 0`, the least peak of a map that says anything.

    Returns:
        0 and 1, in the shape and type of ``maps``; without gradient.
    """
    maps = maps.detach()
    peak = maps.amax((-2, -1), keepdim=True)
    return ((maps >= threshold * peak) & (peak >= floor)).to(maps.dtype)


def has_peak(maps: Tensor, floor: float = 0.1) -> Tensor:
    """1 where a heatmap (B, K, H, W) has a peak of at least ``floor``, else 0: (B, K)."""
    maps = maps.detach()
    return (maps.amax((-2, -1)) >= floor).to(maps.dtype)


def denoise(maps: Tensor, threshold: float = 0.5, floor: float = 0.1) -> Tensor:
    """H times its bits: the shape of the peak stays, all else is 0. See :func:`binarize`."""
    # not a product: what is infinite or nan outside the peak must not come back
    return maps.where(binarize(maps, threshold, floor) > 0, torch.zeros_like(maps))


def guide_maps(
    maps: Tensor, form: str = 'soft', threshold: float = 0.5, floor: float = 0.1
) -> Tensor:
    """What a student is to learn of a guide's heatmaps (B, K, H, W).

    Args:
        maps: The guide's heatmaps.
        form: ``'soft'``: :func:`denoise`; ``'hard'``: :func:`binarize`; ``'raw'``: as they are.
        threshold, floor: See :func:`binarize`.
    """
    if form == 'raw':
        return maps
    return (denoise if form == 'soft' else binarize)(maps, threshold, floor)


def peak_bits(maps: Tensor, floor: float = 0.1) -> Tensor:
    """1 at the highest pixel of each heatmap (..., H, W), all 0 where it is below ``floor``.

    Of several equally high pixels one is taken, so that the bits of a map sum to 1 or 0.
    """
    flat = maps.detach().flatten(-2)
    peak, place = flat.max(-1, keepdim=True)
    return torch.zeros_like(flat).scatter(-1, place, (peak >= floor).to(flat)).view_as(maps)


def peak_distribution(maps: Tensor, kappa: float = 10.0, floor: float = 0.1) -> Tensor:
    r"""Softmax over the positions of each heatmap (..., H, W), all 0 where its peak is below
    ``floor``.

    .. math:: t = softmax(\kappa H)

    Our addition. A cross-entropy against it is least where a student's :math:`softmax(\kappa S)`
    is the same: unlike :func:`peak_bits` it does not ask for a sharper peak than the map has.

    Args:
        maps: Heatmaps, ground truth peaks at 1.
        kappa: :math:`\kappa > 0`.
        floor: The least peak of a map that says anything.
    """
    flat = maps.detach().flatten(-2)
    certain = flat.amax(-1, keepdim=True) >= floor
    return ((kappa * flat).softmax(-1) * certain).view_as(maps)


def checked_thresholds(threshold: float, floor: float, key: str) -> None:
    """Refuse settings that :func:`binarize` cannot use.

    Args:
        threshold, floor: The settings.
        key: Name of the config key that holds them, for messages.

    Raises:
        ValueError: One is out of its range.
    """
    if not is_number(threshold) or not 0 < threshold <= 1:
        raise ValueError(f'{key}.threshold={threshold!r}: give a number in (0, 1]')
    if not is_number(floor) or not 0 < floor < float('inf'):
        raise ValueError(f'{key}.floor={floor!r}: give a number above 0')
