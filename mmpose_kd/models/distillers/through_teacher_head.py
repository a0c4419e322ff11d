"""Task loss of a teacher's frozen head on the student's feature."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import Tensor, nn

from ...codecs import pixel_size
from ..heads.targets import heatmap_samples, label_weights
from ..modules.gradient_balance import GradientBalance
from .distillation import resized
from .entry import Entry, checked_teachers
from .teacher import Teacher


class HeatmapTargets(NamedTuple):
    """Heatmaps (B, K, H, W) of the labels, and keypoint weights (B, K)."""

    heatmaps: Tensor
    weights: Tensor


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

    The labels' heatmaps come from :class:`~mmpose_kd.codecs.CrossRepresentationLabel` in the
    training pipeline, whose ``heatmap`` is the teacher's codec. (A teacher with a ``view`` of
    another size: its ``heatmap_size`` and ``sigma``, with the student's ``input_size``.)

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
        self.from_teachers = checked_teachers(from_teachers, len(teachers), key)
        if len(self.from_teachers) > 1:
            raise ValueError(
                f'{key}.from_teachers={from_teachers!r}: each head needs an adapter of its own; '
                'give one teacher, and others their own entry'
            )
        if len(self.student_taps) > 1:
            raise ValueError(f'{key}.student={student!r}: give one feature map')
        self.teacher_taps = {}  # nothing of the teacher's own pass is needed
        self.loss_module = MODELS.build(
            copy.deepcopy(loss) or dict(type='KeypointMSELoss', use_target_weight=True)
        )
        self.balance = GradientBalance.build(balance, f'{key}.balance') if weight else None
        self._check_teacher(model, teachers[self.from_teachers[0]])

    def _check_teacher(self, model: nn.Module, teacher: Teacher) -> None:
        head = getattr(teacher.model, 'head', None)
        if not isinstance(head, HeatmapHead):
            raise ValueError(
                f'{teacher.key}.config: the head is a {type(head).__name__}, and '
                f'{self.key}.type=ThroughTeacherHead needs a HeatmapHead; give another teacher'
            )
        if head.decoder is None:
            raise ValueError(f'{teacher.key}.config: head.decoder=None; give its codec')
        pixel_size(head.decoder, f'{teacher.key}.config: head.decoder')
        self.check_keypoints(model, teacher)
        channels = getattr(self.adapter, 'out_channels', None)
        if channels is not None and channels != head.in_channels:
            raise ValueError(
                f'{self.key}.adapter.out_channels={channels}: the head of {teacher.key} expects '
                f'{head.in_channels}, give that'
            )

    def targets(self, data_samples: list) -> HeatmapTargets:
        """The labels' heatmaps and their weights.

        Raises:
            ValueError: The pipeline makes no heatmaps.
        """
        samples = heatmap_samples(data_samples, f'{self.key} (ThroughTeacherHead)')
        heatmaps = torch.stack([sample.gt_fields.heatmaps for sample in samples])
        return HeatmapTargets(heatmaps, label_weights(samples))

    def forward(
        self,
        student: list[Tensor],
        taught: dict[int, list[Tensor]],
        teachers: list[Teacher],
        targets: HeatmapTargets,
    ) -> Tensor:
        """The loss, without :meth:`factor` and ``balance``.

        Args:
            student: The feature map (B, C, h, w), alone in a list.
            taught: Not used: outputs of teachers.
            teachers: All teachers.
            targets: See :meth:`targets`.

        Returns:
            A scalar.

        Raises:
            ValueError: The feature does not fit the head, or the targets not its heatmaps.
        """
        teacher = teachers[self.from_teachers[0]]
        feature = self._fit(student[0], self.adapted(student)[0], teacher)
        maps = teacher.pick_keypoints(teacher.through_head(feature))
        if maps.shape != targets.heatmaps.shape:
            raise ValueError(
                f'{self.key}: the heatmaps of the labels have {tuple(targets.heatmaps.shape)}, '
                f'those of the head of {teacher.key} {tuple(maps.shape)}; give '
                'CrossRepresentationLabel.heatmap in train_dataloader.dataset.pipeline the '
                f"teacher's codec, with heatmap_size={tuple(maps.shape[:1:-1])}"
            )
        return self.loss_module(maps, targets.heatmaps, teacher.knows(targets.weights))

    def _fit(self, feature: Tensor, adapted: Tensor, teacher: Teacher) -> Tensor:
        """The adapted feature in the size that the teacher's head expects."""
        head = teacher.model.head
        size = head_input_size(head)
        if self.resize and adapted.ndim == 4 and adapted.shape[2:] != size:
            adapted = resized(adapted, size, self.resize)
        wanted = (head.in_channels, *size)
        if adapted.ndim != 4 or tuple(adapted.shape[1:]) != wanted:
            raise ValueError(
                f'{self.key}.student={self.student_taps[0].name!r} has {tuple(feature.shape)}, '
                f'behind the adapter {tuple(adapted.shape)}; the head of {teacher.key} expects '
                f'(B, {", ".join(map(str, wanted))}): for other channels set {self.key}.adapter, '
                f'for another height or width {self.key}.resize'
            )
        return adapted


def head_input_size(head: HeatmapHead) -> tuple[int, int]:
    """Height and width of the feature map from which a heatmap head makes its heatmaps."""
    scale = 1
    for module in head.modules():
        if isinstance(module, nn.ConvTranspose2d):
            scale *= module.stride[0]
    width, height = head.decoder.heatmap_size
    return height // scale, width // scale
