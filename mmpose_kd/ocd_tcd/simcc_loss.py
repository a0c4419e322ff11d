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
from ..core.loss import scaled, softmax_kl, upcast
from .losses import CrossRepresentationLoss
from .reading import both_axes, interpolation, marginals, matching_power

ABSENT = -1e9  # the logit of a bin that an axis does not have


def logits_of_both(along_x: Tensor, along_y: Tensor) -> Tensor:
    """Logits (B, K, bins) of x and y in one tensor (B, K, 2, N), of the larger number of bins."""
    missing = along_y.shape[-1] - along_x.shape[-1]
    if missing == 0:
        return torch.stack([along_x, along_y], 2)
    shape = (*along_x.shape[:2], abs(missing))
    absent = along_x.new_full((1, 1, 1), ABSENT, dtype=torch.float32).expand(shape)
    parts = [along_x, absent, along_y] if missing > 0 else [along_x, along_y, absent]
    return torch.cat(parts, -1).unflatten(-1, (2, -1))


def cross_simcc(
    student: tuple[Tensor, Tensor],
    teacher: Tensor,
    confidence: Tensor,
    target_weight: Optional[Tensor] = None,
    temperature: float = 1.0,
    beta: float = 1.0,
) -> Tensor:
    """T^2 KL(teacher || student) over the bins, summed over the axes.

    Args:
        student: Of x and y the logits (B, K, bins).
        teacher: The logarithms of distributions, up to a constant, as from
            :func:`logits_of_both`: the two axes are computed in one go.
        confidence: Of the teacher (B, K), in [0, 1].
        target_weight: Keypoint weights (B, K). None: all 1.
        temperature: T > 0: both are divided by it before the softmax.
        beta: Of the head's loss: the logits are multiplied by it as well.

    Returns:
        A scalar, the mean over B K, computed in float32 at least.
    """
    weight = confidence if target_weight is None else confidence * target_weight
    # in float32: times beta the logits may not fit half precision
    logits = scaled(upcast(logits_of_both(*student)), beta)
    if temperature != 1:
        logits, teacher = logits / temperature, teacher / temperature
    total = softmax_kl(logits, teacher).sum(-1)  # (B, K)
    return scaled((total * weight).mean(), temperature**2)


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
        softmax = getattr(loss, 'label_softmax', False)
        # MMPose 1.1 has one factor for both
        self.label_beta = getattr(loss, 'label_beta', self.beta) if softmax else None
        matrices, power, height = [], [], []
        for axis in (0, 1):
            in_bins = label.input_size[axis] * label.simcc_split_ratio
            pixel = self.pixel_size[axis] * in_bins
            matrices.append(interpolation(self.codec.heatmap_size[axis], int(in_bins), pixel))
            gaussian = self.match_width and label.smoothing_type == 'gaussian'
            sigma = float(label.sigma[axis])
            power.append(matching_power(self.codec.sigma, pixel, sigma) if gaussian else 1.0)
            height.append(1 / (sigma * (2 * torch.pi) ** 0.5) if label.normalize else 1.0)
        self.narrows = tuple(power) != (1.0, 1.0)
        for name, value in (
            ('to_bins', both_axes(*matrices)),  # (W + H, 2, N)
            ('power', torch.tensor(power)[:, None]),
            ('height', torch.tensor(height)[:, None]),
            ('absent', logits_of_both(*(torch.zeros(1, 1, len(m)) for m in matrices))),
        ):
            self.register_buffer(name, value, persistent=False)

    def teacher(self, heatmaps: Tensor) -> Tensor:
        """The logarithms of the taught distributions, as from :func:`logits_of_both`."""
        rows = marginals(heatmaps, self.to_bins, self.power if self.narrows else None)
        if self.label_beta is None:
            return rows.clamp(min=1e-12).log() + self.absent
        return torch.addcmul(self.absent, rows, self.height, value=self.label_beta)

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
        return scaled(loss, self.loss_weight)
