"""Plain weights reach every branch, whatever is shared and however branches differ."""

import copy

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict

from ..helpers.models import (
    HOURGLASS,
    HRNET,
    MOBILENET,
    RESNET,
    SHUFFLENET,
    STACKED,
    build,
    okdhp_config,
    plain_config,
    randomize,
)
from ..helpers.okdhp import unbalanced


@pytest.fixture
def heard(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmpose_kd.core.loading.print_log', lambda msg, *_, **__: lines.append(str(msg))
    )
    return lines


def loaded(plain, config):
    model = build(config)
    load_state_dict(model, copy.deepcopy(plain))
    return model, [
        model.head.deployed(t).state_dict(model.state_dict())
        for t in range(model.head.num_branches)
    ]


@pytest.mark.parametrize(
    ('backbone', 'split'),
    [
        (RESNET, 'stem'),
        (RESNET, 'end'),
        (HRNET, 'stage3'),
        (MOBILENET, 'stage3'),
        (SHUFFLENET, 'end'),
        (HOURGLASS, 'stack1'),  # its shared stack predicts too, with head.shared
        (STACKED, 'stack1'),  # its heads have no weights
    ],
)
def test_every_branch_gets_the_plain_weights(backbone, split, heard):
    plain = randomize(build(plain_config(backbone)), 1).state_dict()
    _, states = loaded(plain, okdhp_config(backbone, split, num_branches=2))
    for state in states:
        assert state.keys() == plain.keys()
        assert all(torch.equal(state[name], value) for name, value in plain.items())
    assert heard == []


def test_a_neck_of_the_plain_model_reaches_the_branches():
    neck = dict(type='FPN', in_channels=[64], out_channels=64, num_outs=1)
    plain = randomize(build({**plain_config(), 'neck': neck}), 1).state_dict()
    assert any(name.startswith('neck.') for name in plain)
    _, states = loaded(plain, okdhp_config(num_branches=2, neck=neck))
    for state in states:
        assert all(torch.equal(state[name], value) for name, value in plain.items())


def test_a_deeper_branch_gets_what_it_shares_with_the_plain_model(heard):
    config = unbalanced((3, 4), num_branches=2)
    plain = randomize(build(plain_config(HOURGLASS)), 1).state_dict()
    _, (deployed, deeper) = loaded(plain, config)
    assert all(torch.equal(deployed[name], value) for name, value in plain.items())
    assert all(torch.equal(deeper[name], value) for name, value in plain.items())
    assert len(heard) == 1 and 'head.branches.1.' in heard[0]


def test_branches_do_not_share_memory_even_if_tensors_are_taken_over():
    plain = randomize(build(plain_config()), 1).state_dict()
    model = build(okdhp_config(num_branches=2))
    model.load_state_dict(plain, assign=True)
    one, other = (branch.head.final_layer.weight for branch in model.head.branches)
    assert torch.equal(one, other) and one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        (dict(), False),  # the FAU weighs them differently
        (dict(fau=None), True),
        (dict(ensemble_weight=0, detach_ensemble=False), True),
        (dict(fau=None, num_branches=1), False),
        (dict(fau=None, branches=[{}, dict(head=dict(deconv_out_channels=(8, 4, 8)))]), False),
    ],
)
def test_branches_that_would_stay_alike_for_ever_are_told(settings, told, heard):
    plain = randomize(build(plain_config()), 1).state_dict()
    loaded(plain, okdhp_config(**{'num_branches': 2, **settings}))
    assert any('stay the same for ever' in line for line in heard) == told


def test_so_are_those_whose_heads_have_no_weights(heard):
    plain = randomize(build(plain_config(STACKED)), 1).state_dict()
    loaded(plain, okdhp_config(STACKED, 'stack1', num_branches=2, fau=None))
    assert any('stay the same for ever' in line for line in heard)


def test_pretrained_weights_of_the_whole_head_are_refused_with_the_key():
    start = dict(type='Pretrained', prefix='head.', checkpoint='plain.pth')
    with pytest.raises(ValueError, match=r'head\.init_cfg=.*give it in head\.head'):
        build(okdhp_config(init_cfg=start))
