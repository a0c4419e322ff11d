"""The text of a config is read, never run."""

import pytest
from mmengine.config import Config

from mmpose_kd.core.config_text import literal_config


def test_what_mmengine_writes_into_checkpoints_is_read_back():
    settings = dict(
        model=dict(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(mean=[123.675, -1, 0.5], bgr_to_rgb=True, std=None),
            nested=[dict(a=(1, 2)), 'text with "quotes"'],
        ),
        max_epochs=10,
        ids={0: 'nose', 1: 'eye'},
    )
    found = literal_config(Config(settings).pretty_text)
    assert found['model']['data_preprocessor'] == settings['model']['data_preprocessor']
    assert found['model']['nested'] == [dict(a=[1, 2]), 'text with "quotes"']
    assert found['max_epochs'] == 10
    assert found['ids'] == settings['ids']


def test_nothing_is_run(tmp_path):
    sign = tmp_path / 'sign'
    text = f"""
import os
model = dict(type=os.system('touch {sign}'), a=1, b=[1, open('{sign}', 'w')], c=dict(d=-2))
x = __import__('os').system('touch {sign}')
"""
    assert literal_config(text) == dict(model=dict(a=1, c=dict(d=-2)))
    assert not sign.exists()


@pytest.mark.parametrize(
    'text',
    [
        None,
        3,
        b'a = 1',
        [],
        '',
        'a = (',
        '\0',
        '(' * 100_000,
        'a = 1\n' * 400_000,
        'x' * 3_000_000,
    ],
    ids=range(10),
)
def test_what_is_no_config_says_nothing(text):
    assert set(literal_config(text)) <= {'a'}
