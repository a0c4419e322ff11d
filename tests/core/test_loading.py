"""Weights of the plain model have a way in: what every model in training promises."""

import copy
from collections import OrderedDict

import pytest
import torch
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import load_state_dict

from ..helpers.distillers import distiller_config
from ..helpers.models import HRNET, build, okdhp_config, plain_config, randomize
from ..helpers.ocd import ocd_of, plain_of


def okdhp_inside(student=None):
    """A distiller around a student with branches, of which the first learns from a teacher."""
    entry = dict(student='head.branches.0.head.final_layer')
    return distiller_config(entry, student=student or okdhp_config(num_branches=2))


PAIRS = {
    'okdhp': (plain_config(), okdhp_config(num_branches=2)),
    'ocd': (plain_of('simcc'), ocd_of('simcc')),
    'distiller': (plain_config(), distiller_config()),
    'okdhp in a distiller': (plain_config(), okdhp_inside()),
}
each_pair = pytest.mark.parametrize('pair', PAIRS)


def source(pair, seed=1):
    return randomize(build(PAIRS[pair][0]), seed)


def student_states(model):
    """The plain state dict of each branch of a model in training."""
    if hasattr(model, 'student'):
        model = model.student
    if not hasattr(model.head, 'deployed'):
        return [model.state_dict()]
    branches = range(getattr(model.head, 'num_branches', 1))
    ways = [model.head.deployed(t) for t in branches]
    return [way.state_dict(model.state_dict()) for way in ways]


def assert_arrived(model, plain, without=()):
    for state in student_states(model):
        assert state.keys() == plain.keys()
        for name, value in plain.items():
            if name not in without:
                assert torch.equal(state[name], value), name


def saved(tmp_path, state, **more):
    file = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=state, meta={}, **more), file)
    return str(file)


@pytest.fixture
def heard(monkeypatch):
    """Warnings that were logged, MMEngine's own among them."""
    lines = []

    def hear(msg, logger=None, level=20):
        if level >= 30:
            lines.append(str(msg))

    for module in ('mmpose_kd.core.loading', 'mmengine.runner.checkpoint'):
        monkeypatch.setattr(f'{module}.print_log', hear)
    return lines


@each_pair
def test_a_plain_checkpoint_arrives_whole_and_without_a_word(pair, tmp_path, heard):
    plain = source(pair).state_dict()
    model = build(PAIRS[pair][1])
    load_checkpoint(model, saved(tmp_path, plain), map_location='cpu')
    assert_arrived(model, plain)
    assert heard == []


@each_pair
def test_parts_of_the_training_stay_as_initialised(pair, tmp_path):
    model = build(PAIRS[pair][1])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_checkpoint(model, saved(tmp_path, source(pair).state_dict()))
    others = [
        name
        for name in before
        if any(part in name for part in ('head.fau.', 'head.heatmap.', 'distill.'))
    ]
    assert others or pair == 'distiller'
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in others)


@each_pair
def test_names_of_a_model_wrapper_are_read(pair):
    plain = source(pair).state_dict()
    model = build(PAIRS[pair][1])
    load_state_dict(model, OrderedDict((f'module.{k}', v) for k, v in plain.items()))
    assert_arrived(model, plain)


@each_pair
def test_a_moving_average_takes_the_plain_weights_too_and_they_are_told_once(pair, heard):
    from mmengine.logging import MessageHub

    plain = source(pair).state_dict()
    del plain[next(k for k in plain if k.startswith('head.') and k.endswith('bias'))]
    model = build(PAIRS[pair][1])
    MessageHub.get_current_instance().update_info('cfg', 'load_from = None')
    average = ExponentialMovingAverage(model)
    for one in (average.module, model):
        load_state_dict(one, copy.deepcopy(plain))
    for ours, theirs in zip(model.state_dict().values(), average.module.state_dict().values()):
        assert torch.equal(ours, theirs)
    assert len(heard) == 1


@each_pair
def test_names_of_mmpose_0_are_read(pair):
    plain = source(pair).state_dict()
    old = {k.replace('head.', 'keypoint_head.'): v for k, v in plain.items()}
    model = build(PAIRS[pair][1])
    load_state_dict(model, OrderedDict(old))
    assert_arrived(model, plain)


@each_pair
def test_its_own_checkpoint_loads_as_before(pair, heard):
    trained, model = randomize(build(PAIRS[pair][1])), build(PAIRS[pair][1], seed=3)
    load_state_dict(model, trained.state_dict())
    assert heard == []
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    partial = OrderedDict(list(trained.state_dict().items())[:-1])
    load_state_dict(model, partial)
    assert 'missing keys' in heard[0]  # MMEngine's own words
    with pytest.raises(RuntimeError, match='Missing key'):
        model.load_state_dict(partial, strict=True)


@each_pair
def test_what_did_not_arrive_is_said_in_one_line_with_count_and_three_names(pair, heard):
    plain = source(pair).state_dict()
    gone = [k for k in plain if k.startswith('backbone.layer1') and k.endswith('weight')]
    for name in gone:
        del plain[name]
    model = build(PAIRS[pair][1])
    load_state_dict(model, plain)
    (line,) = heard
    assert '\n' not in line and line.count('missing in the checkpoint') == 3
    assert f' {len(gone)} of ' in line and 'backbone.layer1.0.conv1.weight' in line


@each_pair
def test_a_backbone_alone_is_fine_and_said(pair, heard):
    plain = source(pair).state_dict()
    backbone = {k: v for k, v in plain.items() if k.startswith('backbone.')}
    model = build(PAIRS[pair][1])
    load_state_dict(model, OrderedDict(backbone))
    for state in student_states(model):
        assert all(torch.equal(state[k], v) for k, v in backbone.items())
    assert len(heard) == 1 and 'head.' in heard[0]


@pytest.mark.parametrize('pair', ['okdhp', 'distiller', 'okdhp in a distiller'])
def test_a_head_for_other_keypoints_is_said_with_both_shapes(pair, heard):
    config = plain_config()
    config['head']['out_channels'] = 7
    plain = randomize(build(config), 1).state_dict()
    model = build(PAIRS[pair][1])
    load_state_dict(model, plain)
    last = {'head.final_layer.weight', 'head.final_layer.bias'}
    assert_arrived(model, plain, without=last)
    (line,) = heard
    assert '(7, 8, 1, 1) in the checkpoint, (5, 8, 1, 1) in the model' in line


@pytest.mark.parametrize('inside', [False, True])
def test_a_head_of_one_layer_for_other_keypoints_is_no_other_head(inside, heard):
    config = plain_config(HRNET)
    config['head']['out_channels'] = 7
    model = okdhp_config(HRNET, 'stage3', num_branches=2)
    model = build(okdhp_inside(model) if inside else model)
    load_state_dict(model, randomize(build(config), 1).state_dict())
    assert len(heard) == 1 and 'final_layer.weight ((7, ' in heard[0]


@each_pair
@pytest.mark.parametrize('what', ['foreign', 'bare backbone', 'empty'])
def test_a_checkpoint_with_nothing_of_the_deployed_model_stops_the_run(pair, what):
    plain = source(pair).state_dict()
    states = {
        'foreign': {f'net.{k}': v for k, v in plain.items()},
        'bare backbone': {k[9:]: v for k, v in plain.items() if k.startswith('backbone.')},
        'empty': {},
    }
    wrong = OrderedDict(states[what])
    with pytest.raises(ValueError, match=r'load_from: .* none of .*backbone\.conv1.*init_cfg='):
        load_state_dict(build(PAIRS[pair][1]), wrong)


@each_pair
def test_a_checkpoint_with_another_head_stops_the_run(pair):
    other = plain_of('regression' if pair != 'okdhp' else 'rtmcc')
    plain = build(other).state_dict()
    with pytest.raises(ValueError, match=r'load_from: none of the head\.\* weights'):
        load_state_dict(build(PAIRS[pair][1]), plain)


def test_a_checkpoint_of_another_distillation_is_to_be_exported_first():
    trained = build(distiller_config()).state_dict()
    for config in (okdhp_config(), ocd_of('simcc')):
        with pytest.raises(ValueError, match='mmpose-kd export'):
            load_state_dict(build(config), trained)
    trained = build(okdhp_config()).state_dict()
    with pytest.raises(ValueError, match=r'none of the head\.\* .*mmpose-kd export'):
        load_state_dict(build(distiller_config()), trained)


@pytest.mark.parametrize('pair', ['okdhp', 'ocd'])
def test_init_cfg_of_the_model_arrives_as_load_from_does(pair, tmp_path):
    plain = source(pair).state_dict()
    start = dict(type='Pretrained', checkpoint=saved(tmp_path, plain))
    model = build({**PAIRS[pair][1], 'init_cfg': start})
    assert_arrived(model, plain)


def test_init_cfg_of_a_distillers_student_arrives(tmp_path):
    plain = source('okdhp').state_dict()
    start = dict(type='Pretrained', checkpoint=saved(tmp_path, plain))
    student = {**okdhp_config(num_branches=2), 'init_cfg': start}
    assert_arrived(build(okdhp_inside(student)), plain)
