"""The heatmap loss of the OKDHP release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

from mmpose.registry import MODELS
from torch import Tensor

from ..core.loss import DistillationLoss, scaled
from ..core.recipe import type_name


def joints_mse(output: Tensor, target: Tensor, target_weight: Optional[Tensor] = None) -> Tensor:
    """Mean over keypoints of half the mean squared difference of weighted heatmaps.

    For weights of 0 and 1 this is half of MMPose's ``KeypointMSELoss``; other weights count
    squared here and plainly there.

    Args:
        output: Predicted heatmaps (B, K, H, W).
        target: Ground-truth heatmaps (B, K, H, W).
        target_weight: Keypoint weights (B, K), multiplied to both maps. None: all 1.

    Returns:
        A scalar.
    """
    difference = output - target
    if target_weight is not None:
        difference = difference * target_weight[..., None, None]
    return 0.5 * difference.square().mean()


@MODELS.register_module()
class JointsMSELoss(DistillationLoss):
    """:func:`joints_mse` as a loss module of a heatmap head.

    Args:
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.
        key (str, optional): Name of the config key, for messages.

    Raises:
        ValueError: A setting out of its range.
    """

    def forward(
        self, output: Tensor, target: Tensor, target_weights: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss, a scalar; arguments as in :func:`joints_mse`."""
        loss = joints_mse(output, target, self.used(target_weights))
        return scaled(loss, self.loss_weight)

    @staticmethod
    def plain(cfg: Union[dict, Sequence[dict]]) -> Union[dict, list[dict]]:
        """The stock loss that stands in an exported config: the same for weights of 0 and 1.

        Other losses, and lists of losses (one per stage), are taken as they are.
        """
        if isinstance(cfg, (list, tuple)):
            return [JointsMSELoss.plain(one) for one in cfg]
        if type_name(cfg) != 'JointsMSELoss':
            return cfg
        return {
            'type': 'KeypointMSELoss',
            'use_target_weight': cfg.get('use_target_weight', True),
            'loss_weight': 0.5 * cfg.get('loss_weight', 1.0),
        }
