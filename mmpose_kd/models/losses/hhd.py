"""HHD: a heatmap teacher for a student that regresses with soft-argmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from .unbiased_centre import (
    bump_excess,
    cut_windows,
    peak_position,
    released_centre,
    softmax_maps,
    unbiased_centre,
)

CHOICES = {
    'mode': ('aligned', 'released'),
    'norm_student': ('softmax', 'sum', 'l2', 'l1', 'none'),
    'norm_teacher': ('softmax', 'sum', 'l2', 'l1', 'none'),
    'window': ('integer', 'bilinear'),
    'padding': ('reflect', 'mirror', 'zero'),
    'align': ('full', 'none'),
}

# what a mode takes for a setting left at None; absent: the mode has no such choice
DEFAULTS = {
    'aligned': dict(
        norm_student='softmax',
        norm_teacher='sum',
        window='integer',
        padding='mirror',
        align='full',
    ),
    'released': dict(norm_student='l2', norm_teacher='l2'),
}


class _WithNorm(torch.autograd.Function):
    """Maps (B, K, N) as they are and their L2 norms (B, K), both gradients added in one pass.

    It halves the cost of the released mode: PyTorch's own makes four large tensors of it.
    """

    @staticmethod
    def forward(ctx, maps: Tensor) -> tuple[Tensor, Tensor]:
        norm = torch.linalg.vector_norm(maps, dim=-1)
        ctx.save_for_backward(maps, norm)
        return maps.view_as(maps), norm

    @staticmethod
    def backward(ctx, grad_maps: Tensor, grad_norm: Tensor) -> Tensor:
        maps, norm = ctx.saved_tensors
        scale = grad_norm / norm.clamp(min=1e-30)
        return torch.addcmul(grad_maps, maps, scale[..., None])


def normalised_windows(
    maps: Tensor,
    x: Tensor,
    y: Tensor,
    crop_size: tuple[int, int],
    norm: str,
    padding: str,
    prob: Optional[Tensor] = None,
) -> Tensor:
    """Windows (B, K, h, w) of normalised maps: cut first, as a norm needs one number a map.

    Args:
        maps: (B, K, H, W).
        x, y, crop_size, padding: See :func:`cut_windows`.
        norm: ``'softmax'``; ``'sum'``: clamped at 0, divided by the sum; ``'l2'``, ``'l1'``:
            divided by that norm; ``'none'``. Divisors are at least 1e-3, so that an empty map
            gets a finite gradient.
        prob: For ``'softmax'``: the maps' softmax at the beta wanted. None: at beta 1.
    """
    if norm == 'softmax':
        prob = softmax_maps(maps, 1.0) if prob is None else prob
        return cut_windows(prob, x, y, crop_size, padding)
    if norm == 'none':
        return cut_windows(maps, x, y, crop_size, padding)
    flat, value = maps.flatten(2), None
    if norm == 'sum':
        divisor, value = flat.relu().sum(-1), torch.relu
    elif norm == 'l1':
        divisor = torch.linalg.vector_norm(flat, 1, -1)
    else:
        flat, divisor = _WithNorm.apply(flat)
        maps = flat.view(maps.shape)
    window = cut_windows(maps, x, y, crop_size, padding, value)
    return window / divisor.clamp(min=1e-3)[..., None, None]


def squared_difference(student: Tensor, teacher: Tensor, weight: Optional[Tensor]) -> Tensor:
    """(1 / B) sum of weight (B, K) times squared differences of windows (B, K, h, w)."""
    loss = (student - teacher).square().sum((2, 3))  # (B, K)
    return (loss if weight is None else loss * weight).sum() / len(loss)


def hhd_released(
    student: Tensor,
    teacher: Tensor,
    weight: Optional[Tensor] = None,
    crop_size: tuple[int, int] = (8, 8),
    norm_student: str = 'l2',
    norm_teacher: str = 'l2',
) -> Tensor:
    """What the released code computes, without its factor 0.5; see :class:`HHDLoss`.

    Args:
        student, teacher: Raw maps (B, K, H, W). Not detached here.
        weight: Of each keypoint (B, K); the release has none.
        crop_size: h, w, even.
        norm_student, norm_teacher: See :func:`normalised_windows`.
    """
    size = student.shape[:1:-1]  # W, H
    x, y, *_ = peak_position(teacher)
    centre = released_centre(x, y, student.detach().exp().sum((2, 3)), size)
    return squared_difference(
        normalised_windows(student, *centre, crop_size, norm_student, 'released'),
        normalised_windows(teacher, x, y, crop_size, norm_teacher, 'released'),
        weight,
    )


def hhd_aligned(
    student: Tensor,
    teacher: Tensor,
    weight: Optional[Tensor] = None,
    beta: float = 1.0,
    crop_size: tuple[int, int] = (8, 8),
    norm_student: str = 'softmax',
    norm_teacher: str = 'sum',
    window: str = 'integer',
    padding: str = 'mirror',
    align: str = 'full',
) -> Tensor:
    """The student's window at its unbiased centre against the teacher's at its peak.

    Args:
        student, teacher: Raw maps (B, K, H, W). Not detached here.
        weight: Of each keypoint (B, K). None: all 1.
        beta: The student's, whose logits are beta times its maps.
        crop_size: h, w, at most H, W.
        norm_student, norm_teacher, window, padding, align: See :class:`HHDLoss`.
    """
    height, width = student.shape[-2:]
    prob = softmax_maps(student, beta)
    column, row, x, y, _ = peak_position(teacher)
    student_x, student_y = x, y
    if align == 'full':
        # centres are constants for the gradient
        excess = bump_excess(prob.detach())
        student_x, student_y = unbiased_centre(x, y, excess, (width, height))
    if window == 'integer':  # what is rounded is the shift, not both ends of it
        student_x = (column + (student_x - x).round().long()).clamp(0, width - 1)
        student_y = (row + (student_y - y).round().long()).clamp(0, height - 1)
        x, y = column, row
    return squared_difference(
        normalised_windows(student, student_x, student_y, crop_size, norm_student, padding, prob),
        normalised_windows(teacher, x, y, crop_size, norm_teacher, padding),
        weight,
    )


@MODELS.register_module()
class HHDLoss(nn.Module):
    r"""Heatmap distillation to a student that regresses with soft-argmax (integral regression).

    From Du et al., "Heterogeneous heatmap distillation framework based on unbiased alignment for
    lightweight human pose estimation", Image and Vision Computing, 2024
    (https://doi.org/10.1016/j.imavis.2024.105041). A soft-argmax is drawn to the middle of the
    map by the mass of the background, so a student whose coordinate is right holds its bump
    elsewhere, and to compare its map with the teacher's place by place teaches a wrong one.
    Both maps are brought to one scale, a window is cut around the teacher's peak and another
    around the place where the student's bump has to lie for that coordinate, and

    .. math:: L = \frac{\lambda}{B} \sum_{b, k} w_{bk} \sum_{ij} (s_{bkij} - t_{bkij})^2

    The full text was not at hand. ``mode='aligned'`` reconstructs it from the abstract, with the
    closed form of :func:`unbiased_centre`, the teacher's position sub-pixel and a
    background estimated and removed. ``mode='released'`` computes what the authors' code does,
    where the student's window comes to lie at the teacher's peak whenever the sum of exp(s)
    exceeds W; with ``loss_weight=0.5`` and ``use_target_weight=False`` it is the release.

    Args:
        mode (str): ``'aligned'`` or ``'released'``.
        beta (float, optional): The student's logits are beta times its maps. None: its head's
            own, taken by :meth:`bind`. Not used by ``'released'``.
        crop_size (Sequence[int]): Height and width of the windows in heatmap pixels, even
            in ``'released'``.
        norm_student (str, optional): ``'softmax'`` (of beta times the map; of the map alone in
            ``'released'``), ``'sum'`` (clamped at 0, divided by its sum), ``'l2'``, ``'l1'``
            or ``'none'``. None: ``'softmax'`` if aligned, ``'l2'`` if released.
        norm_teacher (str, optional): The same; None: ``'sum'`` if aligned, ``'l2'`` if
            released.
        window (str, optional): ``'integer'``: windows at whole pixels, the shift between them
            rounded; ``'bilinear'``: at sub-pixel centres. None: ``'integer'``. This and the
            following two are for ``'aligned'`` alone.
        padding (str, optional): What a window holds beyond the border: ``'mirror'``, the window's
            other side, which completes a symmetric bump; ``'reflect'``, the map reflected about
            the border, which repeats a peak that lies close to it; ``'zero'``. None:
            ``'mirror'``.
        align (str, optional): ``'full'``, or ``'none'`` to leave the student's window at
            the teacher's position. None: ``'full'``.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        teacher_confidence (bool): Weigh each keypoint by the height of the teacher's peak, put
            into [0, 1].
        loss_weight (float): :math:`\lambda`, at least 0.

    Raises:
        ValueError: A setting out of its range; at the call, maps or weights of shapes that do
            not fit, and no beta.
    """

    def __init__(
        self,
        mode: str = 'aligned',
        beta: Optional[float] = None,
        crop_size: Sequence[int] = (8, 8),
        norm_student: Optional[str] = None,
        norm_teacher: Optional[str] = None,
        window: Optional[str] = None,
        padding: Optional[str] = None,
        align: Optional[str] = None,
        use_target_weight: bool = True,
        teacher_confidence: bool = False,
        loss_weight: float = 0.5,
    ):
        super().__init__()
        found = dict(norm_student=norm_student, norm_teacher=norm_teacher, window=window)
        found.update(padding=padding, align=align)
        for key, value in dict(mode=mode, **found).items():
            if value not in CHOICES[key] and (value is not None or key == 'mode'):
                raise ValueError(f'HHDLoss.{key}={value!r}: choose one of {CHOICES[key]}')
        for key, value in found.items():
            if value is not None and key not in DEFAULTS[mode]:
                raise ValueError(f'HHDLoss.{key}={value!r}: leave it out with mode={mode!r}')
        if beta is not None and not 0 < beta < math.inf:
            raise ValueError(f'HHDLoss.beta={beta!r}: give a number above 0, or None')
        sides = tuple(crop_size) if isinstance(crop_size, (list, tuple)) else ()
        if len(sides) != 2 or not all(isinstance(n, int) and n > 0 for n in sides):
            raise ValueError(f'HHDLoss.crop_size={crop_size!r}: give (height, width), 1 or more')
        if mode == 'released' and any(n % 2 for n in sides):
            raise ValueError(f'HHDLoss.crop_size={crop_size!r}: even with mode={mode!r}')
        if not 0 <= loss_weight < math.inf:
            raise ValueError(f'HHDLoss.loss_weight={loss_weight!r}: give 0 or more')
        self.mode = mode
        self.beta = beta
        self.crop_size = sides
        self.align = align
        given = {key: value for key, value in found.items() if value is not None}
        self.settings = {**DEFAULTS[mode], **given}
        self.use_target_weight = use_target_weight
        self.teacher_confidence = teacher_confidence
        self.loss_weight = loss_weight

    def bind(self, student_head: nn.Module) -> None:
        """Take what the loss has to know from the student's head, once after both are built.

        Its ``beta`` if that of the loss is None. A head that removes the bias itself (an
        attribute ``decode_is_unbiased`` that is true) holds its bump where its coordinate is:
        the student's window is then cut at the teacher's position.

        Raises:
            ValueError: The loss needs a beta, and the head has none; or ``align='full'`` was
                asked for with such a head.
        """
        if self.mode == 'released':
            return
        if self.beta is None:
            self.beta = getattr(student_head, 'beta', None)
        if self.beta is None:
            raise ValueError(
                f'HHDLoss.beta=None: {type(student_head).__name__} has no beta of its own, give '
                "the factor between the student's maps and its softmax"
            )
        if getattr(student_head, 'decode_is_unbiased', False):
            if self.align == 'full':
                raise ValueError(
                    f"HHDLoss.align='full': {type(student_head).__name__} holds its bump where "
                    'its coordinate is, leave the setting out'
                )
            self.settings['align'] = 'none'

    def _check(self, student: Tensor, teacher: Tensor, weight: Optional[Tensor]) -> None:
        """Errors that show at the call only; they look at shapes, not at values."""
        if student.dim() != 4 or student.shape != teacher.shape:
            found = f'{tuple(student.shape)} and {tuple(teacher.shape)}'
            raise ValueError(f'HHDLoss: maps of student and teacher must be (B, K, H, W): {found}')
        if any(n > size for n, size in zip(self.crop_size, student.shape[2:])):
            raise ValueError(
                f"HHDLoss.crop_size={self.crop_size}: at most the maps' (height, width) "
                f'{tuple(student.shape[2:])}'
            )
        if weight is not None and weight.shape != student.shape[:2]:
            raise ValueError(
                f'HHDLoss: target_weight {tuple(weight.shape)} must be (B, K) '
                f'{tuple(student.shape[:2])}'
            )
        if self.mode == 'aligned' and self.beta is None:
            raise ValueError(
                "HHDLoss.beta=None: give the beta of the student's head, or call bind(head)"
            )

    def forward(
        self,
        student_maps: Tensor,
        teacher_maps: Tensor,
        target_weight: Optional[Tensor] = None,
    ) -> Tensor:
        """The weighted loss, a scalar, in float32 at least.

        Args:
            student_maps: The student's final-layer maps (B, K, H, W), before its softmax.
            teacher_maps: The teacher's heatmaps (B, K, H, W).
            target_weight: (B, K), 0 for an unlabelled keypoint. None: all 1.
        """
        weight = target_weight if self.use_target_weight else None
        self._check(student_maps, teacher_maps, weight)
        student = student_maps.to(torch.promote_types(student_maps.dtype, torch.float32))
        teacher = teacher_maps.detach().to(student.dtype)
        if weight is not None:
            weight = weight.to(student.dtype)
        if self.teacher_confidence:
            peak = teacher.amax((2, 3)).clamp(0, 1)
            weight = peak if weight is None else weight * peak
        if self.mode == 'released':
            loss = hhd_released(student, teacher, weight, self.crop_size, **self.settings)
        else:
            loss = hhd_aligned(
                student, teacher, weight, self.beta, self.crop_size, **self.settings
            )
        return self.loss_weight * loss
