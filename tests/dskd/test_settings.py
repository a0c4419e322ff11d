"""DSKDHook: settings that cannot be used, named before the first step."""

import math
import re

import pytest
from mmpose.registry import MODELS
from torch import nn

from mmpose_kd.dskd.hook import DSKDHook

from ..helpers.dskd_runs import HOOK, Record, dskd_config, make_runner, train, with_17
from ..helpers.models import plain_config


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(), r'guides=None: .*mmpose-kd generations'),
        (dict(guides='epochs'), r"guides='epochs'"),
        (dict(guides=[]), r'guides=\[\]'),
        (dict(guides='snapshots', redraw=True), r'redraw=True'),
        (dict(teachers=['a.pth']), r'teachers='),
        (dict(alpha=-1), r'alpha=-1'),
        (dict(gamma=float('nan')), r'gamma=nan'),
        (dict(keep_prob=0), r'keep_prob=0'),
        (dict(form='square'), r"form='square'"),
        (dict(threshold=0), r'threshold=0'),
        (dict(floor=0), r'floor=0'),
        (dict(below_floor='drop'), r"below_floor='drop'"),
        (dict(cls=dict(kappa=0)), r'cls\.kappa=0'),
        (dict(cls=dict(kapa=1)), r'cls=.*kapa'),
        (dict(cls_target='teacher'), r"cls_target='teacher'"),
        (dict(log_interval=0), r'log_interval=0'),
        (dict(seed='one'), r"seed='one'"),
        (dict(alpha='1'), r"alpha='1'"),
        (dict(keep_prob='1'), r"keep_prob='1'"),
        (dict(threshold='1'), r"threshold='1'"),
        (dict(floor='1'), r"floor='1'"),
        (dict(lengths=3), r'lengths=3'),
        (dict(alpha_schedule=dict(type='up')), r'alpha_schedule\.type'),
    ],
)
def test_a_bad_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=f'DSKDHook.{message}'):
        DSKDHook(**settings)


WRONG = {  # of each setting values that are no number, no switch, no name of its kind
    'guides': [3, None, {}, True],
    'num_guides': [0, 2.0, True, '2', [2], math.inf],
    'interval': [0, -1, 1.5, True, '2', [2], math.nan],
    'lengths': [3, '111', (1, 1), (1, True, 1), (1, '1', 1), (1, math.inf, 1)],
    'redraw': ['no', 1, None],
    'teachers': [None, {}, 'a.pth', ['a.pth']],
    'alpha': [-1, True, '1', [1], math.inf, math.nan],
    'gamma': [-1, True, '1', [1], math.inf, math.nan],
    'alpha_schedule': ['ramp_up', 1, []],
    'gamma_schedule': ['ramp_up', 1, []],
    'dense': ['no', 0, None],
    'keep_prob': [0, 1.1, True, '1', [1], math.nan],
    'form': ['square', 1, ['soft']],
    'threshold': [0, 1.1, True, '1', [1], math.nan],
    'floor': [0, True, '1', [1], math.inf, math.nan],
    'below_floor': ['drop', 0, ['zero']],
    'cls': ['bce', 1, []],
    'cls_target': ['teacher', 0],
    'seed': ['one', 1.0, True, [1], 2**63],
    'log_interval': [0, 1.0, True, '1', None, [1]],
}


@pytest.mark.parametrize(
    ('name', 'value'), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_value_of_a_wrong_kind_is_named_with_its_key(name, value):
    needed = {'interval': dict(guides='snapshots')}.get(name, {})
    with pytest.raises(ValueError, match=re.escape(f'DSKDHook.{name}={value!r}: ')):
        DSKDHook(**needed, **{name: value})


def test_settings_that_are_left_out_are_the_documented_ones():
    hook = DSKDHook(guides='generations')
    guidance = hook.guidance
    assert (guidance.form, guidance.threshold, guidance.floor) == ('soft', 0.5, 0.1)
    assert (guidance.cls_target, guidance.below_floor) == ('ground_truth', 'zero')
    assert (guidance.cls_loss.form, guidance.cls_loss.kappa) == ('distribution', 10)
    assert (hook.dense, hook.keep_prob) == (True, 0.75)


@pytest.mark.parametrize('keep_prob', [0.75, 0.5, 1.0])
def test_the_newest_guide_alone_is_not_drawn(keep_prob):
    with pytest.raises(ValueError, match=rf'DSKDHook\.keep_prob={keep_prob}: .*dense=False'):
        DSKDHook(guides='generations', dense=False, keep_prob=keep_prob)
    assert DSKDHook(guides='generations', dense=False).dense is False


@pytest.mark.parametrize('entry', [3, None, '', {}, ['a.pth']])
def test_a_given_guide_that_is_no_model_is_named(entry):
    with pytest.raises(ValueError, match=re.escape(f'DSKDHook.guides[1]={entry!r}: ')):
        DSKDHook(guides=['a.pth', entry])


def test_two_of_it_in_one_run_are_refused(data, tmp_path):
    """As where a config adds it to those of a config that has it."""
    cfg = dskd_config(data, tmp_path, hooks=[HOOK])
    with pytest.raises(ValueError, match=r'DSKDHook stands 2 times'):
        train(cfg)


def test_a_head_it_does_not_know_is_refused_before_the_first_step(data, tmp_path, monkeypatch):
    class OtherHead(MODELS.get('HeatmapHead')):
        def forward(self, feats):
            return super().forward(feats), None

    monkeypatch.setitem(MODELS.module_dict, 'OtherHead', OtherHead)
    model = with_17()
    model['head']['type'] = 'OtherHead'
    record = Record()
    runner = make_runner(dskd_config(data, tmp_path, model=model), record)
    with pytest.raises(ValueError, match=r'DSKDHook does not know .*OtherHead.*output_kind'):
        runner.train()
    assert record.losses == {}


def test_a_head_that_does_not_run_its_forward_is_told(data, tmp_path, monkeypatch):
    class OwnWay(MODELS.get('HeatmapHead')):
        output_kind = 'heatmap'

        def loss(self, feats, samples, train_cfg=None):
            return {'loss_kpt': self.final_layer(self.deconv_layers(feats[-1])).mean()}

    monkeypatch.setitem(MODELS.module_dict, 'OwnWay', OwnWay)
    model = with_17()
    model['head']['type'] = 'OwnWay'
    with pytest.raises(ValueError, match=r'OwnWay\.loss\(\) does not call .*forward'):
        train(dskd_config(data, tmp_path, model=model))


def test_a_student_that_its_config_does_not_give_again_is_told_before_the_first_step(
    data, tmp_path
):
    record = Record()
    runner = make_runner(dskd_config(data, tmp_path), record)
    runner.model.backbone.extra = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r'(?s)DSKDHook.*model.*backbone\.extra'):
        runner.train()
    assert record.losses == {}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_guides=6), r'num_guides=6: 6 epochs'),
        (dict(guides=['nowhere.pth']), r'guides\[0\].*nowhere\.pth'),
        (dict(guides=[dict(checkpoint='one.pth')]), r'guides\[0\]=.*one\.pth.*config'),
        (dict(teachers=[dict(config=plain_config(), checkpoint=None)]), r'teachers\[0\] has 5'),
        (
            dict(teachers=[dict(config=with_17(), checkpoint=None, keypoints=[0, 1])]),
            r'teachers\[0\]\.keypoints names 2',
        ),
        (
            dict(teachers=[dict(config=with_17(), checkpoint=None, keypoints=[-1] * 17)]),
            r'teachers\[0\]\.keypoints has -1',
        ),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(data, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train(dskd_config(data, tmp_path, **settings))
