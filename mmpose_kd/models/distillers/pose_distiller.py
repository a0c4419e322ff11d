"""A student that learns from teachers, all of them stock MMPose models."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmengine.model import BaseModel
from mmpose.registry import MODELS
from torch import Tensor

from ...deployed import Deployed, training_part
from ..modules.gradient_balance import sum_of_losses
from .distillation import Distillation
from .entry import Entry
from .model_config import model_config
from .taps import Tap, found, listen
from .teacher import Teacher
from .through_teacher_head import ThroughTeacherHead

ENTRIES = {kind.__name__: kind for kind in (Distillation, ThroughTeacherHead)}


@MODELS.register_module()
class PoseDistiller(BaseModel):
    """Trains a student on its own loss and on what teachers put out for the same images.

    The student's own loss is untouched; each entry of ``distill`` adds a loss between named
    outputs of student and teachers. With all their weights 0 losses and gradients are those of
    plain training, and no teacher is run. It predicts as the student does, and what is exported
    is the student.

    Teachers stay as they are: no gradient, evaluation mode, outside the optimiser, EMA and the
    saved checkpoints.

    Args:
        student (dict | str): Config of a stock top-down model: its dict, a config file, or the
            name of an installed one (``'mmpose::...'``).
        teachers (list[dict]): Arguments of :class:`Teacher`: ``config`` (as for the student),
            ``checkpoint``, and settings. The checkpoints are read in ``init_weights``.
        distill (list[dict]): Arguments of :class:`Distillation`: ``loss``, ``student``,
            ``teacher``, and settings; with ``type='ThroughTeacherHead'`` those of
            :class:`ThroughTeacherHead`.
        data_preprocessor (dict, optional): For a student whose config has none, as MMEngine's
            Runner hands it over.
        init_cfg (dict, optional): Must stay None; initialisation is the student's.

    Raises:
        ValueError: A setting that cannot be used; the message names its key.
    """

    def __init__(
        self,
        student: Union[dict, str],
        teachers: Sequence[dict],
        distill: Sequence[dict],
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ):
        super().__init__()
        if init_cfg is not None:
            raise ValueError(f'model.init_cfg={init_cfg!r}: give it in model.student')
        for key, entries in (('teachers', teachers), ('distill', distill)):
            if not isinstance(entries, Sequence) or not all(isinstance(e, dict) for e in entries):
                raise ValueError(f'model.{key}={entries!r}: give a list of dicts')
        self.student_config = model_config(student, 'model.student')
        if data_preprocessor is not None:
            self.student_config.setdefault('data_preprocessor', data_preprocessor)
        self.student = MODELS.build(copy.deepcopy(self.student_config))
        training_part(self.student)  # whether its parts fit
        self.data_preprocessor = self.student.data_preprocessor
        # the student gets the random numbers that it would get alone
        with torch.random.fork_rng(devices=[]):
            self.teachers = tuple(
                _build(Teacher, entry, f'model.teachers[{i}]') for i, entry in enumerate(teachers)
            )
            self.distill = torch.nn.ModuleList(
                self._entry({'name': f'distill{i}', **entry}, f'model.distill[{i}]')
                for i, entry in enumerate(distill)
            )
        used = {n for entry in self.distill for n in entry.from_teachers}
        for n in set(range(len(self.teachers))) - used:
            raise ValueError(
                f'model.teachers[{n}] teaches nothing: name it in from_teachers of an entry of '
                'model.distill, or leave it out'
            )
        names = [entry.name for entry in self.distill]
        if len(set(names)) < len(names):
            raise ValueError(f'model.distill: the names {names} are not all different')
        self._register_load_state_dict_pre_hook(self._accept_student)

    def _entry(self, settings: dict, key: str) -> Entry:
        kind = settings.pop('type', 'Distillation')
        if kind not in ENTRIES:
            raise ValueError(f'{key}.type={kind!r}: choose one of {", ".join(ENTRIES)}')
        return _build(ENTRIES[kind], settings, key, self.student, self.teachers)

    @property
    def test_cfg(self) -> dict:
        """The student's."""
        return self.student.test_cfg

    @test_cfg.setter
    def test_cfg(self, value: dict) -> None:
        self.student.test_cfg = value

    @property
    def metainfo(self) -> Optional[dict]:
        """The student's."""
        return self.student.metainfo

    def init_weights(self):
        """Initialise the student as it would be alone, and read the teachers' checkpoints.

        Raises:
            ValueError: A checkpoint cannot be read, or does not fit its teacher.
        """
        super().init_weights()
        for teacher in self.teachers:
            teacher.load()

    def _accept_student(self, state_dict: dict, prefix: str, *_) -> None:
        """Let a checkpoint of the plain student (``load_from``) load into the student."""
        own = [key for key in state_dict if key.startswith(prefix)]
        if not any(key.startswith((f'{prefix}student.', f'{prefix}distill.')) for key in own):
            for key in own:
                state_dict[f'{prefix}student.{key[len(prefix) :]}'] = state_dict.pop(key)

    def _apply(self, fn, *args, **kwargs):
        # device moves must reach the teachers, which are no submodules
        for teacher in self.teachers:
            teacher.model._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def forward(self, inputs: Tensor, data_samples: Optional[list] = None, mode: str = 'tensor'):
        """As of a stock pose estimator; only ``mode='loss'`` knows of the teachers."""
        if mode != 'loss':
            return self.student(inputs, data_samples, mode)
        return self.loss(torch.stack(inputs) if isinstance(inputs, list) else inputs, data_samples)

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """The student's losses, and one ``loss_<name>`` for each entry of ``distill``.

        Args:
            inputs: Images (B, 3, h, w), normalised by the data preprocessor.
            data_samples: Their B samples.

        Returns:
            Scalars by name.
        """
        factors = [entry.factor() for entry in self.distill]
        active = [entry for entry, factor in zip(self.distill, factors) if factor > 0]
        taps = {tap.name: tap for entry in active for tap in entry.student_taps}
        # first, while the student's activations do not yet take the memory
        taught = self._teach(inputs, data_samples, active)
        with listen(self.student, list(taps.values())) as caught:
            losses = dict(self.student(inputs, data_samples, mode='loss'))
        own = dict(losses)
        for entry, factor in zip(self.distill, factors):
            name = f'loss_{entry.name}'
            if name in losses:
                raise ValueError(
                    f'{entry.key}.name={entry.name!r}: the student has a {name} of its own'
                )
            if factor == 0:
                losses[name] = inputs.new_zeros(()) + entry.idle()
                continue
            student = [_with_gradient(found(caught, tap), tap) for tap in entry.student_taps]
            outputs = {
                n: [taught[n][tap.name] for tap in taps] for n, taps in entry.teacher_taps.items()
            }
            loss = entry(student, outputs, self.teachers, entry.targets(data_samples))
            if entry.balance is not None:
                loss = entry.balance(sum_of_losses(own), loss, student) * loss
            losses[name] = factor * loss
        return losses

    def _teach(
        self, inputs: Tensor, data_samples: list, active: list[Entry]
    ) -> dict[int, dict[str, Tensor]]:
        """For each teacher what the active entries need of it; each is run at most once."""
        taught = {}
        for n, teacher in enumerate(self.teachers):
            taps = {tap.name: tap for e in active for tap in e.teacher_taps.get(n, ())}
            if taps:
                outputs = teacher.teach(
                    inputs, data_samples, list(taps.values()), self.data_preprocessor
                )
                taught[n] = dict(zip(taps, outputs))
        return taught

    def deployed(self, branch: Optional[int] = None) -> Deployed:
        """What remains after export: the student.

        Args:
            branch: Of an online-distillation head inside the student; not the distiller's.
        """
        without = dict.fromkeys(('student', 'teachers', 'distill', 'data_preprocessor'))
        return Deployed(
            {**without, **self.student_config}, {'student.': ''}, ('student.', 'distill.')
        )


def _build(kind: type, settings: dict, key: str, *arguments):
    try:
        return kind(*arguments, **settings, key=key)
    except TypeError as error:
        raise ValueError(f'{key}: {error}') from error


def _with_gradient(output: Tensor, tap: Tap) -> Tensor:
    if torch.is_grad_enabled() and not output.requires_grad:
        raise ValueError(
            f'{tap.key}={tap.name!r}: no gradient reaches the student through this submodule: it '
            'is frozen, or inside a block that is checkpointed (with_cp=True); name another one'
        )
    return output
