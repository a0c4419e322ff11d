"""One loss between a student and its teachers."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Optional, Union

import torch
import torch.nn.functional as F
from mmpose.registry import MODELS
from torch import Tensor, nn

from ...schedule import Schedule
from .taps import Tap
from .teacher import Teacher, num_keypoints

RESIZE = (None, 'corners', 'areas', 'origin')


class Distillation(nn.Module):
    """An entry of ``distill``: which outputs are joined, by which loss, how strongly.

    Args:
        model: The student.
        teachers: All teachers.
        loss: Config of a loss module, ``loss(student, teacher)`` for features or
            ``loss(student, teacher, target_weight)`` for keypoints (B, K, ...). The second kind
            is told apart by its third argument, and sees the student's keypoints only.
        student: Submodule of the student whose output is taken, see :class:`Tap`; several
            names give the loss a tuple.
        teacher: The same in the teachers.
        from_teachers: Numbers of the teachers, from 0. The loss is a weighted sum over them.
        teacher_weights: Their weights, in the same order; ``'confidence'`` weighs them for each
            keypoint by the height of their maps' peaks, relative to one another. None: all 1.
        adapter: Config of a module for the student's output, trained with the student and left
            out of the export: ``dict(type='Conv2d', in_channels=32, out_channels=48,
            kernel_size=1)``.
        resize: How teacher maps (B, C, H, W) of another size are brought to the student's:
            ``'corners'`` lets the centres of the corner pixels coincide (``UDPHeatmap``),
            ``'origin'`` the centres of the first pixels, so that places scale with the size
            (``MSRAHeatmap``), ``'areas'`` the outer edges. None: the sizes must be the same.
        weight: Factor of the loss, at least 0.
        schedule: Arguments of :class:`mmpose_kd.schedule.Schedule`. None: constant.
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
        weight: float = 1.0,
        schedule: Optional[dict] = None,
        name: Optional[str] = None,
        key: str = 'distill[0]',
    ):
        super().__init__()
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight >= 0:
            raise ValueError(f'{key}.weight={weight!r}: give a number, 0 or more')
        if resize not in RESIZE:
            raise ValueError(f'{key}.resize={resize!r}: choose one of {RESIZE}')
        self.key, self.name, self.weight, self.resize = key, name, weight, resize
        self.schedule = Schedule.build(schedule, f'{key}.schedule')
        self.from_teachers = _checked_teachers(from_teachers, len(teachers), key)
        self.teacher_weights = _checked_weights(teacher_weights, self.from_teachers, key)
        self.student_taps = _taps(model, student, f'{key}.student')
        self.teacher_taps = {
            n: _taps(teachers[n].model, teacher, f'{key}.teacher') for n in self.from_teachers
        }
        if len(self.student_taps) != len(next(iter(self.teacher_taps.values()))):
            raise ValueError(
                f'{key}: student={student!r} and teacher={teacher!r} must name as many outputs'
            )
        self.loss_module = MODELS.build(copy.deepcopy(loss))
        self.adapter = MODELS.build(copy.deepcopy(adapter)) if adapter else None
        self.about_keypoints = _arguments(self.loss_module) > 2
        if hasattr(self.loss_module, 'bind'):
            self.loss_module.bind(getattr(model, 'head', None))
        if self.about_keypoints:
            for n in self.from_teachers:
                self._check_keypoints(model, teachers[n])
        ignores = getattr(self.loss_module, 'use_target_weight', True) is False
        if self.teacher_weights == 'confidence' and (ignores or not self.about_keypoints):
            raise ValueError(
                f"{key}.teacher_weights='confidence' needs a loss that weighs keypoints: "
                + ('set loss.use_target_weight=True' if ignores else f'{loss["type"]} cannot')
            )

    def _check_keypoints(self, student: nn.Module, teacher: Teacher) -> None:
        own = num_keypoints(student)
        mapped = teacher.keypoints
        count = num_keypoints(teacher.model) if mapped is None else len(mapped)
        if None not in (own, count) and own != count:
            what = 'has' if mapped is None else 'names'
            raise ValueError(
                f'{teacher.key}{"" if mapped is None else ".keypoints"} {what} {count} keypoints, '
                f'the student has {own}: give {teacher.key}.keypoints, for each keypoint of the '
                "student the teacher's number of it, or -1"
            )
        ignores = getattr(self.loss_module, 'use_target_weight', True) is False
        if mapped is not None and ignores and bool((mapped < 0).any()):
            raise ValueError(
                f'{teacher.key}.keypoints has -1, but {self.key}.loss.use_target_weight=False '
                'would teach these keypoints all the same: set it to True'
            )

    def factor(self) -> float:
        """The loss's factor at the present epoch."""
        return self.weight * self.schedule.now()

    def idle(self) -> Union[Tensor, float]:
        """A loss of 0 that still reaches the adapter, for processes that train together."""
        return sum((p.sum() * 0.0 for p in self.parameters() if p.requires_grad), 0.0)

    def forward(
        self,
        student: list[Tensor],
        taught: dict[int, list[Tensor]],
        teachers: list[Teacher],
        target_weight: Optional[Tensor],
    ) -> Tensor:
        """The loss, without :meth:`factor`.

        Args:
            student: Outputs of ``student_taps``.
            taught: For each teacher the outputs of its taps; constants.
            teachers: All teachers.
            target_weight: Keypoint weights (B, K).

        Returns:
            A scalar.

        Raises:
            ValueError: The two sides' shapes do not fit.
        """
        if self.adapter is not None:
            student = [self.adapter(x) for x in student]
        outputs, weights = {}, {}
        for n in self.from_teachers:
            outputs[n] = [self._fit(s, t, teachers[n]) for s, t in zip(student, taught[n])]
            if self.about_keypoints:
                weights[n] = teachers[n].knows(target_weight)
        shares = self._shares(outputs, weights)
        total = 0.0
        for n in self.from_teachers:
            arguments = [_alone(student), _alone(outputs[n])]
            if self.about_keypoints:
                per_keypoint = isinstance(shares[n], Tensor)
                arguments.append(weights[n] * shares[n] if per_keypoint else weights[n])
            loss = self.loss_module(*arguments)
            total = total + (loss if isinstance(shares[n], Tensor) else loss * shares[n])
        return total

    def _fit(self, student: Tensor, output: Tensor, teacher: Teacher) -> Tensor:
        """A teacher's output with the student's keypoints and size."""
        if self.about_keypoints:
            output = teacher.pick_keypoints(output)
        if self.resize and output.ndim == 4 and output.shape[2:] != student.shape[2:]:
            output = resized(output, student.shape[2:], self.resize)
        if output.shape != student.shape:
            raise ValueError(
                f'{self.key}: the student has {tuple(student.shape)}, {teacher.key} '
                f'{tuple(output.shape)}; for another height or width set {self.key}.resize, for '
                f'other channels {self.key}.adapter, for other keypoints {teacher.key}.keypoints'
            )
        return output

    def _shares(
        self, outputs: dict[int, list[Tensor]], weights: dict[int, Tensor]
    ) -> dict[int, Union[float, Tensor]]:
        """The teachers' weights: numbers, or for each keypoint (B, K)."""
        if self.teacher_weights != 'confidence':
            return dict(zip(self.from_teachers, self.teacher_weights))
        peaks = {
            # a teacher without this keypoint has nothing to say about it
            n: (weights[n] > 0) * sum(x.flatten(2).amax(-1).clamp(min=0) for x in outputs[n])
            for n in self.from_teachers
        }
        total = sum(peaks.values()).clamp(min=1e-6)
        return {n: peak / total for n, peak in peaks.items()}


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
        2 * torch.arange(new, device=maps.device, dtype=maps.dtype) * (old / new) / (old - 1) - 1
        for new, old in zip(size, maps.shape[2:])
    )
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)  # (H, W, 2)
    grid = grid.expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, padding_mode='border', align_corners=True)


def _alone(outputs: list[Tensor]) -> Union[Tensor, tuple[Tensor, ...]]:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _arguments(loss: nn.Module) -> int:
    return len(inspect.signature(loss.forward).parameters)


def _taps(model: nn.Module, names: Union[str, Sequence[str]], key: str) -> list[Tap]:
    if isinstance(names, str):
        return [Tap(model, names, key)]
    if not isinstance(names, Sequence) or not names:
        raise ValueError(f"{key}={names!r}: give a submodule's path, or several")
    return [Tap(model, name, key) for name in names]


def _checked_teachers(numbers: Sequence[int], count: int, key: str) -> tuple[int, ...]:
    good = isinstance(numbers, Sequence) and len(numbers) > 0
    if not good or not all(type(n) is int and 0 <= n < count for n in numbers):
        raise ValueError(
            f'{key}.from_teachers={numbers!r}: give numbers of the {count} teachers, from 0'
        )
    if len(set(numbers)) < len(numbers):
        raise ValueError(f'{key}.from_teachers={numbers!r} names a teacher twice')
    return tuple(numbers)


def _checked_weights(
    weights: Union[None, str, Sequence[float]], teachers: tuple[int, ...], key: str
) -> Union[str, tuple[float, ...]]:
    if weights is None:
        return (1.0,) * len(teachers)
    if isinstance(weights, str):
        if weights != 'confidence':
            raise ValueError(
                f"{key}.teacher_weights={weights!r}: give 'confidence', or a number for each of "
                'from_teachers'
            )
        return weights
    if len(weights) != len(teachers) or not all(w >= 0 for w in weights):
        raise ValueError(
            f'{key}.teacher_weights={weights!r}: give a number, 0 or more, for each of '
            f'from_teachers={list(teachers)}'
        )
    return tuple(weights)
