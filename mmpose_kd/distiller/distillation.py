"""One loss between a student and its teachers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional, Union

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import built_by, checked_numbers, refusal
from ..core.deployed import predicting_head
from ..core.gradient_balance import GradientBalance
from ..core.head_output import heatmap_grid, near, positions, taught_weights
from ..core.loss import takes_target_weight
from ..core.panels import Panel
from .entry import DISTILL_ENTRIES, DistillBatch, Entry, checked_teachers, output_paths
from .label_check import label_positions
from .teacher import Teacher


@DISTILL_ENTRIES.register_module()
class Distillation(Entry):
    """An entry of ``distill``: which outputs are joined, by which loss, how strongly.

    Args:
        model: The student.
        teachers: All teachers.
        loss: Config of a loss module, ``loss(student, teacher)`` for features or
            ``loss(student, teacher, target_weight)`` for keypoints (B, K, ...). The second kind
            is told apart by its third argument, and sees the student's keypoints only. A
            cross-representation loss (``same_shape = False``) compares the student's head with
            one teacher's heatmaps.
        student: Submodule of the student whose output is taken, see :class:`OutputPath`; several
            names give the loss a tuple.
        teacher: The same in the teachers.
        from_teachers: Numbers of the teachers, from 0. The loss is a weighted sum over them.
        teacher_weights: Their weights, in the same order; ``'confidence'`` weighs them for each
            keypoint by the height of the peaks of their maps (B, K, H, W), relative to one
            another; ``'labels'`` lets them teach only the keypoints that they find themselves,
            within 5 % of the picture of the label. None: all 1.
        adapter: Config of a module for the student's output, trained with the student and left
            out of the export: ``dict(type='Conv2d', in_channels=32, out_channels=48,
            kernel_size=1)``.
        resize: How teacher maps (B, C, H, W) of another size are brought to the student's:
            ``'corners'`` lets the centres of the corner pixels coincide (``UDPHeatmap``),
            ``'origin'`` the centres of the first pixels, so that places scale with the size
            (``MSRAHeatmap``), ``'areas'`` the outer edges. None: the sizes must be the same.
        balance: Settings of :class:`GradientBalance`, or True for its defaults: the loss is
            multiplied by the running factor that makes its gradient at the student's outputs as
            large as that of the student's own losses there, so that ``weight`` is their ratio.
        weight: Factor of the loss, at least 0.
        schedule: Arguments of :class:`mmpose_kd.core.schedule.Schedule`. None: constant.
        name: The loss is logged as ``loss_<name>``. None: ``distill<number>``.
        key: Name of the config key, for messages.

    Raises:
        ValueError: A setting that cannot be used, or a submodule that does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        teachers: list[Teacher],
        loss: dict,
        student: Union[str, Sequence[str]],
        teacher: Union[str, Sequence[str]],
        from_teachers: Sequence[int] = (0,),
        teacher_weights: Union[None, str, Sequence[float]] = None,
        adapter: Optional[dict] = None,
        resize: Optional[str] = None,
        balance: Union[bool, dict] = False,
        weight: float = 1.0,
        schedule: Optional[dict] = None,
        name: Optional[str] = None,
        key: str = 'distill[0]',
    ):
        super().__init__(model, student, adapter, resize, weight, schedule, name, key)
        built = GradientBalance.build(balance, f'{key}.balance')
        self.balance = built if weight else None
        self.teachers = tuple(teachers)
        self.from_teachers = checked_teachers(from_teachers, len(teachers), key)
        self.teacher_weights = _checked_weights(teacher_weights, self.from_teachers, key)
        self.teacher_paths = {
            n: output_paths(teachers[n].model, teacher, f'{key}.teacher')
            for n in self.from_teachers
        }
        self.loss_module = built_by(MODELS, loss, f'{key}.loss')
        self.about_keypoints = takes_target_weight(self.loss_module)
        self.same_shape = getattr(self.loss_module, 'same_shape', True)
        if self.same_shape:
            if len(self.student_paths) != len(next(iter(self.teacher_paths.values()))):
                raise ValueError(
                    f'{key}: student={student!r} and teacher={teacher!r} must name as many '
                    'outputs: give one of the teacher for each of the student'
                )
            for name, given in (('student', student), ('teacher', teacher)):
                if not isinstance(given, str) and len(set(given)) < len(given):
                    raise refusal(f'{key}.{name}', given, 'give each output once')
            if hasattr(self.loss_module, 'bind'):
                self.loss_module.bind(getattr(model, 'head', None))
            if hasattr(self.loss_module, 'check_outputs'):
                self.loss_module.check_outputs(model, self.student_paths)
        else:
            self._bind_across(model)
        if self.about_keypoints:
            for n in self.from_teachers:
                self.check_keypoints(model, teachers[n])
                self._warn_of_grids(model, teachers[n])
        ignores = getattr(self.loss_module, 'use_target_weight', True) is False
        if isinstance(self.teacher_weights, str) and (ignores or not self.about_keypoints):
            raise ValueError(
                f'{key}.teacher_weights={self.teacher_weights!r} needs a loss that weighs '
                'keypoints: '
                + ('set loss.use_target_weight=True' if ignores else f'{loss["type"]} cannot')
            )

    def _warn_of_grids(self, student: nn.Module, teacher: Teacher) -> None:
        """Say so where maps are compared pixel by pixel whose pixels lie elsewhere."""
        paths = [*self.student_paths, *next(iter(self.teacher_paths.values()))]
        if not self.same_shape or not all(path.name.startswith('head') for path in paths):
            return
        own, other = (heatmap_grid(getattr(x, 'head', None)) for x in (student, teacher.model))
        if None in (own, other):
            return
        fitting = 'corners' if own == 'i / (W - 1)' else 'origin'
        if own != other:
            told = (
                f"{self.key}: the student's codec puts pixel i of W at {own} of the picture, that "
                f'of {teacher.key} at {other}: what it teaches lies up to a pixel of the maps '
                "beside the student's labels. Give a teacher with the student's codec"
            )
        elif self.resize not in (None, fitting) and not _same_size(student, teacher.model):
            told = (
                f'{self.key}.resize={self.resize!r}: both codecs put pixel i of W at {own} of the '
                'picture, and maps that are resized so lie up to half a pixel beside it: give '
                f'{fitting!r}'
            )
        else:
            return
        print_log(told, 'current', logging.WARNING)

    def _bind_across(self, student: nn.Module) -> None:
        """Tell a cross-representation loss what both sides' numbers mean."""
        kind = type(self.loss_module).__name__
        paths = self.teacher_paths[self.from_teachers[0]]
        for setting, wrong, right in (
            ('from_teachers', len(self.from_teachers) > 1, 'give one, and others their own entry'),
            ('teacher', len(paths) > 1, "give the one with heatmaps, like 'head'"),
            ('resize', self.resize is not None, 'leave it out'),
        ):
            if wrong:
                raise ValueError(
                    f'{self.key}.{setting}: {kind} reads the heatmaps of one teacher in their own '
                    f'size; {right}'
                )
        teacher = self.teachers[self.from_teachers[0]]
        codec = getattr(getattr(teacher.model, 'head', None), 'decoder', None)
        self.loss_module.bind(
            predicting_head(getattr(student, 'head', None)),
            codec,
            f'{teacher.key}.config: head.decoder',
        )

    def forward(self, batch: DistillBatch) -> Tensor:
        """The loss, without :meth:`factor`; a scalar.

        Raises:
            ValueError: The two sides' shapes do not fit.
        """
        student = self.adapted(batch.student)
        target_weight = taught_weights(batch.data_samples) if self.about_keypoints else None
        outputs, weights = {}, {}
        for n in self.from_teachers:
            teacher, given = self.teachers[n], batch.teachers[n]
            if self.same_shape:
                outputs[n] = [self._fit(s, t, teacher) for s, t in zip(student, given)]
            else:
                outputs[n] = [self._heatmaps(student, given[0], teacher)]
            if self.about_keypoints:
                weights[n] = teacher.masked_weight(target_weight)
        shares = self._shares(outputs, weights, batch.data_samples)
        total = 0.0
        for n in self.from_teachers:
            arguments = [_alone(student), _alone(outputs[n])]
            if self.about_keypoints:
                per_keypoint = isinstance(shares[n], Tensor)
                arguments.append(weights[n] * shares[n] if per_keypoint else weights[n])
            loss = self.loss_module(*arguments)
            total = total + (loss if isinstance(shares[n], Tensor) else loss * shares[n])
        return total

    def drawn(self, student: list[Tensor], teachers: dict[int, list[Tensor]]) -> list[Panel]:
        """What its loss has to show of what it compares: a loss may have a method ``drawn``."""
        if not hasattr(self.loss_module, 'drawn'):
            return []
        student, found = self.adapted(student), []
        for n in self.from_teachers:
            pairs = [self._fit(s, t, self.teachers[n]) for s, t in zip(student, teachers[n])]
            which = f' (teacher {n})' if len(self.from_teachers) > 1 else ''
            found += self.loss_module.drawn(_alone(student), _alone(pairs), which)
        return found

    def _fit(self, student: Tensor, output: Tensor, teacher: Teacher) -> Tensor:
        """A teacher's output with the student's keypoints and size."""
        if self.about_keypoints:
            output = teacher.pick_keypoints(output)
        if self.resize and output.ndim == 4 and output.shape[2:] != student.shape[2:]:
            output = resized(output, student.shape[2:], self.resize)
        bins = self.about_keypoints and output.ndim == 3 and output.shape[2] > 4
        if output.shape != student.shape and bins:
            raise ValueError(
                f'{self.key}: the student has bins {tuple(student.shape)}, {teacher.key} '
                f'{tuple(output.shape)}: give a teacher whose codec has the same input_size times '
                f'simcc_split_ratio; for other keypoints {teacher.key}.keypoints'
            )
        if output.shape != student.shape:
            raise ValueError(
                f'{self.key}: the student has {tuple(student.shape)}, {teacher.key} '
                f'{tuple(output.shape)}; for another height or width set {self.key}.resize, for '
                f'other channels {self.key}.adapter, for other keypoints {teacher.key}.keypoints'
            )
        return output

    def _heatmaps(self, student: list[Tensor], output: Tensor, teacher: Teacher) -> Tensor:
        """A teacher's heatmaps of the student's keypoints, for a student without heatmaps."""
        maps = teacher.pick_keypoints(output)
        size = tuple(self.loss_module.codec.heatmap_size)[::-1]
        if maps.ndim != 4 or maps.shape[2:] != size:
            path = self.teacher_paths[self.from_teachers[0]][0]
            raise ValueError(
                f'{self.key}.teacher={path.name!r} of {teacher.key} has {tuple(output.shape)}: '
                f'give its heatmaps, (B, K, {size[0]}, {size[1]})'
            )
        bins = self.loss_module.teaches == 'bins'
        wanted = 'logits x and y (B, K, bins)' if bins else 'coordinates (B, K, 2 or more)'
        hint = "('head[0]', 'head[1]')" if bins else "'head', or 'head[0]' of several outputs"
        fits = len(student) == (2 if bins else 1) and all(
            x.ndim == 3 and x.shape[:2] == maps.shape[:2] for x in student
        )
        if not fits or (not bins and student[0].shape[2] < 2):
            names = ', '.join(path.name for path in self.student_paths)
            raise ValueError(
                f'{self.key}.student={names!r} has {[tuple(x.shape) for x in student]}, '
                f'{teacher.key} {tuple(maps.shape)}: {type(self.loss_module).__name__} needs '
                f'{wanted}; name them as {hint}'
            )
        return maps

    def _shares(
        self, outputs: dict[int, list[Tensor]], weights: dict[int, Tensor], data_samples: list
    ) -> dict[int, Union[float, Tensor]]:
        """The teachers' weights: numbers, or for each keypoint (B, K)."""
        if not isinstance(self.teacher_weights, str):
            return dict(zip(self.from_teachers, self.teacher_weights))
        if self.teacher_weights == 'labels':
            return {n: self._found(output, data_samples) for n, output in outputs.items()}
        for n, output in outputs.items():
            if any(x.ndim != 4 for x in output):
                raise ValueError(
                    f"{self.key}.teacher_weights='confidence' compares the peaks of keypoint maps "
                    f'(B, K, H, W), {self.teachers[n].key} has {[tuple(x.shape) for x in output]}:'
                    " give teacher_weights='labels', or a number for each of from_teachers"
                )
        peaks = {
            # a teacher without this keypoint has nothing to say about it
            n: (weights[n] > 0) * sum(x.flatten(2).amax(-1).clamp(min=0) for x in outputs[n])
            for n in self.from_teachers
        }
        total = sum(peaks.values()).clamp(min=1e-6)
        return {n: peak / total for n, peak in peaks.items()}

    def _found(self, output: list[Tensor], data_samples: list) -> Tensor:
        """1 for a keypoint (B, K) that a teacher's output puts where its label is, else 0."""
        labels = label_positions(data_samples)
        ndims = {x.ndim for x in output}
        kinds = {(4, 1): 'heatmap', (3, 2): 'bins', (3, 1): 'coordinates'}
        kind = kinds.get((*ndims, len(output))) if len(ndims) == 1 else None
        if labels is None or kind is None:
            what = (
                'labels of no known kind' if labels is None else [tuple(x.shape) for x in output]
            )
            raise ValueError(
                f"{self.key}.teacher_weights='labels': places cannot be read of {what}; name the "
                "teacher's heatmaps, bins or coordinates, or leave it out"
            )
        return near(positions(kind, output), labels).to(output[0])


def resized(maps: Tensor, size: Sequence[int], how: str) -> Tensor:
    """Maps (B, C, H, W) with another height and width.

    Args:
        maps: The maps.
        size: Height and width wanted.
        how: ``'corners'``, ``'origin'`` or ``'areas'``, see :class:`Distillation`.
    """
    if how != 'origin':
        return F.interpolate(maps, tuple(size), mode='bilinear', align_corners=how == 'corners')
    y, x = (
        2 * torch.arange(new, device=maps.device, dtype=maps.dtype) * (old / new) / max(old - 1, 1)
        - 1
        for new, old in zip(size, maps.shape[2:])
    )
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)  # (H, W, 2)
    grid = grid.expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, padding_mode='border', align_corners=True)


def _same_size(*models: nn.Module) -> bool:
    """Whether the heatmaps of all have the same size by their codecs."""
    codecs = (getattr(model.head, 'decoder', None) for model in models)
    found = (getattr(codec, 'heatmap_codec', codec) for codec in codecs)
    return len({tuple(codec.heatmap_size) for codec in found}) == 1


def _alone(outputs: list[Tensor]) -> Union[Tensor, tuple[Tensor, ...]]:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _checked_weights(
    weights: Union[None, str, Sequence[float]], teachers: tuple[int, ...], key: str
) -> Union[str, tuple[float, ...]]:
    if weights is None:
        return (1.0,) * len(teachers)
    if isinstance(weights, str):
        if weights not in ('confidence', 'labels'):
            give = "give 'confidence', 'labels', or a number for each of from_teachers"
            raise refusal(f'{key}.teacher_weights', weights, give)
        return weights
    weights = checked_numbers(weights, f'{key}.teacher_weights', count=len(teachers))
    if min(weights) < 0:
        raise refusal(f'{key}.teacher_weights', weights, 'give numbers, 0 or more')
    return weights
