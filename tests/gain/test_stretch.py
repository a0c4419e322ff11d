"""Trainings of another length: what counts epochs moves in proportion."""

import pytest
from mmengine.config import Config

from mmpose_kd.gain.configs import SettingError
from mmpose_kd.gain.stretch import stretch


def schedule(*schedulers, max_epochs=20, **more):
    return Config(
        dict(train_cfg=dict(max_epochs=max_epochs), param_scheduler=list(schedulers), **more)
    )


def test_schedules_are_stretched_in_proportion():
    cfg = schedule(
        dict(type='LinearLR', begin=0, end=200, by_epoch=False),
        dict(type='MultiStepLR', milestones=[10, 15], begin=0, end=20),
        dict(type='CosineAnnealingLR', begin=7, end=20, T_max=13, by_epoch=True),
        custom_hooks=[dict(type='mmdet.PipelineSwitchHook', switch_epoch=18)],
    )
    stretch(cfg, 30)
    warm_up, steps, cosine = cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == 30
    assert warm_up.end == 200
    assert (steps.milestones, steps.end) == ([15, 22], 30)
    assert (cosine.begin, cosine.end, cosine.T_max) == (10, 30, 20)
    assert cfg.custom_hooks[0].switch_epoch == 27


def test_a_schedule_that_cannot_be_stretched_is_named():
    cfg = schedule(dict(type='ConstantLR'), dict(type='ExponentialLR', gamma=0.9))
    stretch(cfg, 20)  # as long as before: nothing to do
    with pytest.raises(SettingError, match=r'param_scheduler\.1\.type.*ExponentialLR'):
        stretch(cfg, 30)


@pytest.mark.parametrize(
    'kind', ['CosineAnnealingLR', 'OneCycleLR', 'mmengine.MultiStepLR', 'ExponentialLR']
)
def test_a_schedule_of_iterations_is_not_stretched_but_named(kind):
    cfg = schedule(dict(type='LinearLR', by_epoch=False), dict(type=kind, by_epoch=False))
    stretch(cfg, 20)  # as long as before: nothing to do
    with pytest.raises(SettingError, match=r'param_scheduler\.1\.by_epoch=False'):
        stretch(cfg, 30)
