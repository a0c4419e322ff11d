"""The loss across representations by which a heatmap teaches distributions over bins (SimCC).

Liu et al., "Boosting Pose Estimators via Cross-Representation Distillation", ECCV Workshops 2024,
https://doi.org/10.1007/978-3-031-91575-8_21. OUR RECONSTRUCTION: the abstract names such a loss,
the paper's formula could not be had.
"""

from __future__ import annotations

from typing import Optional

import torch
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import checked_bool, checked_factor
from ..core.loss import softmax_kl, upcast
from .losses import CrossRepresentationLoss
from .reading import interpolation, marginals, matching_power


def cross_simcc(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    confidence: Tensor,
    target_weight: Optional[Tensor] = None,
    temperature: float = 1.0,
    beta: float = 1.0,
) -> Tensor:
    """T^2 KL(teacher || student) over the bins, summed over the axes.

    Args:
        student: Of x and y the logits (B, K, bins).
        teacher: Of x and y the logarithms of distributions (B, K, bins), up to a constant.
        confidence: Of the teacher (B, K), in [0, 1].
        target_weight: Keypoint weights (B, K). None: all 1.
        temperature: T > 0: both are divided by it before the softmax.
        beta: Of the head's loss: the logits are multiplied by it as well.

    Returns:
        A scalar, the mean over B K, computed in float32 at least.
    """
    weight = confidence if target_weight is None else confidence * target_weight
    total = 0.0
    for s, t in zip(student, teacher):
        s = upcast(s)  # times beta the logits may not fit half precision
        s = s if beta == 1 else s * beta
        if temperature != 1:
            s, t = s / temperature, t / temperature
        total = total + softmax_kl(s, t)  # (B, K)
    return (total * weight).mean() * temperature**2


@MODELS.register_module()
class CrossSimCCLoss(CrossRepresentationLoss):
    """:func:`cross_simcc` with its settings.

    Liu et al., ECCV Workshops 2024, https://doi.org/10.1007/978-3-031-91575-8_21; reconstructed.

    The heatmap's marginals are read at the bins, and made what the student's own loss makes of
    its labels: as wide as these (``match_width``), then divided by their sum, or put through a
    softmax if the head's loss has ``label_softmax``. So a perfect heatmap teaches the label.

    Args:
        temperature (float): T > 0, see :func:`cross_simcc`.
        match_width (bool): False leaves the marginals as wide as the heatmap's Gaussian, which is
            a few times wider than a usual SimCC label.
        heatmap_codec, use_target_weight, loss_weight: See :class:`CrossRepresentationLoss`.

    Raises:
        ValueError: A setting out of its range.
    """

    teaches = 'bins'

    def __init__(self, temperature: float = 1.0, match_width: bool = True, **settings):
        super().__init__(**settings)
        self.temperature = checked_factor(temperature, f'{self.key}.temperature')
        self.match_width = checked_bool(match_width, f'{self.key}.match_width')

    def bind(
        self,
        head: nn.Module,
        heatmap_codec: Optional[BaseKeypointCodec] = None,
        codec_key: Optional[str] = None,
    ) -> None:
        """Learn beta and ``label_softmax`` of the head's loss as well."""
        super().bind(head, heatmap_codec, codec_key)
        label, loss = head.decoder, head.loss_module
        self.beta = getattr(loss, 'beta', 1.0)
        self.label_beta = loss.label_beta if getattr(loss, 'label_softmax', False) else None
        power, height = [], []
        for axis, name in enumerate('xy'):
            in_bins = label.input_size[axis] * label.simcc_split_ratio
            pixel = self.pixel_size[axis] * in_bins
            matrix = interpolation(self.codec.heatmap_size[axis], int(in_bins), pixel)
            self.register_buffer(f'to_bins_{name}', matrix, persistent=False)
            gaussian = self.match_width and label.smoothing_type == 'gaussian'
            sigma = float(label.sigma[axis])
            power.append(matching_power(self.codec.sigma, pixel, sigma) if gaussian else 1.0)
            height.append(1 / (sigma * (2 * torch.pi) ** 0.5) if label.normalize else 1.0)
        self.power, self.height = tuple(power), tuple(height)

    def teacher(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Of x and y the logarithms of the taught distributions (B, K, bins)."""
        rows = marginals(heatmaps, (self.to_bins_x, self.to_bins_y), self.power)
        if self.label_beta is None:
            return tuple(r.clamp(min=1e-12).log() for r in rows)
        return tuple(self.label_beta * h * r for r, h in zip(rows, self.height))

    def forward(
        self,
        student: tuple[Tensor, Tensor],
        heatmaps: Tensor,
        target_weight: Optional[Tensor] = None,
    ) -> Tensor:
        """The weighted loss; arguments as in :func:`cross_simcc`, and heatmaps (B, K, H, W)."""
        weight = self.used(target_weight)
        confidence = upcast(heatmaps.detach().flatten(2).amax(-1).clamp(0, 1))
        loss = cross_simcc(
            student, self.teacher(heatmaps), confidence, weight, self.temperature, self.beta
        )
        return self.loss_weight * loss
