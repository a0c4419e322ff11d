"""DSKDHook: schedules that never act and guides that come too late are said before training."""

import re

import pytest

from mmpose_kd.core.schedule import Schedule
from mmpose_kd.dskd.plan import GuidePlan, warn_of_late

from ..helpers.dskd_runs import Record, dskd_config, make_runner, train, value, without_dskd


@pytest.fixture
def heard(monkeypatch):
    """What was said as a warning."""
    lines = []

    def log(text, logger=None, level=None):
        lines.append(text)

    monkeypatch.setattr('mmpose_kd.dskd.plan.print_log', log)
    monkeypatch.setattr('mmpose_kd.core.schedule.print_log', log)
    return lines


def by_iterations(cfg, count=4):
    cfg['custom_hooks'] = [hook for hook in cfg['custom_hooks'] if hook['type'] == 'DSKDHook']
    cfg['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=count)
    cfg['train_dataloader']['sampler'] = dict(type='InfiniteSampler')
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=2, by_epoch=False)
    return cfg


@pytest.mark.parametrize('name', ['alpha_schedule', 'gamma_schedule'])
@pytest.mark.parametrize('schedule', [dict(start=1), dict(stop=2), dict(type='ramp_up', epochs=3)])
def test_whole_epochs_are_refused_in_a_run_of_iterations(data, tmp_path, name, schedule):
    cfg = by_iterations(dskd_config(data, tmp_path, num_guides=1, **{name: schedule}))
    record = Record()
    runner = make_runner(cfg, record)
    key = 'epochs' if 'epochs' in schedule else next(iter(schedule))
    with pytest.raises(ValueError, match=rf'DSKDHook\.{name}\.{key}=.*share of the run'):
        runner.train()
    assert record.losses == {}


def test_a_share_acts_in_a_run_of_iterations(data, tmp_path, heard):
    cfg = by_iterations(dskd_config(data, tmp_path, num_guides=1, alpha_schedule=dict(start=0.75)))
    _, losses = train(cfg)
    assert [value(step['loss_dskd_kd']) > 0 for step in losses.values()] == [0, 0, 0, 1]
    assert heard == []


def test_a_schedule_that_a_short_run_does_not_reach_is_told_once(data, tmp_path, heard):
    late = dict(type='ramp_up', epochs=90)
    late = dict(alpha_schedule=late, gamma_schedule=late)
    cfg = dskd_config(data, tmp_path, epochs=2, num_guides=1, **late)
    _, losses = train(cfg)
    assert [line.split(': in this run of 2')[0][-14:] for line in heard] == [
        'alpha_schedule', 'gamma_schedule',
    ]  # fmt: skip
    assert all('reaches 0.0075 ' in line for line in heard)
    assert losses


def test_the_schedule_of_a_loss_that_is_off_is_not_talked_of(data, tmp_path, heard):
    off = dict(gamma=0.0, gamma_schedule=dict(start=5), num_guides=1)
    train(dskd_config(data, tmp_path, epochs=2, **off))
    cfg = by_iterations(dskd_config(data, tmp_path / 'iterations', **off))
    train(cfg)
    assert heard == []


def test_a_schedule_that_ends_before_the_first_guide_is_told(data, tmp_path, heard):
    cfg = dskd_config(data, tmp_path, epochs=2, num_guides=1, alpha_schedule=dict(stop=1))
    _, losses = train(cfg)
    (line,) = heard
    assert 'alpha_schedule: the first guide comes after 1 of 2 epochs' in line
    assert 'reaches 0 ' in line
    assert all(value(step['loss_dskd_kd']) == 0 for step in losses.values())


def test_a_plain_run_that_goes_on_after_the_last_guide_was_due_is_told(data, tmp_path, heard):
    cfg = dskd_config(data, tmp_path, epochs=3)
    train(without_dskd(cfg), train_cfg__max_epochs=2)
    train(cfg, resume=True)
    (line,) = heard
    assert 'DSKDHook: this run goes on after 2 of 3 epochs' in line and 'after 1, 2' in line


@pytest.mark.parametrize(('unit', 'each'), [('epoch', 1), ('iter', 10)])
@pytest.mark.parametrize(
    ('due', 'done', 'schedule', 'said'),
    [
        ([3, 6], 0, dict(), []),
        ([3, 6], 0, dict(start=0.5), []),
        ([3, 6], 0, dict(stop=0.9), []),
        ([3, 6], 4, dict(), []),  # the second still comes
        ([3, 6], 0, dict(stop=0.2), ['alpha_schedule: the first guide.*reaches 0 ']),
        ([3, 6], 0, dict(type='linear_decay'), ['alpha_schedule: the first guide.*reaches 0.7 ']),
        ([3, 6], 0, dict(type='ramp_up', stop=0.5), []),  # it says that itself
        ([9], 0, dict(), ['hardly teaches']),
        ([3, 6], 6, dict(), ['none will come']),
    ],
)
def test_guides_that_come_too_late_are_told(heard, unit, each, due, done, schedule, said):
    """Of ten epochs, or of ten times as many iterations."""
    one = Schedule.build(schedule, 'x.alpha_schedule')
    warn_of_late([each * x for x in due], each * done, each * 10, unit, [one], 'x')
    assert [bool(re.search(*pair)) for pair in zip(said, heard)] == [True] * len(said)
    assert len(heard) == len(said)


@pytest.mark.parametrize(
    ('interval', 'length', 'told'),
    [(10, 20000, True), (300, 20000, False), (0.001, 20000, False), (1, 8, False)],
)
def test_an_interval_that_looks_like_epochs_is_told_in_a_run_of_iterations(
    heard, interval, length, told
):
    GuidePlan('snapshots', interval=interval, key='x').warn_of_many(length)
    assert [line.startswith('x.interval=10: this run counts') for line in heard] == [True] * told


def test_a_resumed_run_that_has_its_guides_says_nothing(data, tmp_path, heard):
    cfg = dskd_config(data, tmp_path, epochs=3)
    train(cfg)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    train(cfg, resume=True)
    assert heard == []
