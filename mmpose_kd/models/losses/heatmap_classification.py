"""Heatmaps as classification: which pixels belong to the keypoint, or which one is its place."""

from __future__ import annotations

import math
from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.registry import MODELS
from torch import Tensor, nn

FORMS = ('bce', 'focal', 'softmax', 'distribution')
OVER_POSITIONS = ('softmax', 'distribution')


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def balanced(bits: Tensor, pos_weight: Optional[float]) -> Tensor:
    """Weight of the positive part of each map's loss, (B, K, 1, 1).

    Args:
        bits: Targets (B, K, H, W) in [0, 1].
        pos_weight: The weight; None makes the positives of a map weigh as much as its negatives:
            their number over that of the positives.
    """
    if pos_weight is not None:
        return bits.new_full((1, 1, 1, 1), pos_weight)
    positive = bits.sum((2, 3), keepdim=True)
    return (bits.shape[2] * bits.shape[3] - positive) / positive.clamp(min=1.0)


def _mean(loss: Tensor, weight: Optional[Tensor]) -> Tensor:
    """Mean over all elements of (B, K, ...), those of a keypoint times its weight (B, K)."""
    if weight is not None:
        loss = loss * weight.to(loss.dtype).view(*weight.shape, *[1] * (loss.ndim - 2))
    return loss.mean()


def heatmap_bce(
    student: Tensor,
    bits: Tensor,
    weight: Optional[Tensor] = None,
    kappa: float = 10.0,
    pos_weight: Optional[float] = None,
    focus: float = 0.0,
) -> Tensor:
    r"""Binary cross-entropy of every pixel, with the positives weighted up.

    .. math:: p = sigmoid(\kappa (S - 1/2)), \quad
        L = -\frac{1}{B K H W} \sum w_{bk} (v t (1 - p)^f \log p + (1 - t) p^f \log (1 - p))

    With ``focus`` f = 0 that is the classification loss of our reconstruction of DSKD; above it
    a focal loss (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    https://arxiv.org/abs/1708.02002), by which pixels that are right already count less.

    Args:
        student: Heatmaps (B, K, H, W); 1/2 is undecided.
        bits: Targets (B, K, H, W) in [0, 1]: bits, or the mean of several. Not detached here.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
        kappa: :math:`\kappa > 0`, from heatmap units to logits.
        pos_weight: v. None: :func:`balanced`. At sigma 2 on 64 x 48 there are 145 negatives for
            each positive.
        focus: f, at least 0.

    Returns:
        A scalar, in float32 at least.
    """
    logits, bits = kappa * (_wide(student) - 0.5), _wide(bits)
    positive, negative = F.logsigmoid(logits), F.logsigmoid(-logits)  # log p, log (1 - p)
    if focus > 0:
        # not sigmoid() ** focus: its gradient at 0 has no bound for focus < 1
        positive, negative = (
            positive * (focus * negative).exp(),
            negative * ((focus * positive).exp()),
        )
    loss = -(balanced(bits, pos_weight) * bits * positive + (1 - bits) * negative)
    return _mean(loss, weight)


def heatmap_cross_entropy(
    student: Tensor, places: Tensor, weight: Optional[Tensor] = None, kappa: float = 10.0
) -> Tensor:
    r"""Cross-entropy of a softmax over the positions of each heatmap.

    .. math:: L = -\frac{1}{B K} \sum_{b,k} w_{bk} \sum_i t_i \log softmax(\kappa S)_i

    Args:
        student: Heatmaps (B, K, H, W), any range.
        places: Targets (B, K, H, W) that sum to at most 1 in each map: 1 at the peak, a
            distribution, or the mean of several such maps. A map that is all 0 costs nothing. Not
            detached here.
        weight: Of each keypoint (B, K). None: all 1.
        kappa: :math:`\kappa > 0`.

    Returns:
        A scalar, in float32 at least.
    """
    log = F.log_softmax(kappa * _wide(student).flatten(2), dim=-1)
    return _mean(-(_wide(places).flatten(2) * log).sum(-1), weight)


@MODELS.register_module()
class HeatmapClassificationLoss(nn.Module):
    """The classification loss of :class:`DSKDHook`, in four forms.

    Wu et al., "Lightweight Human Pose Estimation Based on Densely Guided Self-Knowledge
    Distillation", ICANN 2023 (https://doi.org/10.1007/978-3-031-44210-0_34): pose estimation is
    also a problem of classification. Their formula could not be had: all forms are our
    reconstruction from the abstract.

    Args:
        form (str): ``'bce'`` (:func:`heatmap_bce`), ``'focal'`` (the same with ``focus``),
            ``'softmax'`` (:func:`heatmap_cross_entropy` against :func:`peak_bits`), or
            ``'distribution'`` (against :func:`peak_distribution`).
        kappa (float): From heatmap units to logits, above 0.
        pos_weight (float, optional): Weight of the positives in ``'bce'`` and ``'focal'``. None:
            they weigh as much as the negatives of the same map.
        focus (float, optional): Exponent of ``'focal'``, above 0. None: 2.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.
        key (str): Name of the config key, for messages.

    Raises:
        ValueError: A setting out of its range, or one that the form does not use.
    """

    def __init__(
        self,
        form: str = 'distribution',
        kappa: float = 10.0,
        pos_weight: Optional[float] = None,
        focus: Optional[float] = None,
        use_target_weight: bool = True,
        loss_weight: float = 1.0,
        key: str = 'HeatmapClassificationLoss',
    ):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f'{key}.form={form!r}: choose one of {FORMS}')
        if not 0 < kappa < math.inf:
            raise ValueError(f'{key}.kappa={kappa!r}: give a number above 0')
        if pos_weight is not None and (form in OVER_POSITIONS or not 0 < pos_weight < math.inf):
            raise ValueError(
                f'{key}.pos_weight={pos_weight!r}: give a number above 0 with bce or focal, or '
                f'None (found form={form!r})'
            )
        if focus is not None and (form != 'focal' or not 0 < focus < math.inf):
            raise ValueError(
                f"{key}.focus={focus!r}: give a number above 0 with form='focal', or None (found "
                f'form={form!r})'
            )
        if not 0 <= loss_weight < math.inf:
            raise ValueError(f'{key}.loss_weight={loss_weight!r}: give 0 or more')
        self.form, self.kappa, self.pos_weight = form, kappa, pos_weight
        self.focus = (2.0 if focus is None else focus) if form == 'focal' else 0.0
        self.use_target_weight = use_target_weight
        self.loss_weight = loss_weight

    def forward(
        self, student: Tensor, target: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss, a scalar; arguments as in the functions named above."""
        weight = target_weight if self.use_target_weight else None
        target = target.detach()
        if self.form in OVER_POSITIONS:
            loss = heatmap_cross_entropy(student, target, weight, self.kappa)
        else:
            loss = heatmap_bce(student, target, weight, self.kappa, self.pos_weight, self.focus)
        return self.loss_weight * loss
