"""The checkpoints that a config names: found, and taken out."""

import pytest

from mmpose_kd import DSKDHook
from mmpose_kd.core.weight_sources import GUIDE, START, TEACHER, take_out, weight_sources

ADDRESS = 'https://models.invalid/hrnet.pth'


def config(name=ADDRESS):
    """One of each kind; a teacher's own start does not count, nor do help variables."""
    start = dict(init_cfg=dict(type='Pretrained', checkpoint=name))
    teacher = dict(config=dict(backbone=start), checkpoint=name)
    return dict(
        _help=dict(load_from=name),
        load_from=name,
        model=dict(backbone=start, neck=dict(pretrained=name), teachers=[teacher]),
        custom_hooks=[dict(type='DSKDHook', guides=[name, 'b.pth', dict(teacher)])],
    )


def test_every_checkpoint_of_a_config_is_found_by_its_key():
    found = {source.key: source.use for source in weight_sources(config())}
    assert found == {
        'load_from': START,
        'model.backbone.init_cfg.checkpoint': START,
        'model.neck.pretrained': START,
        'model.teachers.0.checkpoint': TEACHER,
        'custom_hooks.0.guides.0': GUIDE,
        'custom_hooks.0.guides.1': GUIDE,
        'custom_hooks.0.guides.2.checkpoint': TEACHER,
    }


@pytest.mark.parametrize(
    'length', [dict(max_epochs=1), dict(max_epochs=7), dict(by_epoch=False, max_iters=1)]
)
def test_copies_of_the_run_guide_one_of_any_length(length):
    cfg = {**config(), 'train_cfg': dict(length)}
    take_out(weight_sources(cfg), cfg)
    hook = DSKDHook(**{k: v for k, v in cfg['custom_hooks'][0].items() if k != 'type'})
    (name,) = [key for key in length if key.startswith('max_')]
    assert hook.plan.steps(cfg['train_cfg'][name])[0] == 1
    assert cfg['train_cfg'][name] == max(length[name], 2)


def test_a_run_can_do_without_them():
    cfg = config()
    words = take_out(weight_sources(cfg), cfg)
    assert weight_sources(cfg) == []
    assert cfg['model']['backbone']['init_cfg'] is None and cfg['load_from'] is None
    assert cfg['custom_hooks'][0]['guides'] == 'snapshots'
    assert cfg['custom_hooks'][0]['num_guides'] == 3
    assert words == [
        'from random weights', 'with an untrained teacher', 'guided by copies of the run itself',
    ]  # fmt: skip
