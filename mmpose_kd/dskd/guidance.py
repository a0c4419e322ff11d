"""What guides teach a student in one step: their outputs without noise, a loss for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

from ..core.checks import built, checked_choice, checked_number, refusal
from ..core.head_output import near, positions
from .losses import HeatmapClassificationLoss, OwnLoss, own_loss

CHOICES = {
    'form': ('soft', 'hard', 'raw'),
    'cls_target': ('ground_truth', 'guides'),
    'below_floor': ('zero', 'skip'),
}

# what is taken for a setting left at None
DEFAULTS = dict(
    form='soft', threshold=0.5, floor=0.1, cls={}, cls_target='ground_truth', below_floor='zero'
)


def guide_maps(
    maps: Tensor, form: str = 'soft', threshold: float = 0.5, floor: float = 0.1
) -> Tensor:
    """What a student is to learn of a guide's heatmaps (B, K, H, W).

    Args:
        maps: The guide's heatmaps.
        form: ``'soft'``: :func:`denoise`; ``'hard'``: :func:`binarize`; ``'raw'``: as they are.
        threshold, floor: See :func:`binarize`.
    """
    if form == 'raw':
        return maps
    return (denoise if form == 'soft' else binarize)(maps, threshold, floor)


def binarize(maps: Tensor, threshold: float = 0.5, floor: float = 0.1) -> Tensor:
    r"""Bits of heatmaps: 1 near the peak, 0 elsewhere, and all 0 in a map without a peak.

    .. math:: B(H) = 1 \text{ where } H \ge \tau \max H \text{, else } 0;
        \quad B(H) = 0 \text{ if } \max H < c

    Wu et al., "Lightweight Human Pose Estimation Based on Densely Guided Self-Knowledge
    Distillation", ICANN 2023 (https://doi.org/10.1007/978-3-031-44210-0_34) binarise the
    teachers' heatmaps against their noise. Their formula could not be had: this one is our
    reconstruction from the abstract.

    Args:
        maps: Heatmaps (B, K, H, W), any range; ground truth peaks at 1.
        threshold: :math:`\tau` in (0, 1], relative to the map's own peak. At 0.5 a Gaussian of
            sigma 2 leaves 21 pixels.
        floor: :math:`c > 0`, the least peak of a map that says anything.

    Returns:
        0 and 1, in the shape and type of ``maps``; without gradient.
    """
    maps = maps.detach()
    peak = maps.amax((-2, -1), keepdim=True)
    return ((maps >= threshold * peak) & (peak >= floor)).to(maps.dtype)


def denoise(maps: Tensor, threshold: float = 0.5, floor: float = 0.1) -> Tensor:
    """H times its bits: the shape of the peak stays, all else is 0. See :func:`binarize`."""
    # not a product: what is infinite or nan outside the peak must not come back
    return maps.where(binarize(maps, threshold, floor) > 0, torch.zeros_like(maps))


def has_peak(maps: Tensor, floor: float = 0.1) -> Tensor:
    """1 where a heatmap (B, K, H, W) has a peak of at least ``floor``, else 0: (B, K)."""
    maps = maps.detach()
    return (maps.amax((-2, -1)) >= floor).to(maps.dtype)


def peak_bits(maps: Tensor, floor: float = 0.1) -> Tensor:
    """1 at the highest pixel of each heatmap (..., H, W), all 0 where it is below ``floor``.

    Of several equally high pixels one is taken, so that the bits of a map sum to 1 or 0.
    """
    flat = maps.detach().flatten(-2)
    peak, place = flat.max(-1, keepdim=True)
    return torch.zeros_like(flat).scatter(-1, place, (peak >= floor).to(flat)).view_as(maps)


def peak_distribution(maps: Tensor, kappa: float = 10.0, floor: float = 0.1) -> Tensor:
    r"""Softmax over the positions of each heatmap (..., H, W), all 0 where its peak is below
    ``floor``.

    .. math:: t = softmax(\kappa H)

    Our addition. A cross-entropy against it is least where a student's :math:`softmax(\kappa S)`
    is the same: unlike :func:`peak_bits` it does not ask for a sharper peak than the map has.

    Args:
        maps: Heatmaps, ground truth peaks at 1.
        kappa: :math:`\kappa > 0`.
        floor: The least peak of a map that says anything.
    """
    flat = maps.detach().flatten(-2)
    certain = flat.amax(-1, keepdim=True) >= floor
    return ((kappa * flat).softmax(-1) * certain).view_as(maps)


class Guidance:
    """The losses of a student that its guides have a part in, without their weights alpha, gamma.

    A guide's output is a list of constants, see :func:`read_output`: of heatmaps [(B, K, H, W)],
    of SimCC's bins logits [(B, K, bins of x), (B, K, bins of y)], of coordinates [(B, K, 2)].
    The settings are about heatmaps; None takes the default.

    Args:
        form: What is learned of a guide's heatmaps, see :func:`guide_maps`. None: ``'soft'``.
        threshold, floor: See :func:`binarize`. None: 0.5 and 0.1.
        cls: Arguments of :class:`HeatmapClassificationLoss`. None: its defaults.
        cls_target: Whose maps the targets of the classification are made of:
            ``'ground_truth'``, or ``'guides'``, of whose targets the mean is taken. None: the
            first.
        below_floor: What a guide's map teaches whose peak is below ``floor``. ``'zero'``: that
            nothing is there, as in the reconstruction (``'raw'`` knows no floor). ``'skip'``,
            our addition: nothing at all; for this guide the keypoint has weight 0, and the mean
            is over all keypoints as before. None: ``'zero'``.
        key: Name of the config key, for messages.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(
        self,
        form: Optional[str] = None,
        threshold: Optional[float] = None,
        floor: Optional[float] = None,
        cls: Optional[dict] = None,
        cls_target: Optional[str] = None,
        below_floor: Optional[str] = None,
        key: str = 'DSKDHook',
    ):
        self.key = key
        settings = dict(form=form, threshold=threshold, floor=floor)
        settings.update(cls=cls, cls_target=cls_target, below_floor=below_floor)
        self.given = {name: value for name, value in settings.items() if value is not None}
        settings = {**DEFAULTS, **self.given}
        for name, choices in CHOICES.items():
            checked_choice(settings[name], f'{key}.{name}', choices)
        for name in ('threshold', 'floor'):
            checked_number(settings[name], f'{key}.{name}', above=0, most=1)
        self.form, self.cls_target = settings['form'], settings['cls_target']
        self.threshold, self.floor = settings['threshold'], settings['floor']
        self.below_floor = settings['below_floor']
        self.cls_loss = built(HeatmapClassificationLoss, settings['cls'], f'{key}.cls')

    def check_kind(self, kind: str, gamma: Optional[float]) -> None:
        """Refuse settings that only heatmaps know, for a student without.

        Args:
            kind: What the student puts out, see :func:`head_kind`.
            gamma: Weight of the classification; None is not set.

        Raises:
            ValueError: There is such a setting.
        """
        given = {'gamma': gamma, **self.given} if gamma else self.given
        for name, value in given.items() if kind != 'heatmap' else ():
            give = f'it is for heatmaps, the student puts out {kind}: leave it out'
            raise refusal(f'{self.key}.{name}', value, give)

    def needs_guides(self, alpha: float, gamma: float) -> bool:
        """Whether losses of these weights read what the guides put out."""
        return alpha > 0 or (gamma > 0 and self.cls_target == 'guides')

    # ------------------------------------------------------------------ the two losses

    def guide_losses(
        self,
        kind: str,
        student: Sequence[Tensor],
        guides: Sequence[Sequence[Tensor]],
        weight: Tensor,
        own: Optional[OwnLoss] = None,
    ) -> list[Tensor]:
        r"""Of each guide a loss :math:`l_i`, a scalar: how far the student is from it.

        Args:
            kind: See :func:`head_kind`.
            student: The student's output, see :func:`read_output`.
            guides: The guides' outputs.
            weight: Keypoint weights (B, K), 0 where there is no label.
            own: The loss of one guide. None: that of MMPose's defaults, see :func:`own_loss`.

        Returns:
            ``own``, of heatmaps with D(H_i) in the place of H_i: :math:`||S - D(H_i)||^2_w`.
        """
        own = own or own_loss(kind)
        if kind != 'heatmap':
            return [own(student, guide, weight) for guide in guides]
        losses = []
        for (maps,) in guides:
            taught = guide_maps(maps, self.form, self.threshold, self.floor)
            losses.append(own(student, [taught], weight * self._speaks(maps)))
        return losses

    def classification_loss(
        self,
        student: Sequence[Tensor],
        guides: Sequence[Sequence[Tensor]],
        truth: Sequence[Tensor],
        weight: Tensor,
    ) -> Tensor:
        r"""Of a student with heatmaps :math:`L_{cls}`, a scalar.

        It is 0 where the targets are made of guides' maps and there are no guides.

        Args:
            student: The student's output.
            guides: The guides' outputs.
            truth: The ground truth in the same form; its heatmaps peak at 1.
            weight: Keypoint weights (B, K), 0 where there is no label.
        """
        (maps,) = student
        if self.cls_target == 'ground_truth':
            return self.cls_loss(maps, self._classes(truth[0]), weight)
        if not guides:
            return maps.new_zeros((), dtype=torch.float32)
        number = sum(self._speaks(guide[0]) for guide in guides)  # (B, K)
        # a guide that says nothing of a keypoint adds nothing: its classes are 0 without a peak
        total = sum(self._classes(guide[0]) for guide in guides)
        mean = total / number.clamp(min=1)[..., None, None]
        return self.cls_loss(maps, mean, weight * (number > 0))

    def _speaks(self, maps: Tensor) -> Tensor:
        """1 where a guide's heatmap (B, K, H, W) tells of its keypoint, else 0: (B, K)."""
        if self.below_floor == 'skip':
            return has_peak(maps, self.floor)
        return maps.new_ones(maps.shape[:2])

    def _classes(self, maps: Tensor) -> Tensor:
        """Targets of the classification (B, K, H, W), of heatmaps; 0 where there is no peak."""
        maps = maps.float()
        if self.cls_loss.form == 'softmax':
            return peak_bits(maps, self.floor)
        if self.cls_loss.form == 'distribution':
            return peak_distribution(maps, self.cls_loss.kappa, self.floor)
        return binarize(maps, self.threshold, self.floor)

    # ------------------------------------------------------------------ for the log

    @torch.no_grad()
    def statistics(
        self,
        kind: str,
        guides: Sequence[Sequence[Tensor]],
        truth: Sequence[Tensor],
        weight: Tensor,
        losses: Sequence[Tensor] = (),
    ) -> list[dict[str, Tensor]]:
        """How good each guide is, in scalars on the device.

        Args:
            kind: See :func:`head_kind`.
            guides: The guides' outputs.
            truth: The ground truth in the same form.
            weight: Keypoint weights (B, K), 0 where there is no label.
            losses: From :meth:`guide_losses`, if they were needed.

        Returns:
            For each guide ``agreement``: share of the labelled keypoints that it puts within 5 %
            of the map's (or picture's) width and height of the ground truth; of heatmaps
            ``kept``: share of the pixels that :func:`denoise` keeps, 0.007 for a Gaussian of
            sigma 2 on 64 x 48; and with ``losses`` its own as ``kd``.
        """
        truth = positions(kind, truth)
        labelled = (weight > 0).to(torch.float32)
        found = []
        for guide in guides:
            found_by_it = near(positions(kind, guide), truth)  # (B, K)
            share = (found_by_it * labelled).sum() / labelled.sum().clamp(min=1.0)
            one = {'agreement': share}
            if kind == 'heatmap':
                one['kept'] = binarize(guide[0], self.threshold, self.floor).mean()
            found.append(one)
        for one, loss in zip(found, losses):
            one['kd'] = loss.detach()
        return found
