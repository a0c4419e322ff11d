"""Guided by all earlier models at once, not by the last one alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from ...schedule import is_number


def keep_guides(count: int, keep_prob: float, generator: torch.Generator) -> list[bool]:
    """Which of the guides take part in this step: each with ``keep_prob``, at least one.

    Dropping some of them is the regularisation of Son et al., "Densely Guided Knowledge
    Distillation Using Multiple Teacher Assistants", ICCV 2021 (https://arxiv.org/abs/2009.08825).

    Args:
        count: n, at least 1.
        keep_prob: In (0, 1].
        generator: On the CPU; as many numbers are drawn whatever comes out.
    """
    draws = torch.rand(count, generator=generator)
    lucky = int(torch.randint(count, (1,), generator=generator))
    kept = [draw < keep_prob for draw in draws.tolist()]
    return kept if any(kept) else [i == lucky for i in range(count)]


def checked_keep_prob(keep_prob: float, key: str) -> float:
    """A probability that :func:`keep_guides` can use.

    Args:
        keep_prob: The setting.
        key: Name of the config key that holds it, for messages.

    Raises:
        ValueError: It is not in (0, 1].
    """
    if not is_number(keep_prob) or not 0 < keep_prob <= 1:
        raise ValueError(f'{key}.keep_prob={keep_prob!r}: give a number in (0, 1]')
    return keep_prob


def dense_guidance(losses: Sequence[Tensor]) -> Tensor:
    r"""Mean of the kept guides' losses, :math:`\sum_i b_i l_i / \sum_i b_i`.

    Args:
        losses: A scalar of each guide that was kept, at least one.
    """
    return torch.stack(tuple(losses)).mean()


def weighted_mse(student: Tensor, guide: Tensor, weight: Optional[Tensor] = None) -> Tensor:
    """Mean over all pixels of the squared difference, times the keypoint's weight.

    The same number as MMPose's ``KeypointMSELoss(use_target_weight=True)``, in float32 at least.

    Args:
        student: Heatmaps (B, K, H, W).
        guide: Heatmaps (B, K, H, W). Not detached here.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
    """
    student, guide = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (student, guide))
    loss = F.mse_loss(student, guide, reduction='none')
    return (loss if weight is None else loss * weight[..., None, None].to(loss.dtype)).mean()


def coordinate_smooth_l1(
    student: Tensor, guide: Tensor, weight: Optional[Tensor] = None
) -> Tensor:
    """SmoothL1 of coordinates, times the keypoint's weight.

    For weights of 0 and 1 the same as MMPose's ``SmoothL1Loss(use_target_weight=True)``, which
    multiplies both coordinates by the weight instead.

    Args:
        student: Coordinates (B, K, 2), in shares of the picture's width and height.
        guide: The same of a guide. Not detached here.
        weight: Of each keypoint (B, K). None: all 1.

    Returns:
        A scalar: the mean over keypoints and axes, in float32 at least.
    """
    student, guide = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (student, guide))
    loss = F.smooth_l1_loss(student, guide, reduction='none')
    return (loss if weight is None else loss * weight[..., None].to(loss.dtype)).mean()
