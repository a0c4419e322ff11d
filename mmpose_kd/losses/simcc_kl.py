"""Divergence of two SimCC predictions."""

from __future__ import annotations

from typing import Optional

from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import checked_factor
from ..core.loss import DistillationLoss, scaled, softmax_kl, upcast


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
        kl = softmax_kl(upcast(s) * beta, upcast(t) * beta)  # (B, K)
        total = total + (kl if target_weight is None else kl * target_weight)
    return total.mean()


@MODELS.register_module()
class SimCCKLLoss(DistillationLoss):
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
        super().__init__(use_target_weight, loss_weight)
        self.beta = checked_factor(beta, f'{self.key}.beta', optional=True)

    def bind(self, head: nn.Module, heatmap_codec=None, codec_key=None) -> None:
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
        loss = simcc_kl(student, teacher, self.used(target_weight), self.beta)
        return scaled(loss, self.loss_weight)
