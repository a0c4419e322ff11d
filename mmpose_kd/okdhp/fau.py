"""Feature aggregation unit: how much each branch of OKDHP counts, per keypoint and image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import (
    LARGEST,
    checked_choice,
    checked_init,
    checked_whole,
    is_list,
    is_whole,
    refusal,
)
from .branch import MOST_BRANCHES

FORMS = ('light', 'released', 'paper')


def weighted_ensemble(heatmaps: Tensor, attention: Tensor) -> Tensor:
    """Attention-weighted sum of the branches' heatmaps.

    Args:
        heatmaps: (B, T, K, H, W).
        attention: (B, T, K), summing to 1 over T.

    Returns:
        Ensemble heatmaps (B, K, H, W).
    """
    return torch.einsum('btk,btkhw->bkhw', attention, heatmaps)


def _checked_kernels(sizes: Sequence[int]) -> tuple[int, ...]:
    good = is_list(sizes) and len(sizes) > 0
    if not good or not all(is_whole(k) and 0 < k < 100 and k % 2 for k in sizes):
        raise refusal('fau.kernel_sizes', sizes, 'give odd whole numbers below 100, at least one')
    return tuple(sizes)


@MODELS.register_module()
class FAU(BaseModule):
    """Feature aggregation unit of OKDHP.

    Li et al., "Online Knowledge Distillation for Efficient Pose Estimation", ICCV 2021,
    https://arxiv.org/abs/2108.02092. From an early feature of the trunk it predicts, for each
    image and keypoint, a softmax over the branches. Paper and release differ, so both are here:

    - ``'released'``: U = sum over kernels of ReLU(BN(Conv_k(x))), C to C channels; global
      average; one linear layer to ``mid_channels`` without activation; one linear layer per
      branch to K.
    - ``'paper'``: per kernel Conv k x k then Conv 1 x 1, concatenated and averaged; beside them
      average pool then Conv 1 x 1; all concatenated; one linear layer to T K. The figure
      shows neither normalisation nor activation, and that is how it is read here; widths
      are C throughout (our reading, the figure has no numbers).
    - ``'light'`` (ours, the default): as released, but with depthwise kernels on the feature
      averaged over ``stride`` x ``stride`` cells. At C = 256, 64 x 64 the released form costs
      22 GMAC, more than a 4-stack hourglass; this one costs 0.006.

    Args:
        in_channels (int): C of the feature.
        num_keypoints (int): K.
        num_branches (int): T.
        form (str): ``'light'``, ``'released'`` or ``'paper'``.
        kernel_sizes (Sequence[int]): Odd kernel sizes, in any number.
        mid_channels (int): Width of the bottleneck of the released and light forms.
        stride (int): Cell size of the light form's average pooling.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        num_branches: int,
        form: str = 'light',
        kernel_sizes: Sequence[int] = (3, 5, 7),
        mid_channels: int = 64,
        stride: int = 4,
        init_cfg=None,
    ):
        super().__init__(checked_init(init_cfg, 'fau.init_cfg'))
        self.form = checked_choice(form, 'fau.form', FORMS)
        self.num_branches = checked_whole(num_branches, 'fau.num_branches', 1, MOST_BRANCHES)
        self.num_keypoints = checked_whole(num_keypoints, 'fau.num_keypoints', 1, LARGEST)
        self.stride = checked_whole(stride, 'fau.stride', 1, LARGEST)
        checked_whole(in_channels, 'fau.in_channels', 1, LARGEST)
        checked_whole(mid_channels, 'fau.mid_channels', 1, LARGEST)
        kernel_sizes = _checked_kernels(kernel_sizes)

        if form == 'paper':
            self.kernels = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(in_channels, in_channels, k, padding=k // 2),
                    nn.Conv2d(in_channels, in_channels, 1),
                )
                for k in kernel_sizes
            )
            self.pooled = nn.Conv2d(in_channels, in_channels, 1)
            width = in_channels * (len(kernel_sizes) + 1)
            self.attend = nn.Linear(width, num_branches * num_keypoints)
        else:
            groups = in_channels if form == 'light' else 1
            self.kernels = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(in_channels, in_channels, k, padding=k // 2, groups=groups),
                    nn.BatchNorm2d(in_channels),
                    nn.ReLU(inplace=True),
                )
                for k in kernel_sizes
            )
            self.squeeze = nn.Linear(in_channels, mid_channels)
            # the release's T linear layers, side by side in one
            self.attend = nn.Linear(mid_channels, num_branches * num_keypoints)

    def attention(self, feature: Tensor) -> Tensor:
        """Weights of the branches.

        Args:
            feature: Early feature of the trunk (B, C, H, W).

        Returns:
            Attention (B, T, K), a probability over T.
        """
        if self.form == 'paper':
            pooled = self.pooled(F.adaptive_avg_pool2d(feature, 1))
            parts = [kernel(feature).mean((2, 3)) for kernel in self.kernels]
            v = torch.cat([*parts, pooled.flatten(1)], dim=1)  # (B, C (kernels + 1))
        else:
            if self.form == 'light' and min(feature.shape[-2:]) >= self.stride:
                feature = F.avg_pool2d(feature, self.stride)
            v = sum(kernel(feature) for kernel in self.kernels).mean((2, 3))  # (B, C)
            v = self.squeeze(v)
        logits = self.attend(v).unflatten(1, (self.num_branches, self.num_keypoints))
        return logits.softmax(dim=1)

    def forward(self, feature: Tensor, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh the branches into one ensemble.

        Args:
            feature: Early feature of the trunk (B, C, H, W).
            heatmaps: Last heatmaps of the branches (B, T, K, H', W').

        Returns:
            Ensemble heatmaps (B, K, H', W') and attention (B, T, K).
        """
        attention = self.attention(feature)
        return weighted_ensemble(heatmaps, attention.to(heatmaps.dtype)), attention
