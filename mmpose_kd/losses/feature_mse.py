"""Squared difference of feature maps."""

from __future__ import annotations

from mmpose.registry import MODELS
from torch import Tensor

from ..core.checks import checked_choice
from ..core.loss import DistillationLoss, scaled

DIVISOR = ('elements', 'batch')


def feature_mse(student: Tensor, teacher: Tensor, divisor: str = 'elements') -> Tensor:
    """Squared difference of two feature maps.

    Args:
        student: Features (B, C, H, W), already brought to the teacher's channels.
        teacher: Features of the same shape; constants.
        divisor: What the sum of squares is divided by. ``'elements'``: B C H W, the mean;
            ``'batch'``: B, as in DWPose (Yang et al., "Effective Whole-body Pose Estimation
            with Two-stages Distillation", ICCV workshops 2023,
            https://arxiv.org/abs/2307.15880).

    Returns:
        A scalar.
    """
    squares = (student - teacher).square()
    return squares.mean() if divisor == 'elements' else squares.sum() / student.shape[0]


@MODELS.register_module()
class FeatureMSELoss(DistillationLoss):
    """:func:`feature_mse` as a loss of :class:`PoseDistiller`.

    Where the channels differ, give the entry an adapter, for example
    ``adapter=dict(type='Conv2d', in_channels=..., out_channels=..., kernel_size=1)``.

    Args:
        divisor (str): ``'elements'`` or ``'batch'``, see :func:`feature_mse`.
        loss_weight (float): Factor of the loss, at least 0.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(self, divisor: str = 'elements', loss_weight: float = 1.0):
        super().__init__(loss_weight=loss_weight)
        self.divisor = checked_choice(divisor, f'{self.key}.divisor', DIVISOR)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The weighted loss, a scalar; arguments as in :func:`feature_mse`."""
        return scaled(feature_mse(student, teacher, self.divisor), self.loss_weight)
