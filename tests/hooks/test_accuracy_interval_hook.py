"""AccuracyIntervalHook: the accuracy where it is logged, and the same training."""

import copy

import pytest
import torch
from mmpose.models.heads.heatmap_heads import heatmap_head

from mmpose_kd.hooks import AccuracyIntervalHook

from ..helpers.distillers import distiller_config, untrained
from ..helpers.dskd_runs import dskd_config, make_runner, train, with_17, without_dskd
from ..helpers.models import HOURGLASS, HRNET, build, okdhp_config, plain_config
from ..helpers.ocd import ocd_of, plain_of
from ..helpers.runs import draw


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder with drawn pictures."""
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture
def computed(monkeypatch):
    """The steps in which MMPose's head computed its accuracy; counted by the test."""
    calls = []
    compute = heatmap_head.pose_pck_accuracy
    monkeypatch.setattr(
        heatmap_head, 'pose_pck_accuracy', lambda **given: calls.append(1) or compute(**given)
    )
    return calls


def run_of(data, folder, model, interval=2):
    cfg = without_dskd(dskd_config(data, folder, model, epochs=2))
    cfg['default_hooks']['logger'] = dict(type='LoggerHook', interval=interval)
    return cfg


def with_hook(cfg, folder, **settings):
    cfg = copy.deepcopy({**cfg, 'work_dir': str(folder)})
    cfg['custom_hooks'].append(dict(type='AccuracyIntervalHook', **settings))
    return cfg


def distilled():
    teacher = plain_config(HRNET)
    teacher['head']['out_channels'] = 17
    return distiller_config(student=with_17(), teachers=[untrained(teacher)])


@pytest.mark.parametrize('model', [with_17, distilled], ids=['stock', 'distilled'])
def test_every_loss_and_weight_is_the_same_with_a_share_of_the_computations(
    data, tmp_path, computed, model
):
    cfg = run_of(data, tmp_path / 'always', model())
    always, expected = train(cfg)
    every_step, steps = len(computed), len(expected)
    assert every_step == steps
    computed.clear()
    seldom, found = train(with_hook(cfg, tmp_path / 'seldom'))
    assert found == expected
    assert len(computed) == steps // 2  # as the logger, every second step
    states = seldom.model.state_dict(), always.model.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
    of = getattr(seldom.model, 'student', seldom.model)
    assert 'compute_acc' not in (of.train_cfg or {})  # its own again


def test_an_epoch_shorter_than_the_interval_has_one_at_its_end(data, tmp_path, computed):
    cfg = run_of(data, tmp_path, with_17(), interval=50)
    runner, losses = train(with_hook(cfg, tmp_path))
    assert len(computed) == runner.max_epochs < len(losses)
    log = next(tmp_path.rglob('vis_data/scalars.json')).read_text()
    assert 'acc_pose' in log


def test_a_config_without_accuracy_stays_without_and_a_wrong_interval_is_named(
    data, tmp_path, computed
):
    model = {**with_17(), 'train_cfg': dict(compute_acc=False)}
    train(with_hook(run_of(data, tmp_path, model), tmp_path, interval=1))
    assert not computed
    with pytest.raises(ValueError, match=r'AccuracyIntervalHook\.interval=0'):
        AccuracyIntervalHook(0)
    runner = make_runner(with_hook(run_of(data, tmp_path, with_17()), tmp_path))
    del runner.model.train_cfg
    with pytest.raises(ValueError, match='needs a model with train_cfg'):
        runner.train()


def feature_distiller(student):
    entry = dict(loss=dict(type='PearsonFeatureLoss'), student='backbone', teacher='backbone')
    return distiller_config(entry, student=student, teachers=[untrained(plain_config())])


@pytest.mark.parametrize(
    ('model', 'named'),
    [
        (plain_config(), None),
        (okdhp_config(), None),
        (okdhp_config(HOURGLASS, 'stack1'), None),
        (plain_config(HOURGLASS), 'CPMHead'),
        (plain_of('rtmcc'), 'RTMCCHead'),
        (ocd_of('regression'), 'RegressionHead'),
        (feature_distiller(plain_of('simcc')), 'SimCCHead'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else str(value),
)
def test_a_head_that_always_computes_it_is_named_before_the_training(
    data, tmp_path, monkeypatch, model, named
):
    runner = make_runner(with_hook(run_of(data, tmp_path, with_17()), tmp_path))
    runner.model = build(model)
    said = []
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    next(h for h in runner.hooks if isinstance(h, AccuracyIntervalHook)).before_train(runner)
    assert len(said) == (named is not None)
    assert all(f'AccuracyIntervalHook changes nothing: {named}' in one for one in said)
