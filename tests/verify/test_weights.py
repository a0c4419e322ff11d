"""Weights that a config starts or learns from, and cannot be had."""

import urllib.error

import pytest
import torch

from mmpose_kd.core.weight_sources import weight_sources
from mmpose_kd.verify.weights import missing_weights

from ..core.test_weight_sources import config


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
    assert f'at {tmp_path}/hub/checkpoints/hrnet.pth' in messages[0]
    assert 'or go on without by --no-weights' in messages[0]
    assert not list(tmp_path.rglob('*.pth'))


def test_weights_in_torchs_cache_are_there(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    (tmp_path / 'hub/checkpoints').mkdir(parents=True)
    torch.save({'state_dict': {}}, tmp_path / 'hub/checkpoints/hrnet.pth')
    sources = [one for one in weight_sources(config()) if one.is_address]
    assert list(missing_weights(sources)) == []


@pytest.mark.parametrize('name', ['nowhere.pth', '/nowhere/else.pth'])
def test_a_file_that_is_not_there_is_named(name):
    messages = list(missing_weights(weight_sources(config(name))))
    assert messages[0].startswith('load_from and ') and ': no such file: put ' in messages[0]
