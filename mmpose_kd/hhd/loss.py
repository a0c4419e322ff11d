"""HHD: a heatmap teacher for a student that regresses with soft-argmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from mmpose.codecs.base import BaseKeypointCodec
from mmpose.models.heads import IntegralRegressionHead
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.capture import OutputPath
from ..core.checks import checked_bool, checked_choice, checked_factor, checked_size, refusal
from ..core.deployed import predicting_head
from ..core.head_output import head_kind
from ..core.loss import DistillationLoss, scaled, upcast
from ..core.panels import Panel
from .centre import (
    bump_excess,
    highest_position,
    peak_position,
    released_centre,
    softmax_maps,
    unbiased_centre,
)
from .panels import windows_panel
from .windows import normalised_windows

NORMS = ('softmax', 'sum', 'l2', 'l1', 'none')

CHOICES = {
    'mode': ('aligned', 'released'),
    'norm_student': NORMS,
    'norm_teacher': NORMS,
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
    x, y, _ = highest_position(teacher)
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
    prob = softmax_maps(student, beta)
    # centres are constants for the gradient
    at_student, at_teacher = aligned_centres(prob.detach(), teacher, window, align)
    return squared_difference(
        normalised_windows(student, *at_student, crop_size, norm_student, padding, prob),
        normalised_windows(teacher, *at_teacher, crop_size, norm_teacher, padding),
        weight,
    )


def aligned_centres(
    prob: Tensor, teacher: Tensor, window: str, align: str
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Centres x, y (B, K) of the student's and of the teacher's windows, in heatmap pixels.

    Args:
        prob: The student's softmax (B, K, H, W).
        teacher: The teacher's maps (B, K, H, W).
        window, align: See :class:`HHDLoss`.
    """
    height, width = prob.shape[-2:]
    column, row, x, y, _ = peak_position(teacher)
    student_x, student_y = x, y
    if align == 'full':
        student_x, student_y = unbiased_centre(x, y, bump_excess(prob), (width, height))
    if window == 'integer':  # what is rounded is the shift, not both ends of it
        student_x = (column + (student_x - x).round().long()).clamp(0, width - 1)
        student_y = (row + (student_y - y).round().long()).clamp(0, height - 1)
        x, y = column, row
    return (student_x, student_y), (x, y)


def maps_layer(head: IntegralRegressionHead) -> Optional[str]:
    """The submodule that puts out a head's maps, before beta and softmax; None if it has none."""
    if head.simplebaseline_head is not None:
        return 'simplebaseline_head.final_layer'
    return None if head.final_layer is None else 'final_layer'


@MODELS.register_module()
class HHDLoss(DistillationLoss):
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
    where the student's window comes to lie at the teacher's peak whenever the sum of exp(s) is
    at least the longer side of the map; with ``loss_weight=0.5`` and ``use_target_weight=False``
    it is the release, but for maps whose norm is below 0.001: the release clamps nothing, ours
    divides by 0.001 at least, and their losses differ by 34 to 75 %.

    Args:
        mode (str): ``'aligned'`` or ``'released'``.
        beta (float, optional): The student's logits are beta times its maps. None: its head's
            own, taken by :meth:`bind`. For ``'aligned'`` alone.
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
        super().__init__(use_target_weight, loss_weight)
        self.mode = checked_choice(mode, f'{self.key}.mode', CHOICES['mode'])
        self.beta = checked_factor(beta, f'{self.key}.beta', optional=True)
        self.crop_size = checked_size(crop_size, f'{self.key}.crop_size', 'height, width')
        if mode == 'released' and any(n % 2 for n in self.crop_size):
            even = f'give even numbers with mode={mode!r}'
            raise refusal(f'{self.key}.crop_size', crop_size, even)
        self.align = align
        found = dict(norm_student=norm_student, norm_teacher=norm_teacher, window=window)
        found.update(padding=padding, align=align)
        for name, value in found.items():
            key = f'{self.key}.{name}'
            checked_choice(value, key, CHOICES[name], optional=True)
            if value is not None and name not in DEFAULTS[mode]:
                raise refusal(key, value, f'leave it out with mode={mode!r}')
        if beta is not None and mode == 'released':
            raise refusal(f'{self.key}.beta', beta, f'leave it out with mode={mode!r}')
        given = {name: value for name, value in found.items() if value is not None}
        self.settings = {**DEFAULTS[mode], **given}
        self.teacher_confidence = checked_bool(
            teacher_confidence, f'{self.key}.teacher_confidence'
        )

    def bind(
        self,
        head: nn.Module,
        heatmap_codec: Optional[BaseKeypointCodec] = None,
        codec_key: Optional[str] = None,
    ) -> None:
        """Take what the loss has to know from the student's head, once after both are built.

        It must read its maps by a soft-argmax: an ``IntegralRegressionHead``, a subclass of it
        (``DSNTHead``, ``UnbiasedIntegralHead``), or another head with a ``beta``. Of a head that
        exists in training only, the part that is deployed.

        Its ``beta`` is taken if that of the loss is None. A head that removes the bias itself (an
        attribute ``decode_is_unbiased`` that is true) holds its bump where its coordinate is:
        the student's window is then cut at the teacher's position.

        Args:
            head: The student's.
            heatmap_codec, codec_key: Not needed here.

        Raises:
            ValueError: The head has no soft-argmax, in either mode; the loss needs a beta, and
                the head has none above 0; or ``align='full'`` was asked for with such a head.
        """
        head = predicting_head(head)
        beta = getattr(head, 'beta', None)
        if beta is None and not isinstance(head, IntegralRegressionHead):
            raise refusal(
                f'{self.key}: student.head.type',
                type(head).__name__,
                'it reads its maps without a soft-argmax, for which this loss is made: give '
                'IntegralRegressionHead, DSNTHead, UnbiasedIntegralHead, or a head of your own '
                'with an attribute beta, the factor between its maps and its softmax',
            )
        if self.mode == 'released':
            return
        if self.beta is None:
            self.beta = checked_factor(beta, f'{type(head).__name__}.beta')
        if getattr(head, 'decode_is_unbiased', False):
            if self.align == 'full':
                where = f'{type(head).__name__} holds its bump where its coordinate is'
                raise refusal(f'{self.key}.align', 'full', f'{where}, leave the setting out')
            self.settings['align'] = 'none'

    def check_outputs(self, student: nn.Module, paths: Sequence[OutputPath]) -> None:
        """Refuse maps that the student's integral head returns: they are behind its softmax.

        Args:
            student: The student.
            paths: Where its maps are taken.

        Raises:
            ValueError: One is that head itself.
        """
        for path in paths:
            head = student.get_submodule(path.path)
            if not isinstance(head, IntegralRegressionHead) or head_kind(head) != 'coordinates':
                continue
            layer = maps_layer(head)
            missing = '' if layer else f'{path.path}.final_layer=dict(kernel_size=1), and here '
            raise refusal(
                path.key,
                path.name,
                'the maps that this head returns are behind its softmax, HHDLoss compares those '
                f"before it: give {missing}'{path.path}.{layer or 'final_layer'}'",
            )

    def _check(self, student: Tensor, teacher: Tensor, weight: Optional[Tensor]) -> None:
        """Errors that show at the call only; they look at shapes, not at values."""
        if student.dim() != 4 or student.shape != teacher.shape:
            found = f'{tuple(student.shape)} and {tuple(teacher.shape)}'
            raise ValueError(f'HHDLoss: maps of student and teacher must be (B, K, H, W): {found}')
        if any(n > size for n, size in zip(self.crop_size, student.shape[2:])):
            most = f"give at most the maps' (height, width) {tuple(student.shape[2:])}"
            raise refusal(f'{self.key}.crop_size', self.crop_size, most)
        if weight is not None and weight.shape != student.shape[:2]:
            raise ValueError(
                f'HHDLoss: target_weight {tuple(weight.shape)} must be (B, K) '
                f'{tuple(student.shape[:2])}'
            )
        if self.mode == 'aligned' and self.beta is None:
            own = "give the beta of the student's head, or call bind(head)"
            raise refusal(f'{self.key}.beta', None, own)

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
        weight = self.used(target_weight)
        self._check(student_maps, teacher_maps, weight)
        student = upcast(student_maps)
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
        return scaled(loss, self.loss_weight)

    def drawn(self, student_maps: Tensor, teacher_maps: Tensor, which: str) -> list[Panel]:
        """Both maps with the windows that are compared, see :meth:`Distillation.drawn`.

        Args:
            student_maps, teacher_maps: As in :meth:`forward`.
            which: Which teacher it is, for the titles; ``''``: the only one.
        """
        student, teacher = upcast(student_maps), upcast(teacher_maps)
        if self.mode == 'released':
            prob = softmax_maps(student, 1.0)
            x, y, _ = highest_position(teacher)
            size = student.shape[:1:-1]
            centres = released_centre(x, y, student.exp().sum((2, 3)), size), (x, y)
        else:
            prob = softmax_maps(student, self.beta)
            settings = self.settings
            centres = aligned_centres(prob, teacher, settings['window'], settings['align'])
        maps = prob, teacher
        return [
            windows_panel(f'HHD: {whose} windows{which}', one, *centre, self.crop_size)
            for whose, one, centre in zip(("student's", "teacher's"), maps, centres)
        ]
