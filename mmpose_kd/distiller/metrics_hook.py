"""How good the teachers are, told before the student learns from them."""

from __future__ import annotations

import copy

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from ..core.metric_table import metric_table
from ..core.random_state import random_states_kept
from ..core.runner import check_hooks, unwrapped


@HOOKS.register_module()
class TeacherMetricsHook(Hook):
    """Validate the teachers of a :class:`PoseDistiller` once, before the first epoch.

    They are tested on ``val_dataloader`` with ``val_evaluator`` and their own ``test_cfg``, and
    the metrics are logged as a table, a row for each teacher. A teacher with a ``view`` needs its
    ``TeacherView`` and ``PackPoseViews`` in the validation's pipeline too. A run that is resumed
    does not test them again. Random numbers are left as they were.
    """

    needs_validation = True  # a run without one cannot have this hook

    def __init__(self):
        """It has no settings; without this Python would not name one that is given."""

    def before_run(self, runner: Runner) -> None:
        """Look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)

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
            teacher.compare_keypoints(runner.train_dataloader.dataset.metainfo)
        if runner.epoch > 0 or runner.iter > 0:
            return
        if runner.val_loop is None:
            raise ValueError(
                'custom_hooks: TeacherMetricsHook needs val_dataloader, val_evaluator and val_cfg'
            )
        rows = {}
        for n, teacher in enumerate(model.teachers):
            name = 'teacher' if len(model.teachers) == 1 else f'teacher {n}'
            with random_states_kept():
                rows[name] = _validate(runner, model, teacher)
        runner.logger.info(f'before the first epoch, on the validation:\n{metric_table(rows)}')


@torch.no_grad()
def _validate(runner: Runner, model, teacher) -> dict:
    loop = runner.val_loop
    chosen = (model.test_cfg or {}).get('output_keypoint_indices')
    for batch in loop.dataloader:
        data = model.data_preprocessor(copy.copy(batch), False)
        images = teacher.own_images(data['inputs'], data['data_samples'], model.data_preprocessor)
        loop.evaluator.process(
            data_samples=teacher.predict(images, data['data_samples'], chosen), data_batch=batch
        )
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))
