"""What a guide costs a student with bins or coordinates: the head's own loss, with the guide's
output in the place of the labels, so that guidance and task are of one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.loss import softmax_kl, wide
from .losses import coordinate_smooth_l1

# MMPose's losses of coordinates that are called with (output, target, weight)
OF_COORDINATES = ('SmoothL1Loss', 'L1Loss', 'MSELoss', 'MPJPELoss', 'WingLoss', 'SoftWingLoss')

#: from the student's output, a guide's and keypoint weights (B, K) to a scalar
OwnLoss = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], Tensor]


def own_loss(kind: str, head: Optional[nn.Module] = None, returned=None) -> OwnLoss:
    """The loss of one guide, on the scale of the loss that the student's head has.

    Args:
        kind: ``'bins'`` or ``'coordinates'``, see :func:`head_kind`.
        head: The student's. None: MMPose's losses with their defaults.
        returned: What its ``forward`` returned for the batch; RLE's has sigma in it.

    Returns:
        Of bins :func:`bins_kl`; of RLE :func:`residual_smooth_l1`; of other coordinates the
        head's own loss, or SmoothL1 where that is none of MMPose's.
    """
    module = getattr(head, 'loss_module', None)
    if kind == 'bins':
        return lambda student, guide, weight: bins_kl(
            student, guide, _masked(weight, module), getattr(module, 'beta', 1.0)
        )
    if type(module).__name__ == 'RLELoss' and isinstance(returned, Tensor):
        sigma = wide(returned[..., 2:4]).detach().sigmoid()
        return lambda student, guide, weight: residual_smooth_l1(
            student[0], guide[0], sigma, weight, module.size_average
        )
    if type(module).__name__ == 'MultipleLossWrapper':  # of DSNT: of coordinates, of heatmaps
        module = module.loss_modules[0]
    if type(module).__name__ in OF_COORDINATES:
        return lambda student, guide, weight: _as_labels(module, student[0], guide[0], weight)
    return lambda student, guide, weight: coordinate_smooth_l1(student[0], guide[0], weight)


def bins_kl(
    student: Sequence[Tensor],
    guide: Sequence[Tensor],
    weight: Optional[Tensor] = None,
    beta: float = 1.0,
) -> Tensor:
    r"""KL(guide || student) over the bins, reduced as MMPose's ``KLDiscretLoss`` reduces it.

    .. math:: L = \frac{1}{K} \sum_{b,k} w_{bk} \sum_{axes} \frac{1}{N_{axis}}
        \sum_i t_i (\log t_i - \log s_i), \quad t, s = softmax(\beta \cdot)

    The mean over bins and keypoints, the sum over pictures and axes.

    Args:
        student: For each axis the logits (B, K, bins).
        guide: The same of a guide. Not detached here.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
        beta: That of the head's loss.

    Returns:
        A scalar, in float32 at least.
    """
    total = sum(
        softmax_kl(wide(s) * beta, wide(t) * beta) / s.shape[-1] for s, t in zip(student, guide)
    )  # (B, K)
    return (total if weight is None else total * weight).mean(1).sum()


def residual_smooth_l1(
    student: Tensor,
    guide: Tensor,
    sigma: Tensor,
    weight: Optional[Tensor] = None,
    size_average: bool = True,
) -> Tensor:
    r"""SmoothL1 of the residual in units of sigma, reduced as MMPose's ``RLELoss`` reduces it.

    .. math:: L = \frac{1}{B} \sum_{b,k} w_{bk} \sum_{x, y} SmoothL1((s - g) / \sigma)

    RLE's own loss has :math:`|s - y| / \sigma`. It does not teach sigma and the flow, which are
    to say how far the student is from the labels, not from a guide.

    Args:
        student: Coordinates (B, K, 2), in shares of the picture's width and height.
        guide: The same of a guide. Not detached here.
        sigma: In (0, 1), of the student (B, K, 2); a constant.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
        size_average: False: not divided by B.

    Returns:
        A scalar, in float32 at least.
    """
    residual = (wide(student) - wide(guide)) / (sigma + 1e-9)
    loss = F.smooth_l1_loss(residual, torch.zeros_like(residual), reduction='none').sum(-1)
    loss = (loss if weight is None else loss * weight).sum()
    return loss / len(student) if size_average else loss


def _as_labels(module: nn.Module, student: Tensor, guide: Tensor, weight: Tensor) -> Tensor:
    """A loss of coordinates (B, K, 2) that also knows no keypoint of weight 0."""
    student, weight = wide(student), weight[..., None]
    # some of these losses can be told to ignore the weights: there the student is its own label
    return module(student, wide(guide).where(weight > 0, student.detach()), weight)


def _masked(weight: Tensor, module: Optional[nn.Module]) -> Tensor:
    """Keypoint weights (B, K) with the ones that ``KLDiscretLoss`` gives some keypoints."""
    mask = getattr(module, 'mask', None)
    if mask is None:
        return weight
    weight = weight.clone()
    weight[:, mask] *= module.mask_weight
    return weight
