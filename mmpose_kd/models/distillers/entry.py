"""What all entries of ``distill`` have in common."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Optional, Union

from mmpose.registry import MODELS
from torch import Tensor, nn

from ...schedule import Schedule, checked_weight
from ..modules.gradient_balance import GradientBalance
from .taps import Tap
from .teacher import Teacher, num_keypoints

RESIZE = (None, 'corners', 'areas', 'origin')


class Entry(nn.Module):
    """A loss on outputs of the student, its factor, and a trained adapter in between.

    A subclass has ``from_teachers``, ``teacher_taps`` (for each teacher that must be run the
    places to catch), :meth:`targets` and ``forward(student, taught, teachers, targets)``.

    Args:
        model: The student.
        student: See :class:`Distillation`, as the rest.
        adapter, resize, weight, schedule, name, key: See there.

    Raises:
        ValueError: A setting that cannot be used, or a submodule that does not exist.
    """

    from_teachers: tuple[int, ...]
    teacher_taps: dict[int, list[Tap]]
    about_keypoints = True  # whether the caught outputs have keypoints (B, K, ...)
    loss_module: nn.Module

    def __init__(
        self,
        model: nn.Module,
        student: Union[str, Sequence[str]],
        adapter: Optional[dict],
        resize: Optional[str],
        weight: float,
        schedule: Optional[dict],
        name: Optional[str],
        key: str,
    ):
        super().__init__()
        if resize not in RESIZE:
            raise ValueError(f'{key}.resize={resize!r}: choose one of {RESIZE}')
        self.key, self.name, self.resize = key, name, resize
        self.weight = checked_weight(weight, f'{key}.weight')
        self.schedule = Schedule.build(schedule, f'{key}.schedule')
        self.student_taps = named_taps(model, student, f'{key}.student')
        self.adapter = MODELS.build(copy.deepcopy(adapter)) if adapter else None
        # whose factor the loss is multiplied by first
        self.balance: Optional[GradientBalance] = None

    def factor(self) -> float:
        """The loss's factor at the present epoch."""
        return self.weight * self.schedule.now()

    def idle(self) -> Union[Tensor, float]:
        """A loss of 0 that still reaches the adapter, for processes that train together."""
        return sum((p.sum() * 0.0 for p in self.parameters() if p.requires_grad), 0.0)

    def check_keypoints(self, student: nn.Module, teacher: Teacher) -> None:
        """Whether student and teacher have the same keypoints, or a mapping.

        Raises:
            ValueError: Not so, or the loss would teach keypoints that the teacher does not have.
        """
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

    def targets(self, data_samples: list):
        """What the loss needs to know of the labels."""
        raise NotImplementedError

    def adapted(self, student: list[Tensor]) -> list[Tensor]:
        """The student's outputs behind the adapter."""
        if self.adapter is None:
            return student
        wanted = getattr(self.adapter, 'in_channels', None)
        for tap, x in zip(self.student_taps, student):
            if wanted is not None and x.ndim == 4 and x.shape[1] != wanted:
                raise ValueError(
                    f'{self.key}.adapter.in_channels={wanted}: {tap.name!r} of the student has '
                    f'shape {tuple(x.shape)}, give {x.shape[1]}'
                )
        return [self.adapter(x) for x in student]


def named_taps(model: nn.Module, names: Union[str, Sequence[str]], key: str) -> list[Tap]:
    """The places that a setting names, one or several.

    Raises:
        ValueError: One that does not exist, or none.
    """
    if isinstance(names, str):
        return [Tap(model, names, key)]
    if not isinstance(names, Sequence) or not names:
        raise ValueError(f"{key}={names!r}: give a submodule's path, or several")
    return [Tap(model, name, key) for name in names]


def checked_teachers(numbers: Sequence[int], count: int, key: str) -> tuple[int, ...]:
    """``from_teachers`` of an entry.

    Raises:
        ValueError: It names no teachers, others than there are, or one twice.
    """
    good = isinstance(numbers, Sequence) and len(numbers) > 0
    if not good or not all(type(n) is int and 0 <= n < count for n in numbers):
        raise ValueError(
            f'{key}.from_teachers={numbers!r}: give numbers of the {count} teachers, from 0'
        )
    if len(set(numbers)) < len(numbers):
        raise ValueError(f'{key}.from_teachers={numbers!r} names a teacher twice')
    return tuple(numbers)
