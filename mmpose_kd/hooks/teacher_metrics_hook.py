"""How good the teachers are, told before the student learns from them."""

from __future__ import annotations

import copy

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from ..transforms.fixed_augmentations import random_states_kept
from .branch_metrics_hook import unwrapped


@HOOKS.register_module()
class TeacherMetricsHook(Hook):
    """Validate the teachers of a :class:`PoseDistiller` once, before the first epoch.

    They are tested on ``val_dataloader`` with ``val_evaluator`` and their own ``test_cfg``, and
    the metrics are logged (``teacher coco/AP: 0.75``). A teacher with a ``view`` needs its
    ``TeacherView`` and ``PackPoseViews`` in the validation's pipeline too. A run that is resumed
    does not test them again. Random numbers are left as they were.

    It also compares the names of the keypoints, where the teacher's checkpoint has them, with
    the data set's.
    """

    def before_train(self, runner: Runner) -> None:
        """Test all teachers.

        Raises:
            ValueError: The model has no teachers, the run no validation, or a teacher without
                ``keypoints`` was trained for keypoints of other names.
        """
        model = unwrapped(runner)
        if not getattr(model, 'teachers', ()):
            raise ValueError(
                'custom_hooks: TeacherMetricsHook needs model.type=PoseDistiller with teachers, '
                f'found {type(model).__name__}'
            )
        for teacher in model.teachers:
            _compare_names(runner, teacher)
        if runner.epoch > 0 or runner.iter > 0:
            return
        if runner.val_loop is None:
            raise ValueError(
                'custom_hooks: TeacherMetricsHook needs val_dataloader, val_evaluator and val_cfg'
            )
        for n, teacher in enumerate(model.teachers):
            with random_states_kept():
                metrics = _validate(runner, model, teacher)
            name = 'teacher' if len(model.teachers) == 1 else f'teacher {n}'
            runner.logger.info(' '.join(f'{name} {key}: {v:.4f}' for key, v in metrics.items()))


@torch.no_grad()
def _validate(runner: Runner, model, teacher) -> dict:
    loop = runner.val_loop
    for batch in loop.dataloader:
        data = model.data_preprocessor(copy.copy(batch), False)
        images = teacher.images(data['inputs'], data['data_samples'], model.data_preprocessor)
        loop.evaluator.process(
            data_samples=teacher.predict(images, data['data_samples']), data_batch=batch
        )
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))


def _compare_names(runner: Runner, teacher) -> None:
    own = runner.train_dataloader.dataset.metainfo.get('keypoint_id2name') or {}
    known = teacher.dataset_meta.get('keypoint_id2name') or {}
    if not own or not known or teacher.keypoints is not None:  # a mapping is meant as it is
        return
    other = [f'{k}: {name}, {known.get(k)}' for k, name in own.items() if known.get(k) != name]
    if other or len(own) != len(known):
        raise ValueError(
            f"{teacher.key} was trained for other keypoints (number: the data set's, its own): "
            f'{", ".join(other) or len(known)}; give {teacher.key}.keypoints, for each keypoint '
            "of the student the teacher's number of it, or -1"
        )
