"""A plain and a distilled config that the harness can train in seconds."""

import pytest
from mmengine.config import Config

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
