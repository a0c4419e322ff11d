"""Pearson correlation of feature maps as a distillation loss."""

from __future__ import annotations

from mmpose.registry import MODELS
from torch import Tensor

from ..core.loss import DistillationLoss, scaled, upcast


def pearson_distance(student: Tensor, teacher: Tensor, eps: float = 1e-6) -> Tensor:
    r"""1 - r, with r the Pearson correlation of each channel, averaged over the channels.

    Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient", NeurIPS 2022 (https://arxiv.org/abs/2207.02039). Each channel is brought to mean
    0 and deviation 1 over the batch's positions, so that neither its size nor its offset counts:

    .. math:: L = \frac{1}{2 C N} \sum_{c, n} (\hat s_{cn} - \hat t_{cn})^2 = 1 - \bar r

    Args:
        student, teacher: Features (B, C, H, W) of one shape; N = B H W. Nothing is detached here.
        eps: Added to the deviations, so that a constant channel stays finite.

    Returns:
        A scalar in [0, 2], in float32 at least.
    """
    return 0.5 * (_standard(student, eps) - _standard(teacher, eps)).square().mean()


def _standard(feature: Tensor, eps: float) -> Tensor:
    channels = upcast(feature).transpose(0, 1).flatten(1)  # (C, B H W)
    centred = channels - channels.mean(1, keepdim=True)
    return centred / (channels.std(1, unbiased=False, keepdim=True) + eps)


@MODELS.register_module()
class PearsonFeatureLoss(DistillationLoss):
    """:func:`pearson_distance` as a loss of :class:`PoseDistiller`.

    Args:
        loss_weight (float): Factor of the loss, at least 0.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__(loss_weight=loss_weight)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The weighted loss, a scalar; arguments as in :func:`pearson_distance`."""
        return scaled(pearson_distance(student, teacher), self.loss_weight)
