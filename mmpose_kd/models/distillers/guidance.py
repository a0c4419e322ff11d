"""What a student learns from its guides in one step: DSKD's two losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

from ..heads.head_output import positions, targets
from ..heads.targets import label_weights
from ..losses.binarize import (
    FORMS,
    binarize,
    checked_thresholds,
    guide_maps,
    has_peak,
    peak_bits,
    peak_distribution,
)
from ..losses.dense_guidance import coordinate_smooth_l1, dense_guidance, weighted_mse
from ..losses.heatmap_classification import HeatmapClassificationLoss
from ..losses.simcc_kl import simcc_kl

TARGETS = ('ground_truth', 'guides')
BELOW_FLOOR = ('zero', 'skip')
NEAR = 0.05  # of the map's width and height


class Guidance:
    """The losses between a student's output and its guides', without their weights.

    Args:
        form: Of a guide's heatmaps, see :func:`guide_maps`.
        threshold, floor: See :func:`binarize`.
        cls: Arguments of :class:`HeatmapClassificationLoss`.
        cls_target: Whose maps the targets of the classification are made of:
            ``'ground_truth'``, or ``'guides'``, of whose targets the mean is taken.
        below_floor: What a guide's map teaches whose peak is below ``floor``. ``'zero'``: that
            nothing is there, as in the reconstruction (``'raw'`` knows no floor). ``'skip'``,
            our addition: nothing at all; for this guide the keypoint has weight 0, and the mean
            is over all keypoints as before.
        key: Name of the config key, for messages.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(
        self,
        form: str = 'soft',
        threshold: float = 0.5,
        floor: float = 0.1,
        cls: Optional[dict] = None,
        cls_target: str = 'ground_truth',
        below_floor: str = 'zero',
        key: str = 'DSKDHook',
    ):
        if form not in FORMS:
            raise ValueError(f'{key}.form={form!r}: choose one of {FORMS}')
        if cls_target not in TARGETS:
            raise ValueError(f'{key}.cls_target={cls_target!r}: choose one of {TARGETS}')
        if below_floor not in BELOW_FLOOR:
            raise ValueError(f'{key}.below_floor={below_floor!r}: choose one of {BELOW_FLOOR}')
        checked_thresholds(threshold, floor, key)
        self.form, self.threshold, self.floor = form, threshold, floor
        self.cls_target, self.below_floor, self.key = cls_target, below_floor, key
        try:
            self.cls_loss = HeatmapClassificationLoss(**(cls or {}), key=f'{key}.cls')
        except TypeError as error:
            raise ValueError(f'{key}.cls={cls!r}: {error}') from error

    def check_kind(self, kind: str, gamma: Optional[float]) -> None:
        """Refuse settings that only heatmaps know, for a student without.

        Args:
            kind: What the student puts out, see :func:`head_kind`.
            gamma: Weight of the classification.

        Raises:
            ValueError: There is such a setting.
        """
        for setting, needed in (
            (f'gamma={gamma!r}', gamma),
            (f'below_floor={self.below_floor!r}', self.below_floor == 'skip'),
        ):
            if needed and kind != 'heatmap':
                raise ValueError(
                    f'{self.key}.{setting} is for heatmaps, the student puts out {kind}: leave it '
                    'out'
                )

    def reads_guides(self, alpha: float, gamma: float) -> bool:
        """Whether the guides are needed for losses of these weights."""
        return alpha > 0 or (gamma > 0 and self.cls_target == 'guides')

    def losses(
        self,
        kind: str,
        student: Sequence[Tensor],
        guides: Sequence[Sequence[Tensor]],
        data_samples: Sequence,
        alpha: float,
        gamma: float,
        beta: float = 1.0,
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Both losses of a batch.

        Args:
            kind, student, guides, beta: As for :meth:`each`. Without guides there is no guidance.
            data_samples: The batch's.
            alpha, gamma: Weights of guidance and classification, at least 0.

        Returns:
            ``loss_dskd_kd`` and ``loss_dskd_cls`` with their weights, 0 for one that is switched
            off; and the guidance loss of each guide.
        """
        weight = label_weights(data_samples)
        zero = torch.zeros((), device=student[0].device)
        losses = {'loss_dskd_kd': zero, 'loss_dskd_cls': zero}
        each = self.each(kind, student, guides, weight, beta) if alpha else []
        if each:
            losses['loss_dskd_kd'] = alpha * dense_guidance(each)
        if gamma:
            truth = targets(kind, data_samples)[0]
            cls = self.classification(student[0], guides, truth, weight)
            losses['loss_dskd_cls'] = gamma * cls
        return losses, each

    def each(
        self,
        kind: str,
        student: Sequence[Tensor],
        guides: Sequence[Sequence[Tensor]],
        weight: Tensor,
        beta: float = 1.0,
    ) -> list[Tensor]:
        """The guidance loss of each guide, a scalar.

        Args:
            kind: See :func:`head_kind`.
            student: Its output, see :func:`read_output`.
            guides: The same of each guide; constants.
            weight: Keypoint weights (B, K), 0 where there is no label.
            beta: Of SimCC: both logits are multiplied by it.
        """
        if kind == 'bins':
            return [simcc_kl(tuple(student), tuple(guide), weight, beta) for guide in guides]
        if kind == 'coordinates':
            return [coordinate_smooth_l1(student[0], guide[0], weight) for guide in guides]
        maps = [guide_maps(g[0], self.form, self.threshold, self.floor) for g in guides]
        weights = [weight * self.teaches(g[0]) for g in guides]
        return [weighted_mse(student[0], *pair) for pair in zip(maps, weights)]

    def teaches(self, maps: Tensor) -> Tensor:
        """1 where a guide's heatmap (B, K, H, W) teaches its keypoint, else 0: (B, K)."""
        if self.below_floor == 'skip':
            return has_peak(maps, self.floor)
        return maps.new_ones(maps.shape[:2])

    def classification(
        self,
        student: Tensor,
        guides: Sequence[Sequence[Tensor]],
        ground_truth: Tensor,
        weight: Tensor,
    ) -> Tensor:
        """The classification loss of a student's heatmaps (B, K, H, W), a scalar.

        It is 0 where the target bits come from guides and there are none.
        """
        if self.cls_target == 'ground_truth':
            return self.cls_loss(student, self.cls_targets(ground_truth), weight)
        if not guides:
            return student.new_zeros((), dtype=torch.float32)
        number = sum(self.teaches(g[0]) for g in guides)  # (B, K): how many teach a keypoint
        # bits of a map without a peak are 0, so that it adds nothing where it does not teach
        bits = sum(self.cls_targets(g[0]) for g in guides) / number.clamp(min=1)[..., None, None]
        return self.cls_loss(student, bits, weight * (number > 0))

    def cls_targets(self, maps: Tensor) -> Tensor:
        """Targets of the classification: the pixels about each peak, its place, or its spread."""
        maps = maps.float()
        if self.cls_loss.form == 'softmax':
            return peak_bits(maps, self.floor)
        if self.cls_loss.form == 'distribution':
            return peak_distribution(maps, self.cls_loss.kappa, self.floor)
        return binarize(maps, self.threshold, self.floor)

    @torch.no_grad()
    def statistics(
        self,
        kind: str,
        guides: Sequence[Sequence[Tensor]],
        ground_truth: Sequence[Tensor],
        weight: Tensor,
    ) -> list[dict[str, Tensor]]:
        """For each guide ``agreement`` and, of heatmaps, ``kept``; scalars on the device.

        ``agreement``: share of the labelled keypoints that it puts within 5 % of the map's (or
        picture's) width and height of the ground truth. ``kept``: share of the pixels that
        :func:`denoise` keeps, 0.007 for a Gaussian of sigma 2 on 64 x 48.
        """
        truth = positions(kind, ground_truth)
        labelled = (weight > 0).to(torch.float32)
        found = []
        for guide in guides:
            near = (positions(kind, guide) - truth).abs().amax(-1) <= NEAR  # (B, K)
            share = (near * labelled).sum() / labelled.sum().clamp(min=1.0)
            one = {'agreement': share}
            if kind == 'heatmap':
                one['kept'] = binarize(guide[0], self.threshold, self.floor).mean()
            found.append(one)
        return found

    def told(
        self,
        kind: str,
        guides: Sequence[Sequence[Tensor]],
        data_samples: Sequence,
        losses: Sequence[Tensor],
    ) -> list[dict[str, Tensor]]:
        """:meth:`statistics` of a batch, with each guide's loss as ``kd`` if there are losses."""
        truth, weight = targets(kind, data_samples), label_weights(data_samples)
        found = self.statistics(kind, guides, truth, weight)
        for one, loss in zip(found, losses):
            one['kd'] = loss.detach()
        return found
