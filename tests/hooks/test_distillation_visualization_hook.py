"""DistillationVisualizationHook: sheets in the run's visualiser, and the same training."""

import uuid

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.hooks import DistillationVisualizationHook

from ..helpers.runs import EPOCHS

HOOK = dict(type='DistillationVisualizationHook', interval=5, samples=[0, 3])


def with_hook(run, work_dir, **settings):
    cfg = Config.fromfile(run / 'okdhp.py')
    cfg.custom_hooks = [*cfg.custom_hooks, {**HOOK, **settings}]
    cfg.work_dir, cfg.experiment_name = str(work_dir), uuid.uuid4().hex
    return cfg


def test_a_run_with_it_is_the_same_to_the_last_bit_and_has_the_sheets(run, tmp_path):
    Runner.from_cfg(with_hook(run, tmp_path)).train()
    one, two = (
        read_checkpoint(folder / f'epoch_{EPOCHS}.pth') for folder in (run / 'work', tmp_path)
    )
    assert one['state_dict'].keys() == two['state_dict'].keys()
    assert all(torch.equal(x, two['state_dict'][name]) for name, x in one['state_dict'].items())
    moments = (c['optimizer']['state'] for c in (one, two))
    for mine, other in zip(*(m.values() for m in moments)):
        assert all(torch.equal(mine[k], other[k]) for k in ('exp_avg', 'exp_avg_sq'))
    # after the last epoch, as the interval is longer than the run
    files = sorted(p.name for p in tmp_path.glob('*/vis_data/vis_image/*'))
    assert files == [f'distillation_0_{EPOCHS}.png', f'distillation_3_{EPOCHS}.png']
    pixels = cv2.imread(str(next(tmp_path.glob(f'*/vis_data/vis_image/{files[0]}'))))
    assert pixels.shape[1] > 1000


@pytest.mark.slow
def test_samples_that_are_not_there_are_refused_before_the_first_step(run, tmp_path):
    with pytest.raises(ValueError, match=r'samples=\[0, 99\]: the validation has 5 samples'):
        Runner.from_cfg(with_hook(run, tmp_path, samples=[0, 99])).train()


@pytest.mark.parametrize('samples', [0, [], [1, 1], [-1], 'no', True, [2.0], 65])
def test_wrong_samples_are_refused(samples):
    with pytest.raises(ValueError, match=r'samples=.*: give a number from 1 to 64'):
        DistillationVisualizationHook(samples=samples)
