"""DSKD's losses: of a guide's output, of several guides, and of heatmaps as a classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import checked_choice, checked_factor, refusal
from ..core.loss import DistillationLoss, scaled, softmax_kl, upcast

CLASSIFICATION_FORMS = ('bce', 'focal', 'softmax', 'distribution')

OVER_POSITIONS = ('softmax', 'distribution')


def dense_guidance(losses: Sequence[Tensor]) -> Tensor:
    r"""Mean of the kept guides' losses, :math:`\sum_i b_i l_i / \sum_i b_i`.

    Args:
        losses: A scalar of each guide that was kept, at least one.
    """
    return torch.stack(tuple(losses)).mean()


def weighted_mse(student: Tensor, guide: Tensor, weight: Optional[Tensor] = None) -> Tensor:
    """Mean over all pixels of the squared difference, times the keypoint's weight.

    The same number as MMPose's ``KeypointMSELoss(use_target_weight=True)``, in float32 at least.

    Args:
        student: Heatmaps (B, K, H, W).
        guide: Heatmaps (B, K, H, W). Not detached here.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
    """
    return _mean(F.mse_loss(upcast(student), upcast(guide), reduction='none'), weight)


def coordinate_smooth_l1(
    student: Tensor, guide: Tensor, weight: Optional[Tensor] = None
) -> Tensor:
    """SmoothL1 of coordinates, times the keypoint's weight.

    For weights of 0 and 1 the same as MMPose's ``SmoothL1Loss(use_target_weight=True)``, which
    multiplies both coordinates by the weight instead.

    Args:
        student: Coordinates (B, K, 2), in shares of the picture's width and height.
        guide: The same of a guide. Not detached here.
        weight: Of each keypoint (B, K). None: all 1.

    Returns:
        A scalar: the mean over keypoints and axes, in float32 at least.
    """
    return _mean(F.smooth_l1_loss(upcast(student), upcast(guide), reduction='none'), weight)


def _mean(loss: Tensor, weight: Optional[Tensor]) -> Tensor:
    """Mean over all elements of (B, K, ...), those of a keypoint times its weight (B, K)."""
    if weight is not None:
        loss = loss * weight.to(loss.dtype).view(*weight.shape, *[1] * (loss.ndim - 2))
    return loss.mean()


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
    logits, bits = kappa * (upcast(student) - 0.5), upcast(bits)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)  # q = 1 - p
    if focus > 0:
        # not sigmoid() ** focus: its gradient at 0 has no bound for focus < 1
        log_p, log_q = log_p * (focus * log_q).exp(), log_q * (focus * log_p).exp()
    loss = -(balanced(bits, pos_weight) * bits * log_p + (1 - bits) * log_q)
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
    log = F.log_softmax(kappa * upcast(student).flatten(2), dim=-1)
    return _mean(-(upcast(places).flatten(2) * log).sum(-1), weight)


@MODELS.register_module()
class HeatmapClassificationLoss(DistillationLoss):
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
        pos_weight (float, optional): Weight of the positives in ``'bce'`` and ``'focal'``, above
            0. None: they weigh as much as the negatives of the same map.
        focus (float, optional): Exponent of ``'focal'``, above 0. None: 2.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.
        key (str, optional): Name of the config key, for messages. None: the class's name.

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
        key: Optional[str] = None,
    ):
        super().__init__(use_target_weight, loss_weight, key)
        self.form = checked_choice(form, f'{self.key}.form', CLASSIFICATION_FORMS)
        self.kappa = checked_factor(kappa, f'{self.key}.kappa')
        for name, value, forms in (
            ('pos_weight', pos_weight, ('bce', 'focal')),
            ('focus', focus, ('focal',)),
        ):
            checked_factor(value, f'{self.key}.{name}', optional=True)
            if value is not None and form not in forms:
                give = f'it has no meaning with form={form!r}, leave it out'
                raise refusal(f'{self.key}.{name}', value, give)
        self.pos_weight = pos_weight
        self.focus = (2.0 if focus is None else focus) if form == 'focal' else 0.0

    def forward(
        self, student: Tensor, target: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss, a scalar; arguments as in the functions named above."""
        weight, target = self.used(target_weight), target.detach()
        if self.form in OVER_POSITIONS:
            loss = heatmap_cross_entropy(student, target, weight, self.kappa)
        else:
            loss = heatmap_bce(student, target, weight, self.kappa, self.pos_weight, self.focus)
        return scaled(loss, self.loss_weight)


# ------------------------------------------------ what a guide costs a student: the head's own
# loss, with the guide's output in the place of the labels, so that both are of one scale

# MMPose's losses of coordinates that are called with (output, target, weight)
OF_COORDINATES = ('SmoothL1Loss', 'L1Loss', 'MSELoss', 'MPJPELoss', 'WingLoss', 'SoftWingLoss')

#: from the student's output, a guide's and keypoint weights (B, K) to a scalar
OwnLoss = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], Tensor]


def own_loss(kind: str, head: Optional[nn.Module] = None, returned=None) -> OwnLoss:
    """The loss of one guide, on the scale of the loss that the student's head has.

    Args:
        kind: See :func:`head_kind`.
        head: The student's. None: MMPose's losses with their defaults.
        returned: What its ``forward`` returned for the batch; RLE's has sigma in it.

    Returns:
        Of heatmaps :func:`weighted_mse`, times the ``loss_weight`` of MMPose's
        ``KeypointMSELoss`` (of stages the last one's) where the head has that and it is not 0;
        of bins :func:`bins_kl`; of RLE :func:`residual_smooth_l1`; of other coordinates the
        head's own loss, or SmoothL1 where that is none of MMPose's.
    """
    module = getattr(head, 'loss_module', None)
    if kind == 'heatmap':
        module = module[-1] if isinstance(module, nn.ModuleList) else module
        # a weight of 0: the guides alone are to be learned from
        factor = (isinstance(module, KeypointMSELoss) and module.loss_weight) or 1.0
        return lambda student, guide, weight: scaled(
            weighted_mse(student[0], guide[0], weight), factor
        )
    if kind == 'bins':
        return lambda student, guide, weight: bins_kl(
            student, guide, _masked(weight, module), getattr(module, 'beta', 1.0)
        )
    if type(module).__name__ == 'RLELoss' and isinstance(returned, Tensor):
        sigma = upcast(returned[..., 2:4]).detach().sigmoid()
        return lambda student, guide, weight: residual_smooth_l1(
            student[0], guide[0], sigma, weight, module.size_average
        )
    if type(module).__name__ == 'MultipleLossWrapper':  # of DSNT: of coordinates, of heatmaps
        module = module.loss_modules[0]
    if type(module).__name__ in OF_COORDINATES:
        return lambda student, guide, weight: _as_labels(module, student[0], guide[0], weight)
    return lambda student, guide, weight: coordinate_smooth_l1(student[0], guide[0], weight)


def bins_kl(
    student: Sequence[Tensor],
    guide: Sequence[Tensor],
    weight: Optional[Tensor] = None,
    beta: float = 1.0,
) -> Tensor:
    r"""KL(guide || student) over the bins, reduced as MMPose's ``KLDiscretLoss`` reduces it.

    .. math:: L = \frac{1}{K} \sum_{b,k} w_{bk} \sum_{axes} \frac{1}{N_{axis}}
        \sum_i t_i (\log t_i - \log s_i), \quad t, s = softmax(\beta \cdot)

    The mean over bins and keypoints, the sum over pictures and axes.

    Args:
        student: For each axis the logits (B, K, bins).
        guide: The same of a guide. Not detached here.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
        beta: That of the head's loss.

    Returns:
        A scalar, in float32 at least.
    """
    total = sum(
        softmax_kl(upcast(s) * beta, upcast(t) * beta) / s.shape[-1]
        for s, t in zip(student, guide)
    )  # (B, K)
    return (total if weight is None else total * weight).mean(1).sum()


def residual_smooth_l1(
    student: Tensor,
    guide: Tensor,
    sigma: Tensor,
    weight: Optional[Tensor] = None,
    size_average: bool = True,
) -> Tensor:
    r"""SmoothL1 of the residual in units of sigma, reduced as MMPose's ``RLELoss`` reduces it.

    .. math:: L = \frac{1}{B} \sum_{b,k} w_{bk} \sum_{x, y} SmoothL1((s - g) / \sigma)

    RLE's own loss has :math:`|s - y| / \sigma`. It does not teach sigma and the flow, which are
    to say how far the student is from the labels, not from a guide.

    Args:
        student: Coordinates (B, K, 2), in shares of the picture's width and height.
        guide: The same of a guide. Not detached here.
        sigma: In (0, 1), of the student (B, K, 2); a constant.
        weight: Of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
        size_average: False: not divided by B.

    Returns:
        A scalar, in float32 at least.
    """
    residual = (upcast(student) - upcast(guide)) / (sigma + 1e-9)
    loss = F.smooth_l1_loss(residual, torch.zeros_like(residual), reduction='none').sum(-1)
    loss = (loss if weight is None else loss * weight).sum()
    return loss / len(student) if size_average else loss


def _as_labels(module: nn.Module, student: Tensor, guide: Tensor, weight: Tensor) -> Tensor:
    """A loss of coordinates (B, K, 2) that also knows no keypoint of weight 0."""
    student, weight = upcast(student), weight[..., None]
    # some of these losses can be told to ignore the weights: there the student is its own label
    return module(student, upcast(guide).where(weight > 0, student.detach()), weight)


def _masked(weight: Tensor, module: Optional[nn.Module]) -> Tensor:
    """Keypoint weights (B, K) with the ones that ``KLDiscretLoss`` gives some keypoints."""
    mask = getattr(module, 'mask', None)
    if mask is None:
        return weight
    weight = weight.clone()
    weight[:, mask] *= module.mask_weight
    return weight
