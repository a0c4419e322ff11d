"""Losses across representations: what they share, and two by which a heatmap teaches coordinates.

Liu et al., "Boosting Pose Estimators via Cross-Representation Distillation", ECCV Workshops 2024,
https://doi.org/10.1007/978-3-031-91575-8_21. OUR RECONSTRUCTION: the abstract names such a loss,
the paper's formula could not be had.

The loss by which a heatmap teaches bins is in ``simcc_loss.py``.
"""

from __future__ import annotations

from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor, nn

from ..core.checks import built_by, checked_factor, refusal
from ..core.loss import DistillationLoss, scaled, upcast
from .reading import Window, decode_heatmaps, pixel_size, render_gaussians


def cross_coordinates(
    student: Tensor,
    heatmaps: Tensor,
    pixel: Tensor,
    target_weight: Optional[Tensor] = None,
    beta: float = 1.0,
    window: Optional[Window] = None,
) -> Tensor:
    """SmoothL1 between coordinates and the heatmaps' peaks, weighted by the peaks' heights.

    Args:
        student: Normalised coordinates (B, K, 2).
        heatmaps: Of the teacher (B, K, H, W); constants. A peak is clamped to [0, 1], so an
            unsure teacher says little.
        pixel: A heatmap pixel in normalised coordinates (2,), see :func:`pixel_size`.
        target_weight: Keypoint weights (B, K). None: all 1.
        beta: Difference up to which the loss is quadratic.
        window: In which a peak's place is read, see :func:`decode_heatmaps`.

    Returns:
        A scalar, the mean over B K 2, computed in float32 at least.
    """
    student = upcast(student)
    coords, peaks = decode_heatmaps(heatmaps, window=window)
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
    rendered = render_gaussians(upcast(student) / pixel, heatmaps.shape[:1:-1], sigma)
    loss = (rendered - heatmaps.detach().to(rendered.dtype)).square().mean((2, 3))  # (B, K)
    return (loss if target_weight is None else loss * target_weight).mean()


class CrossRepresentationLoss(DistillationLoss):
    """Settings that the losses share, and how they learn of the two codecs.

    Args:
        heatmap_codec (dict, optional): Codec of the teacher's heatmaps. None: the one that
            :meth:`bind` is given.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.

    Raises:
        ValueError: A setting out of its range.
    """

    teaches = 'coordinates'  # or 'bins': what the student's head puts out
    same_shape = False

    def __init__(
        self,
        heatmap_codec: Optional[dict] = None,
        use_target_weight: bool = True,
        loss_weight: float = 1.0,
    ):
        super().__init__(use_target_weight, loss_weight)
        self.codec: Optional[BaseKeypointCodec] = None
        if heatmap_codec is not None:
            key = f'{self.key}.heatmap_codec'
            self.codec = built_by(KEYPOINT_CODECS, heatmap_codec, key)
            pixel_size(self.codec, key)
        self.bound = False

    def bind(
        self,
        head: nn.Module,
        heatmap_codec: Optional[BaseKeypointCodec] = None,
        codec_key: Optional[str] = None,
    ) -> None:
        """Learn from both sides what their numbers mean; needed once, before the first loss.

        Args:
            head: The student's head, with its ``decoder``.
            heatmap_codec: The teacher's; in place of the one in the config.
            codec_key: Name of the config key that holds it, for messages.

        Raises:
            ValueError: The head is of another kind, or no or a wrong codec is known.
        """
        own_key = f'{self.key}.heatmap_codec'
        key = codec_key if heatmap_codec is not None and codec_key else own_key
        self.codec = self.codec if heatmap_codec is None else heatmap_codec
        if self.codec is None:
            missing = f'{codec_key}=None and {own_key}' if codec_key else own_key
            raise refusal(missing, None, "give the codec of the teacher's heatmaps")
        simcc = hasattr(getattr(head, 'decoder', None), 'simcc_split_ratio')
        if simcc != (self.teaches == 'bins'):
            raise ValueError(
                f'{self.key} teaches {self.teaches}, and {type(head).__name__} predicts '
                f'{"bins" if simcc else "none of that, or has no decoder of that kind"}: give '
                f'{"CrossSimCCLoss" if simcc else "CrossCoordinateLoss or CrossHeatmapLoss"}'
            )
        self.pixel_size = pixel_size(self.codec, key)
        self.register_buffer('pixel', torch.tensor(self.pixel_size), persistent=False)
        self.bound = True

    def used(self, target_weight: Optional[Tensor]) -> Optional[Tensor]:
        """The keypoint weights (B, K), None if they are to be ignored.

        Raises:
            RuntimeError: :meth:`bind` was never called.
        """
        if not self.bound:
            raise RuntimeError(f'{self.key}: call bind(head, heatmap_codec) first')
        return super().used(target_weight)


@MODELS.register_module()
class CrossCoordinateLoss(CrossRepresentationLoss):
    """:func:`cross_coordinates` with its settings.

    Liu et al., ECCV Workshops 2024, https://doi.org/10.1007/978-3-031-91575-8_21; reconstructed.

    Args:
        beta (float): Difference, in normalised coordinates, up to which the loss is quadratic.
            At 1, as in MMPose's ``SmoothL1Loss``, it always is.
        heatmap_codec, use_target_weight, loss_weight: See :class:`CrossRepresentationLoss`.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(self, beta: float = 1.0, **settings):
        super().__init__(**settings)
        self.beta = checked_factor(beta, f'{self.key}.beta')

    def bind(
        self,
        head: nn.Module,
        heatmap_codec: Optional[BaseKeypointCodec] = None,
        codec_key: Optional[str] = None,
    ) -> None:
        """Make the window for heatmaps of this size as well."""
        super().bind(head, heatmap_codec, codec_key)
        width, height = self.codec.heatmap_size
        for name, value in Window.of(height, width)._asdict().items():
            self.register_buffer(f'window_{name}', value, persistent=False)

    @property
    def window(self) -> Window:
        """In which a peak's place is read; it moves with the module."""
        return Window(*(getattr(self, f'window_{name}') for name in Window._fields))

    def forward(
        self, student: Tensor, heatmaps: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss of (B, K, 2 or more), of which x and y are used (RLE: mu)."""
        weight = self.used(target_weight)
        loss = cross_coordinates(
            student[..., :2], heatmaps, self.pixel, weight, self.beta, self.window
        )
        return scaled(loss, self.loss_weight)


@MODELS.register_module()
class CrossHeatmapLoss(CrossRepresentationLoss):
    """:func:`cross_heatmaps` with its settings.

    Liu et al., ECCV Workshops 2024, https://doi.org/10.1007/978-3-031-91575-8_21; reconstructed.

    Sigma is that of the heatmaps' codec. The heights of the teacher's peaks are part of the
    target. A coordinate far from the peak gets no gradient, so it goes together with a loss that
    has one.

    Args:
        heatmap_codec, use_target_weight, loss_weight: See :class:`CrossRepresentationLoss`.

    Raises:
        ValueError: A setting out of its range.
    """

    def forward(
        self, student: Tensor, heatmaps: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss of (B, K, 2 or more), of which x and y are used (RLE: mu)."""
        weight = self.used(target_weight)
        loss = cross_heatmaps(student[..., :2], heatmaps, self.pixel, self.codec.sigma, weight)
        return scaled(loss, self.loss_weight)
