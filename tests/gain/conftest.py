"""A plain and a distilled config that the harness can train in seconds."""

import pytest
from mmengine.config import Config

from ..helpers.distillers import ENTRY, saved_teacher
from ..helpers.models import RESNET, okdhp_config, plain_config
from ..helpers.runs import draw, run_config


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='session')
def pair(data, tmp_path_factory):
    """Paths of a plain and an OKDHP config with random augmentation."""
    folder = tmp_path_factory.mktemp('configs')
    paths = []
    for name, model in (('plain', plain_config()), ('okdhp', okdhp_config(RESNET, 'stage2'))):
        head = model['head'] if name == 'plain' else model['head']['head']
        head['out_channels'] = 17
        cfg = run_config(data, folder, model)
        cfg['custom_hooks'] = []
        cfg['train_dataloader']['dataset']['pipeline'][2:2] = [
            dict(type='RandomFlip'),
            dict(type='RandomBBoxTransform'),
        ]
        Config(cfg).dump(folder / f'{name}.py')
        paths.append(str(folder / f'{name}.py'))
    return paths


@pytest.fixture
def cached_pair(data, tmp_path):
    """Paths of a plain config and one whose teacher's outputs are kept in a folder."""
    model = plain_config()
    model['head']['out_channels'] = 17
    cfg = run_config(data, tmp_path, model)
    cfg['custom_hooks'] = []
    steps = cfg['train_dataloader']['dataset']['pipeline']
    fixed = dict(type='FixedAugmentations', transforms=[dict(type='RandomFlip'), steps[2]])
    steps[2:] = [dict(fixed, variants=2), steps[3], dict(type='PackPoseViews')]
    Config(cfg).dump(tmp_path / 'plain.py')
    entry = dict(ENTRY, name='kd')
    cfg['model'] = dict(
        type='PoseDistiller',
        student=model,
        teachers=[saved_teacher(tmp_path)],
        distill=[entry],
    )
    cfg['custom_hooks'] = [dict(type='TeacherCacheHook', path=str(tmp_path / 'cache'))]
    Config(cfg).dump(tmp_path / 'kd.py')
    return [str(tmp_path / name) for name in ('plain.py', 'kd.py')]
