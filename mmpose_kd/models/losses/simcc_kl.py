"""Divergence of two SimCC predictions."""

from __future__ import annotations

from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.registry import MODELS
from torch import Tensor, nn


def simcc_kl(
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
    target_weight: Optional[Tensor] = None,
    beta: float = 1.0,
) -> Tensor:
    """KL(teacher || student) of the distributions over bins, summed over the axes.

    The logit loss of DWPose (Yang et al., "Effective Whole-body Pose Estimation with Two-stages
    Distillation", ICCV workshops 2023, https://arxiv.org/abs/2307.15880).

    Args:
        student: For each axis the logits (B, K, bins).
        teacher: The same of the teacher; constants.
        target_weight: Keypoint weights (B, K). None: all 1.
        beta: Both are multiplied by it before the softmax.

    Returns:
        A scalar, divided by B K, computed in float32 at least.
    """
    total = 0.0
    for s, t in zip(student, teacher):
        s, t = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (s, t))
        log_s = F.log_softmax(s * beta, dim=-1)
        log_t = F.log_softmax(t * beta, dim=-1)
        kl = (log_t.exp() * (log_t - log_s)).sum(-1)  # (B, K)
        total = total + (kl if target_weight is None else kl * target_weight)
    return total.mean()


@MODELS.register_module()
class SimCCKLLoss(nn.Module):
    """:func:`simcc_kl` with its settings, as a loss of :class:`PoseDistiller`.

    Its entry names two outputs: ``student=('head.cls_x', 'head.cls_y')``.

    Args:
        beta (float, optional): See :func:`simcc_kl`. None takes the one of the student head's
            loss.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights, as DWPose does.
        loss_weight (float): Factor of the loss, at least 0.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(
        self,
        beta: Optional[float] = None,
        use_target_weight: bool = True,
        loss_weight: float = 1.0,
    ):
        super().__init__()
        if beta is not None and not beta > 0:
            raise ValueError(f'SimCCKLLoss.beta={beta!r}: give a number above 0, or None')
        if not loss_weight >= 0:
            raise ValueError(f'SimCCKLLoss.loss_weight={loss_weight!r}: give 0 or more')
        self.beta = beta
        self.use_target_weight = use_target_weight
        self.loss_weight = loss_weight

    def bind(self, head: nn.Module) -> None:
        """Take what was left open from the student's head.

        Raises:
            ValueError: The loss needs a beta, and the head's loss has none.
        """
        if self.beta is None:
            self.beta = getattr(getattr(head, 'loss_module', None), 'beta', None)
        self._check_beta()

    def _check_beta(self) -> None:
        if self.beta is None:
            raise ValueError(
                "SimCCKLLoss.beta=None: the student's head has no loss_module.beta to take; give "
                'a number'
            )

    def forward(
        self,
        student: tuple[Tensor, ...],
        teacher: tuple[Tensor, ...],
        target_weight: Optional[Tensor] = None,
    ) -> Tensor:
        """The weighted loss, a scalar; arguments as in :func:`simcc_kl`."""
        self._check_beta()
        weight = target_weight if self.use_target_weight else None
        return self.loss_weight * simcc_kl(student, teacher, weight, self.beta)
