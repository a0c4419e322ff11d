"""TCD's entry of a distiller: a teacher's frozen head on the student's feature."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import built_by, refusal
from ..core.gradient_balance import GradientBalance
from ..core.head_output import ground_truth, taught_weights
from ..core.panels import Panel, heatmap_panel
from ..distiller.distillation import resized
from ..distiller.entry import DISTILL_ENTRIES, DistillBatch, Entry, checked_teachers
from ..distiller.teacher import Teacher
from .codec import heatmap_samples
from .reading import pixel_size


@DISTILL_ENTRIES.register_module()
class ThroughTeacherHead(Entry):
    """An entry of ``distill``: the heatmap loss of a teacher's frozen head on a student's feature.

    The student's feature goes through a trained adapter and the teacher's frozen head; the
    heatmaps are scored against those of the labels. The gradient passes the frozen head and
    teaches adapter and student. The teacher's backbone is not run for it. Adapter and teacher
    are left out of the export.

    The task loss as distillation loss of TCD: Liu et al., "Boosting Pose Estimators via
    Cross-Representation Distillation", ECCV Workshops 2024,
    https://doi.org/10.1007/978-3-031-91575-8_21. OUR RECONSTRUCTION from the abstract: the
    paper's formulas and weights could not be had.

    The labels' heatmaps come from :class:`CrossRepresentationLabel` in the training pipeline,
    whose ``heatmap`` is the teacher's codec. (A teacher with a ``view`` of another size: its
    ``heatmap_size`` and ``sigma``, with the student's ``input_size``.)

    Args:
        model: The student.
        teachers: All teachers.
        student: Submodule whose output is taken, a feature map (B, C, h, w): ``'backbone'``,
            before any global pooling.
        adapter: Config of a module that brings the feature to the channels that the teacher's
            head expects: ``dict(type='Conv2d', in_channels=2048, out_channels=48,
            kernel_size=1)``. It may enlarge the feature as well: ``dict(type='pixel_shuffle',
            in_channels=2048, out_channels=48, scale_factor=8, upsample_kernel=1)`` is a 1 x 1
            convolution whose channels become places. None: the channels are the same.
        resize: How the adapted feature is brought to the height and width that the head
            expects: ``'origin'``, ``'areas'`` or ``'corners'``, see :class:`Distillation`.
            None: they must be the same.
        from_teachers: Number of the teacher, from 0, in a list of one. Its head must be a
            ``HeatmapHead`` or of a subclass.
        loss: Config of a heatmap loss ``loss(output, target, target_weight)``. None: MMPose's
            ``KeypointMSELoss`` with target weights.
        balance: Settings of :class:`GradientBalance`, or True for its defaults: the loss is
            multiplied by the running factor that makes its gradient at the student's feature as
            large as that of the student's own losses, and then by ``weight``. False: by
            ``weight`` alone.
        weight, schedule, name, key: See :class:`Distillation`.

    Raises:
        ValueError: A setting that cannot be used, a submodule that does not exist, or a teacher
            without such a head.
    """

    def __init__(
        self,
        model: nn.Module,
        teachers: list[Teacher],
        student: str,
        adapter: Optional[dict] = None,
        resize: Optional[str] = None,
        from_teachers: Sequence[int] = (0,),
        loss: Optional[dict] = None,
        balance: Union[bool, dict] = False,
        weight: float = 1.0,
        schedule: Optional[dict] = None,
        name: Optional[str] = None,
        key: str = 'distill[0]',
    ):
        super().__init__(model, student, adapter, resize, weight, schedule, name, key)
        self.teachers = tuple(teachers)
        self.from_teachers = checked_teachers(from_teachers, len(teachers), key)
        if len(self.from_teachers) > 1:
            give = 'each head needs its own adapter: give one teacher, others their own entry'
            raise refusal(f'{key}.from_teachers', from_teachers, give)
        if len(self.student_paths) > 1:
            raise refusal(f'{key}.student', student, 'give one feature map')
        self.teacher_paths = {}  # nothing of the teacher's own pass is needed
        task_loss = dict(type='KeypointMSELoss', use_target_weight=True) if loss is None else loss
        self.loss_module = built_by(MODELS, task_loss, f'{key}.loss')
        built = GradientBalance.build(balance, f'{key}.balance')
        self.balance = built if weight else None
        self._check_teacher(model, teachers[self.from_teachers[0]])
        teachers[self.from_teachers[0]].precision.taught_through = True

    def _check_teacher(self, model: nn.Module, teacher: Teacher) -> None:
        key = f'{teacher.key}.config'
        head = teaching_head(teacher.model, key)
        self.head_size = head_input_size(head, key)
        self.check_keypoints(model, teacher)
        channels = getattr(self.adapter, 'out_channels', None)
        if channels is not None and channels != head.in_channels:
            raise ValueError(
                f'{self.key}.adapter.out_channels={channels}: the head of {teacher.key} expects '
                f'{head.in_channels}, give that'
            )

    def forward(self, batch: DistillBatch) -> Tensor:
        """The loss, without :meth:`factor` and ``balance``; a scalar.

        Args:
            batch: ``student`` holds the feature map (B, C, h, w) alone.

        Raises:
            ValueError: The feature does not fit the head, or the pipeline makes no heatmaps, or
                others than the head's.
        """
        samples, _ = heatmap_samples(batch.data_samples, f'{self.key} (ThroughTeacherHead)')
        target, weight = ground_truth('heatmap', samples)[0], taught_weights(samples)
        teacher = self.teachers[self.from_teachers[0]]
        feature = self._fit(batch.student[0], self.adapted(batch.student)[0], teacher)
        maps = teacher.pick_keypoints(teacher.through_head(feature))
        if maps.shape != target.shape:
            raise ValueError(
                f'{self.key}: the heatmaps of the labels have {tuple(target.shape)}, '
                f'those of the head of {teacher.key} {tuple(maps.shape)}; give '
                'CrossRepresentationLabel.heatmap in train_dataloader.dataset.pipeline the '
                f"teacher's codec, with heatmap_size={tuple(maps.shape[:1:-1])}"
            )
        return self.loss_module(maps, target, teacher.masked_weight(weight))

    def drawn(self, student: list[Tensor], teachers: dict[int, list[Tensor]]) -> list[Panel]:
        """The heatmaps of the teacher's head on the student's feature."""
        teacher = self.teachers[self.from_teachers[0]]
        feature = self._fit(student[0], self.adapted(student)[0], teacher)
        maps = teacher.pick_keypoints(teacher.through_head(feature))
        return [heatmap_panel("student through the teacher's head", maps)]

    def _fit(self, feature: Tensor, adapted: Tensor, teacher: Teacher) -> Tensor:
        """The adapted feature in the size that the teacher's head expects."""
        head = teacher.model.head
        size = self.head_size
        if self.resize and adapted.ndim == 4 and adapted.shape[2:] != size:
            adapted = resized(adapted, size, self.resize)
        wanted = (head.in_channels, *size)
        if adapted.ndim != 4 or tuple(adapted.shape[1:]) != wanted:
            raise ValueError(
                f'{self.key}.student={self.student_paths[0].name!r} has {tuple(feature.shape)}, '
                f'behind the adapter {tuple(adapted.shape)}; the head of {teacher.key} expects '
                f'(B, {", ".join(map(str, wanted))}): for other channels set {self.key}.adapter, '
                f'for another height or width {self.key}.resize'
            )
        return adapted


def teaching_head(teacher: nn.Module, key: str) -> HeatmapHead:
    """A teacher's head, if it can teach by its heatmaps.

    Args:
        teacher: The teacher's model.
        key: Name of the config key that its config is given in.

    Raises:
        ValueError: It is no heatmap head, or its codec does not make one Gaussian a keypoint.
    """
    head = getattr(teacher, 'head', None)
    if not isinstance(head, HeatmapHead):
        raise ValueError(
            f'{key}: the head is a {type(head).__name__}, and TCD (ThroughTeacherHead) needs a '
            'HeatmapHead or a subclass of it: give another teacher'
        )
    if head.decoder is None:
        raise ValueError(f'{key}: head.decoder=None: give its codec')
    pixel_size(head.decoder, f'{key}: head.decoder')
    return head


def head_input_size(head: HeatmapHead, key: str) -> tuple[int, int]:
    """Height and width of the feature map from which a heatmap head makes its heatmaps.

    Found by running a copy of it without values: its maps are larger than the feature by a factor.

    Args:
        head: A head as :func:`teaching_head` returns it.
        key: Name of the config key that its model's config is given in.

    Raises:
        ValueError: There is no such factor, or the head cannot be run.
    """
    shell = copy.deepcopy(head).to('meta', torch.float32).eval()

    def made_of(size: tuple[int, int]) -> tuple[int, int]:
        feature = torch.empty(1, head.in_channels, *size, device='meta')
        return tuple(shell((feature,)).shape[2:])

    wanted = tuple(head.decoder.heatmap_size)[::-1]
    try:
        with torch.no_grad():
            found = made_of(wanted)
            size = tuple(w * w // f for w, f in zip(wanted, found))
            made = made_of(size)
    except Exception as error:  # a head may do anything
        made, found = None, ' '.join(str(error).split())
    if made != wanted:
        raise ValueError(
            f'{key}: head.type={type(head).__name__}: from a feature of which height and width it '
            f'makes maps of {wanted} cannot be found (a feature of {wanted} gives: {found}): look '
            'at head.decoder.heatmap_size, or give another teacher'
        )
    return size
