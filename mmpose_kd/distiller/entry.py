"""What a distiller's entries have in common, and how one more kind is added.

An entry of ``PoseDistiller.distill`` is a loss on what was captured of a student and its teachers
in one pass. A kind of entry is a subclass of :class:`Entry` in the registry
:data:`DISTILL_ENTRIES`; it may live in any package::

    @DISTILL_ENTRIES.register_module()
    class AttentionTransfer(Entry):
        def __init__(self, model, teachers, student, teacher, **settings):
            super().__init__(model, student, **settings)
            self.from_teachers = (0,)
            self.teacher_paths = {0: output_paths(teachers[0].model, teacher, self.key)}

        def forward(self, batch):
            student, teacher = batch.student[0], batch.teachers[0][0]
            ...

and is then named in a config: ``distill=[dict(type='AttentionTransfer', ...)]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

from mmengine.registry import Registry
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.capture import OutputPath
from ..core.checks import (
    built_by,
    checked_choice,
    checked_name,
    checked_weight,
    is_list,
    is_whole,
    refusal,
)
from ..core.finite import idle_loss
from ..core.gradient_balance import GradientBalance
from ..core.panels import Panel
from ..core.schedule import Schedule
from .teacher import Teacher

DISTILL_ENTRIES = Registry('entry of a distiller', scope='mmpose_kd')  # inferring takes long

RESIZE = ('corners', 'areas', 'origin')


@dataclass(frozen=True)
class DistillBatch:
    """What an entry is given for one batch.

    Attributes:
        student: Outputs of :attr:`Entry.student_paths`, with their gradient: a loss of them
            teaches the student, and ``torch.autograd.grad(batch.task_loss, batch.student,
            create_graph=True)`` is what the task asks of them.
        teachers: For each teacher of :attr:`Entry.teacher_paths` its outputs; constants, float32.
        data_samples: The batch's B samples, with their labels.
        task_loss: Sum of the student's own losses, a scalar with gradient.
    """

    student: list[Tensor]
    teachers: dict[int, list[Tensor]]
    data_samples: list
    task_loss: Tensor


class Entry(nn.Module):
    """A loss on outputs of the student, its factor, and a trained adapter in between.

    A subclass has ``from_teachers``, ``teacher_paths`` (for each teacher that must be run the
    outputs to capture) and ``forward(batch)``, the loss of a :class:`DistillBatch` as a scalar.

    Args:
        model: The student.
        student: See :class:`Distillation`, as the rest.
        adapter, resize, weight, schedule, name, key: See there.

    Raises:
        ValueError: A setting that cannot be used, or a submodule that does not exist.
    """

    from_teachers: tuple[int, ...]
    teacher_paths: dict[int, list[OutputPath]]
    about_keypoints = True  # whether the captured outputs have keypoints (B, K, ...)
    loss_module: nn.Module

    def __init__(
        self,
        model: nn.Module,
        student: Union[str, Sequence[str]],
        adapter: Optional[dict] = None,
        resize: Optional[str] = None,
        weight: float = 1.0,
        schedule: Optional[dict] = None,
        name: Optional[str] = None,
        key: str = 'distill[0]',
    ):
        super().__init__()
        self.key = key
        self.name = checked_name(name, f'{key}.name', optional=True)
        self.resize = checked_choice(resize, f'{key}.resize', RESIZE, optional=True)
        self.weight = checked_weight(weight, f'{key}.weight')
        self.schedule = Schedule.build(schedule, f'{key}.schedule')
        self.student_paths = output_paths(model, student, f'{key}.student')
        self.adapter = None if adapter is None else built_by(MODELS, adapter, f'{key}.adapter')
        # whose factor the loss is multiplied by first
        self.balance: Optional[GradientBalance] = None

    def factor(self) -> float:
        """The loss's factor at the present epoch."""
        return self.weight * self.schedule.now()

    def idle(self) -> Union[Tensor, float]:
        """0 with a way for the gradient to the adapter: processes that train together need one."""
        return idle_loss(self)

    def drawn(self, student: list[Tensor], teachers: dict[int, list[Tensor]]) -> list[Panel]:
        """What it can show of a batch beside student and teachers: nothing, as it stands here.

        Args:
            student, teachers: As in :class:`DistillBatch`, without gradient.
        """
        return []

    def check_keypoints(self, student: nn.Module, teacher: Teacher) -> None:
        """Whether student and teacher have the same keypoints, or a mapping.

        Raises:
            ValueError: Not so, or the loss would teach keypoints that the teacher does not have.
        """
        teacher.check_keypoint_count(getattr(student, 'head', None), partly=True)
        mapped = teacher.keypoints
        ignores = getattr(self.loss_module, 'use_target_weight', True) is False
        if mapped is not None and ignores and bool((mapped < 0).any()):
            raise ValueError(
                f'{teacher.key}.keypoints has -1, but {self.key}.loss.use_target_weight=False '
                'would teach these keypoints all the same: set it to True'
            )

    def adapted(self, student: list[Tensor]) -> list[Tensor]:
        """The student's outputs behind the adapter."""
        if self.adapter is None:
            return student
        wanted = getattr(self.adapter, 'in_channels', None)
        for path, x in zip(self.student_paths, student):
            if wanted is not None and x.ndim == 4 and x.shape[1] != wanted:
                raise ValueError(
                    f'{self.key}.adapter.in_channels={wanted}: {path.name!r} of the student has '
                    f'shape {tuple(x.shape)}, give {x.shape[1]}'
                )
        return [self.adapter(x) for x in student]


def output_paths(model: nn.Module, names: Union[str, Sequence[str]], key: str) -> list[OutputPath]:
    """The places that a setting names, one or several.

    Raises:
        ValueError: One that does not exist, or none.
    """
    if isinstance(names, str):
        return [OutputPath(model, names, key)]
    if not is_list(names) or not names:
        raise refusal(key, names, "give a submodule's path, or several")
    return [OutputPath(model, name, key) for name in names]


def checked_teachers(numbers: Sequence[int], count: int, key: str) -> tuple[int, ...]:
    """``from_teachers`` of an entry.

    Raises:
        ValueError: It names no teachers, others than there are, or one twice.
    """
    key = f'{key}.from_teachers'
    good = is_list(numbers) and len(numbers) > 0
    if not good or not all(is_whole(n) and 0 <= n < count for n in numbers):
        raise refusal(key, numbers, f'give numbers of the {count} teachers, from 0')
    if len(set(numbers)) < len(numbers):
        raise refusal(key, numbers, 'it names a teacher twice, give each once')
    return tuple(numbers)
