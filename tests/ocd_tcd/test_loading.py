"""Plain weights reach the deployed head of every kind, and its neck."""

import copy

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict

from ..helpers.models import build, plain_config, randomize
from ..helpers.ocd import each_kind, ocd_of, plain_of


@pytest.fixture
def heard(monkeypatch):
    lines = []
    for module in ('mmpose_kd.core.loading', 'mmengine.runner.checkpoint'):
        monkeypatch.setattr(f'{module}.print_log', lambda msg, *_, **__: lines.append(str(msg)))
    return lines


def loaded(plain, config):
    model = build(config)
    load_state_dict(model, copy.deepcopy(plain))
    return model.head.deployed().state_dict(model.state_dict())


@each_kind
def test_the_deployed_head_gets_the_plain_weights(kind, heard):
    plain = randomize(build(plain_of(kind)), 1).state_dict()
    state = loaded(plain, ocd_of(kind))
    assert state.keys() == plain.keys()
    assert all(torch.equal(state[name], value) for name, value in plain.items())
    assert heard == []


@pytest.mark.parametrize('inside', [True, False])
def test_a_neck_with_weights_arrives_where_it_stands(inside, heard):
    neck = dict(type='FPN', in_channels=[64], out_channels=64, num_outs=1)
    plain = randomize(build({**plain_of('simcc'), 'neck': neck}), 1).state_dict()
    config = ocd_of('simcc')
    if inside:
        config['head']['deploy']['neck'] = neck
    else:
        config['neck'] = neck
    state = loaded(plain, config)
    assert all(torch.equal(state[name], value) for name, value in plain.items())
    assert heard == []


def test_an_assistant_stays_as_initialised():
    assistant = plain_of('simcc')['head']
    model = build(ocd_of('simcc', assistant=assistant))
    before = copy.deepcopy(model.head.assistant.state_dict())
    load_state_dict(model, randomize(build(plain_of('simcc')), 1).state_dict())
    after = model.head.assistant.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_heatmap_model_is_refused_for_a_head_of_coordinates():
    with pytest.raises(ValueError, match=r'none of the head\.\* .*prefix=.backbone\.'):
        loaded(build(plain_config()).state_dict(), ocd_of('rle'))
