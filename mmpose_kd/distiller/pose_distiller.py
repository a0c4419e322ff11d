"""A student that learns from teachers, all of them stock MMPose models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Optional, Union
from weakref import WeakKeyDictionary, ref

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmpose.registry import MODELS
from torch import Tensor

from ..core.capture import OutputPath, capture, captured_output
from ..core.checks import built, built_by, checked_dict, checked_dicts, refusal
from ..core.deployed import Deployed, training_part
from ..core.facts import preprocessor_differences
from ..core.finite import LossGuard, not_finite
from ..core.head_output import bfloat16_explained
from ..core.loading import check_state, look_at_load_from, rename_plain_weights
from ..core.loss import scaled, sum_of_losses
from ..core.panels import Panel, View
from ..core.paramwise import compare_paramwise
from ..core.run import run_config, run_info
from .entry import DISTILL_ENTRIES, DistillBatch, Entry
from .model_config import model_config
from .stages import check_stages
from .teacher import Teacher

#: of each teacher the distiller that was built with it; copies of the distiller share it
_OWNERS: WeakKeyDictionary = WeakKeyDictionary()


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
            ``teacher``, and settings. Another ``type`` is the name of an entry that is
            registered in :data:`~mmpose_kd.distiller.DISTILL_ENTRIES`.
        data_preprocessor (dict, optional): For a student whose config has none, as MMEngine's
            Runner hands it over. A warning if the student has its own and they differ.
        non_finite (str): What is done with a distillation loss that is NaN or infinite:
            ``'stop'`` the training, or ``'skip'`` it in this step; see :class:`LossGuard`.
        init_cfg (dict, optional): Must stay None; initialisation is the student's.
        train_cfg: Must be left out, the student has its own. ``mmpose.apis.init_model`` sets it
            to None, which is answered by "export it first".

    Raises:
        ValueError: A setting that cannot be used; the message names its key.
    """

    def __init__(
        self,
        student: Union[dict, str],
        teachers: Sequence[dict],
        distill: Sequence[dict],
        data_preprocessor: Optional[dict] = None,
        non_finite: str = 'stop',
        init_cfg: Optional[dict] = None,
        train_cfg: Union[dict, None, str] = 'not given',
    ):
        super().__init__()
        if train_cfg is None:
            raise ValueError(
                'model.type=PoseDistiller with model.train_cfg=None, as mmpose.apis.init_model '
                'sets it: a distiller is for training; export it first (mmpose-kd export CONFIG '
                'CHECKPOINT OUT), and give the config that this writes'
            )
        if train_cfg != 'not given':
            raise ValueError(f'model.train_cfg={train_cfg!r}: give it in model.student')
        if init_cfg is not None:
            raise ValueError(f'model.init_cfg={init_cfg!r}: give it in model.student')
        checked_dicts(teachers, 'model.teachers')
        checked_dicts(distill, 'model.distill')
        self.guard = LossGuard(non_finite, 'model')
        self.student_config = model_config(student, 'model.student')
        if checked_dict(data_preprocessor, 'model.data_preprocessor', optional=True) is not None:
            # also where it is not used: the Runner hands its own over
            built_by(MODELS, data_preprocessor, 'model.data_preprocessor')
            self.student_config.setdefault('data_preprocessor', data_preprocessor)
            _warn_of_other(data_preprocessor, self.student_config['data_preprocessor'])
        self.student = built_by(MODELS, self.student_config, 'model.student')
        training_part(self.student)  # whether its parts fit
        for name, entries in (('teachers', teachers), ('distill', distill)):
            if not entries:
                raise refusal(f'model.{name}', entries, 'give one at least')
        self.data_preprocessor = self.student.data_preprocessor
        # the student gets the random numbers that it would get alone
        with torch.random.fork_rng(devices=[]):
            self.teachers = tuple(
                built(Teacher, entry, f'model.teachers[{i}]') for i, entry in enumerate(teachers)
            )
            _OWNERS.update((teacher, ref(self)) for teacher in self.teachers)
            self.distill = torch.nn.ModuleList(
                self._entry(entry, i) for i, entry in enumerate(distill)
            )
        used = {n for entry in self.distill for n in entry.from_teachers}
        for n in set(range(len(self.teachers))) - used:
            raise ValueError(
                f'model.teachers[{n}] teaches nothing: name it in from_teachers of an entry of '
                'model.distill, or leave it out'
            )
        names = [entry.name for entry in self.distill]
        if len(set(names)) < len(names):
            raise ValueError(
                f'model.distill: the names {names} are not all different: give each its own name'
            )
        self._register_load_state_dict_pre_hook(self._rename_student_weights)
        self._dataset_meta = None  # that the teachers' keypoints were compared with

    def _entry(self, entry: dict, number: int) -> Entry:
        key, settings = f'model.distill[{number}]', dict(entry)
        name = settings.pop('type', 'Distillation')
        kind = DISTILL_ENTRIES.get(name) if isinstance(name, str) else name
        if not isinstance(kind, type) or not issubclass(kind, Entry):
            choices = ', '.join(sorted(DISTILL_ENTRIES.module_dict))
            raise refusal(f'{key}.type', name, f'choose one of {choices}')
        made = built(kind, settings, key, self.student, self.teachers)
        if made.name is None:
            made.name = f'distill{number}'
        return made

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
            ValueError: A checkpoint cannot be read, does not fit its teacher, or has weights that
                are not finite; or a later stage of the run lacks a teacher's view.
        """
        look_at_load_from()
        # here the config is the run's own; once a run is resumed it is that of the checkpoint
        check_stages(run_config(), self.distill, self.teachers)
        super().init_weights()
        for teacher in self.teachers:
            teacher.load()

    def _rename_student_weights(
        self, state_dict: dict, prefix: str, local_metadata: dict, *_
    ) -> None:
        """Let a checkpoint of the plain student (``load_from``) load into the student."""
        check_state(state_dict)
        if training_part(self.student) is None:
            rename_plain_weights(self, state_dict, prefix, local_metadata)
            return
        own = [key for key in state_dict if key.startswith(prefix)]
        names = [key[len(prefix) :].removeprefix('module.') for key in own]
        if not any(name.startswith(('student.', 'distill.')) for name in names):
            for key, name in zip(own, names):  # the student's parts look at them
                state_dict[f'{prefix}student.{name}'] = state_dict.pop(key)

    def _apply(self, fn, *args, **kwargs):
        # device moves must reach the teachers, which are no submodules
        for teacher in self.teachers:
            owner = _OWNERS[teacher]()
            if owner is self or owner is None:  # an average of the model shares them
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
            Scalars by name; also ``<name>_factor`` for the log, of an entry with a balance.

        Raises:
            NonFiniteError: See :class:`LossGuard`.
        """
        self._compare_keypoints()
        compare_paramwise(self)
        factors = [entry.factor() for entry in self.distill]
        active = [entry for entry, factor in zip(self.distill, factors) if factor > 0]
        paths = {path.name: path for entry in active for path in entry.student_paths}
        # first, while the student's activations do not yet take the memory
        taught = self._teach(inputs, data_samples, active)
        with bfloat16_explained(), capture(self.student, list(paths.values())) as captured:
            losses = dict(self.student(inputs, data_samples, mode='loss'))
        task_loss = sum_of_losses(losses)
        seen = {}  # for messages
        for entry, factor in zip(self.distill, factors):
            name = f'loss_{entry.name}'
            if name in losses:
                raise ValueError(
                    f'{entry.key}.name={entry.name!r}: the student has a {name} of its own'
                )
            if factor == 0:
                losses[name] = inputs.new_zeros(()) + entry.idle()
                continue
            student = [
                _with_gradient(captured_output(captured, path), path)
                for path in entry.student_paths
            ]
            teachers = {
                n: [taught[n][path.name] for path in paths]
                for n, paths in entry.teacher_paths.items()
            }
            seen.update(
                (f'the student {p.name!r}', x) for p, x in zip(entry.student_paths, student)
            )
            loss = entry(DistillBatch(student, teachers, data_samples, task_loss))
            if entry.balance is not None:
                balance = entry.balance(task_loss, loss, student)
                loss = balance * loss
                # for the log; what has "loss" in its name would be trained on
                losses[f'{entry.name.replace("loss", "")}_factor'] = scaled(balance, factor)
            losses[name] = scaled(loss, factor)
        for n, outputs in taught.items():
            seen.update((f'{self.teachers[n].key} {name!r}', x) for name, x in outputs.items())
        idle = {f'loss_{entry.name}': entry.idle for entry in active}
        found = partial(not_finite, seen)
        self.guard(losses, list(idle), task_loss, lambda name: idle[name](), found)
        return losses

    def _compare_keypoints(self) -> None:
        """Once in a run, before its first step: are the teachers' keypoints the data set's?

        Not of teachers whose features alone are read.
        """
        dataset_meta = run_info('dataset_meta')
        if dataset_meta is not self._dataset_meta:
            read = {n for e in self.distill if e.about_keypoints for n in e.from_teachers}
            for n in sorted(read):
                self.teachers[n].compare_keypoints(dataset_meta)
            self._dataset_meta = dataset_meta

    def _teach(
        self, inputs: Tensor, data_samples: list, active: list[Entry]
    ) -> dict[int, dict[str, Tensor]]:
        """For each teacher what the active entries need of it; each is run at most once."""
        taught = {}
        for n, teacher in enumerate(self.teachers):
            paths = {path.name: path for e in active for path in e.teacher_paths.get(n, ())}
            if paths:
                outputs = teacher.outputs_for_batch(
                    inputs, data_samples, list(paths.values()), self.data_preprocessor
                )
                taught[n] = dict(zip(paths, outputs))
        return taught

    def prepare_panels(self, model, cfg, checkpoint: dict, path) -> None:
        """Read the teachers outside of a run, see ``mmpose-kd inspect``.

        Raises:
            ValueError: One cannot be read.
        """
        for teacher in self.teachers:
            teacher.load()

    def panels(self, view: View) -> list[Panel]:
        """What the teachers say, and what the entries have to show, see :class:`Showing`."""
        inputs, samples = view.inputs, view.samples
        found, missing = [], set()
        for n, teacher in enumerate(self.teachers):
            name = 'teacher' if len(self.teachers) == 1 else f'teacher {n}'
            try:
                images = teacher.own_images(inputs, samples, self.data_preprocessor)
            except ValueError as error:  # its view is not in this pipeline
                found.append(Panel(name, note=str(error)))
                missing.add(n)
                continue
            found.append(teacher.panel(name, images))
        entries = [entry for entry in self.distill if not missing & set(entry.from_teachers)]
        paths = {path.name: path for entry in entries for path in entry.student_paths}
        with capture(self.student, list(paths.values())) as captured:
            self.student(inputs, samples, mode='tensor')
        for entry in entries:
            student = [captured_output(captured, path) for path in entry.student_paths]
            taught = {
                n: self.teachers[n].outputs(
                    self.teachers[n].own_images(inputs, samples, self.data_preprocessor), places
                )
                for n, places in entry.teacher_paths.items()
            }
            found += entry.drawn(student, taught)
        return found

    def deployed(self, branch: Optional[int] = None) -> Deployed:
        """What remains after export: the student.

        Args:
            branch: Of an online-distillation head inside the student; not the distiller's.
        """
        without = dict.fromkeys(('student', 'teachers', 'distill', 'data_preprocessor'))
        return Deployed(
            {**without, **self.student_config}, {'student.': ''}, ('student.', 'distill.')
        )


def _warn_of_other(given: dict, own: dict) -> None:
    """Say so where a data preprocessor is given that is not used, and would do something else."""
    differences = preprocessor_differences(given, own)
    if differences:
        print_log(
            'model.data_preprocessor (a config may have it beside the model) is not used, as the '
            f'student has its own, but has {", ".join(differences)}: leave it out, or give what '
            'you mean in model.student.data_preprocessor',
            'current',
            logging.WARNING,
        )


def _with_gradient(output: Tensor, path: OutputPath) -> Tensor:
    if torch.is_grad_enabled() and not output.requires_grad:
        raise ValueError(
            f'{path.key}={path.name!r}: no gradient reaches the student through this submodule: '
            'it is frozen, or inside a block that is checkpointed (with_cp=True); name another one'
        )
    return output
