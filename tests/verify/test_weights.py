"""Weights that a config starts or learns from, and cannot be had."""

import urllib.error
from pathlib import Path

import pytest
import torch

from mmpose_kd.core.checkpoints import cache_place, hub_place, read_checkpoint
from mmpose_kd.core.weight_sources import weight_sources
from mmpose_kd.verify.weights import missing_weights

from ..core.test_weight_sources import ADDRESS, config


def test_a_server_that_does_not_answer_is_asked_once_and_all_keys_are_named(monkeypatch, tmp_path):
    """Names under .invalid never resolve."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    asked = []

    def refused(request, *args, **kwargs):
        asked.append(request)
        raise urllib.error.URLError('no route to host')

    monkeypatch.setattr('torch.hub.urlopen', refused)  # no network is waited for
    sources = weight_sources(config()) + weight_sources(config('https://models.invalid/b.pth'))
    messages = list(missing_weights([s for s in sources if s.is_address]))
    assert len(messages) == 2 and len(asked) == 1
    assert messages[0].startswith('load_from and model.backbone.init_cfg.checkpoint and ')
    assert "='https://models.invalid/hrnet.pth': it cannot be fetched (URLError" in messages[0]
    assert f'at {tmp_path}/hub/checkpoints/hrnet.pth and at {cache_place(ADDRESS)}' in messages[0]
    assert 'or go on without by --no-weights' in messages[0]
    assert not list(tmp_path.rglob('*.pth'))


def test_a_file_in_the_home_folder_may_be_named_by_its_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    put(tmp_path / 'hrnet.pth', dict(state_dict={}))
    sources = weight_sources(config('~/hrnet.pth'))
    assert sources and not [m for m in missing_weights(sources) if '~' in m]


def put(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)


def test_weights_that_lie_where_the_training_looks_are_there(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    sources = [one for one in weight_sources(config()) if one.is_address]
    for place in (hub_place(ADDRESS), cache_place(ADDRESS)):
        assert len(list(missing_weights(sources))) == 1
        put(place, {'state_dict': {}})
    assert list(missing_weights(sources)) == []
    assert read_checkpoint(ADDRESS) == {'state_dict': {}}  # as a teacher is


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_nothing_in_a_checkpoint_is_run(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    sources = [one for one in weight_sources(config()) if one.is_address]
    for place in (hub_place(ADDRESS), cache_place(ADDRESS)):
        put(place, {'state_dict': Trap(tmp_path / 'caught')})
    (message,) = missing_weights(sources)
    assert 'it cannot be read (CheckpointError: ' in message
    assert not (tmp_path / 'caught').exists()


@pytest.mark.parametrize('name', ['nowhere.pth', '/nowhere/else.pth'])
def test_a_file_that_is_not_there_is_named(name):
    messages = list(missing_weights(weight_sources(config(name))))
    assert messages[0].startswith('load_from and ') and ': no such file: put ' in messages[0]
