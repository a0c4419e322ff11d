"""Cross-representation losses: what they share, and a heatmap that teaches coordinates."""

from __future__ import annotations

from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor, nn

from ...codecs.grid import pixel_size
from .heatmap_reading import decode_heatmaps, render_gaussians


def cross_coordinates(
    student: Tensor,
    heatmaps: Tensor,
    pixel: Tensor,
    target_weight: Optional[Tensor] = None,
    beta: float = 1.0,
) -> Tensor:
    """SmoothL1 between coordinates and the heatmaps' peaks, weighted by the peaks' heights.

    Args:
        student: Normalised coordinates (B, K, 2).
        heatmaps: Of the teacher (B, K, H, W); constants. A peak is clamped to [0, 1], so an
            unsure teacher says little.
        pixel: A heatmap pixel in normalised coordinates (2,), see :func:`pixel_size`.
        target_weight: Keypoint weights (B, K). None: all 1.
        beta: Difference up to which the loss is quadratic.

    Returns:
        A scalar, the mean over B K 2, computed in float32 at least.
    """
    student = student.to(torch.promote_types(student.dtype, torch.float32))
    coords, peaks = decode_heatmaps(heatmaps)
    weight = peaks.clamp(0, 1)
    if target_weight is not None:
        weight = weight * target_weight
    target = (coords * pixel).to(student.dtype)
    loss = F.smooth_l1_loss(student, target, reduction='none', beta=beta)
    return (loss * weight[..., None]).mean()


def cross_heatmaps(
    student: Tensor,
    heatmaps: Tensor,
    pixel: Tensor,
    sigma: float,
    target_weight: Optional[Tensor] = None,
) -> Tensor:
    """Mean squared error between Gaussians at the student's coordinates and the heatmaps.

    Args:
        student, heatmaps, pixel, target_weight: As in :func:`cross_coordinates`.
        sigma: Of the Gaussians, in heatmap pixels.

    Returns:
        A scalar, the mean over B K H W, computed in float32 at least.
    """
    student = student.to(torch.promote_types(student.dtype, torch.float32))
    rendered = render_gaussians(student / pixel, heatmaps.shape[:1:-1], sigma)
    loss = (rendered - heatmaps.detach().to(rendered.dtype)).square().mean((2, 3))  # (B, K)
    return (loss if target_weight is None else loss * target_weight).mean()


class CrossRepresentationLoss(nn.Module):
    """Settings that the losses share, and how they learn of the two codecs.

    Args:
        heatmap_codec (dict, optional): Codec of the teacher's heatmaps. None: :meth:`bind` is
            told.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.

    Raises:
        ValueError: A setting out of its range.
    """

    teaches = 'coordinates'  # or 'bins': what the student's head puts out
    same_shape = False  # of the student's and the teacher's output

    def __init__(
        self,
        heatmap_codec: Optional[dict] = None,
        use_target_weight: bool = True,
        loss_weight: float = 1.0,
    ):
        super().__init__()
        if not loss_weight >= 0:
            raise ValueError(f'{self._name}.loss_weight={loss_weight!r}: give 0 or more')
        self.codec = None if heatmap_codec is None else KEYPOINT_CODECS.build(heatmap_codec)
        self.use_target_weight = use_target_weight
        self.loss_weight = loss_weight
        self.bound = False

    @property
    def _name(self) -> str:
        return type(self).__name__

    def bind(self, head: nn.Module, heatmap_codec: Optional[BaseKeypointCodec] = None) -> None:
        """Learn from both sides what their numbers mean; needed once, before the first loss.

        Args:
            head: The student's head, with its ``decoder``.
            heatmap_codec: The teacher's; in place of the one in the config.

        Raises:
            ValueError: The head is of another kind, or no or a wrong codec is known.
        """
        self.codec = heatmap_codec or self.codec
        if self.codec is None:
            raise ValueError(
                f"{self._name}.heatmap_codec=None: give the codec of the teacher's heatmaps"
            )
        simcc = hasattr(getattr(head, 'decoder', None), 'simcc_split_ratio')
        if simcc != (self.teaches == 'bins'):
            raise ValueError(
                f'{self._name} teaches {self.teaches}, and {type(head).__name__} predicts '
                f'{"bins" if simcc else "none of that, or has no decoder of that kind"}: give '
                f'{"CrossSimCCLoss" if simcc else "CrossCoordinateLoss or CrossHeatmapLoss"}'
            )
        pixel = pixel_size(self.codec, f'{self._name}.heatmap_codec')
        self.register_buffer('pixel', torch.tensor(pixel), persistent=False)
        self.bound = True

    def _weight(self, target_weight: Optional[Tensor]) -> Optional[Tensor]:
        if not self.bound:
            raise RuntimeError(f'{self._name}: call bind(head, heatmap_codec) first')
        return target_weight if self.use_target_weight else None


@MODELS.register_module()
class CrossCoordinateLoss(CrossRepresentationLoss):
    """:func:`cross_coordinates` with its settings.

    Liu et al., "Boosting Pose Estimators via Cross-Representation Distillation", ECCV Workshops
    2024, https://doi.org/10.1007/978-3-031-91575-8_21. OUR RECONSTRUCTION: the abstract names such
    a loss, the paper's formula could not be had.

    Args:
        beta (float): Difference, in normalised coordinates, up to which the loss is quadratic.
            At 1, as in MMPose's ``SmoothL1Loss``, it always is.
        heatmap_codec, use_target_weight, loss_weight: See :class:`CrossRepresentationLoss`.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(self, beta: float = 1.0, **settings):
        super().__init__(**settings)
        if not beta > 0:
            raise ValueError(f'{self._name}.beta={beta!r}: give a number above 0')
        self.beta = beta

    def forward(
        self, student: Tensor, heatmaps: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss of (B, K, 2 or more), of which x and y are used (RLE: mu)."""
        weight = self._weight(target_weight)
        loss = cross_coordinates(student[..., :2], heatmaps, self.pixel, weight, self.beta)
        return self.loss_weight * loss


@MODELS.register_module()
class CrossHeatmapLoss(CrossRepresentationLoss):
    """:func:`cross_heatmaps` with its settings, sigma that of the codec.

    The heights of the teacher's peaks are part of the target. A coordinate far from the peak
    gets no gradient, so it goes together with a loss that has one.

    Liu et al., "Boosting Pose Estimators via Cross-Representation Distillation", ECCV Workshops
    2024, https://doi.org/10.1007/978-3-031-91575-8_21. OUR RECONSTRUCTION: the abstract names such
    a loss, the paper's formula could not be had.

    Args:
        heatmap_codec, use_target_weight, loss_weight: See :class:`CrossRepresentationLoss`.

    Raises:
        ValueError: A setting out of its range.
    """

    def forward(
        self, student: Tensor, heatmaps: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss of (B, K, 2 or more), of which x and y are used (RLE: mu)."""
        weight = self._weight(target_weight)
        loss = cross_heatmaps(student[..., :2], heatmaps, self.pixel, self.codec.sigma, weight)
        return self.loss_weight * loss
