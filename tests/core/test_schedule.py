"""Schedule: one factor over the epochs for all methods."""

import logging
import math

import pytest
from mmengine.logging import MessageHub

from mmpose_kd.core.schedule import Schedule


@pytest.fixture
def hub():
    hub = MessageHub.get_current_instance()
    before = dict(hub.runtime_info)
    yield hub
    hub.runtime_info.clear()
    hub.runtime_info.update(before)


def test_constant_is_one_everywhere():
    assert [Schedule().factor(e, 10) for e in (0, 5, 9)] == [1, 1, 1]


def test_ramp_up_follows_the_formula_and_stays_at_one():
    ramp = Schedule('ramp_up', epochs=4)
    expected = [math.exp(-5 * (1 - min(e, 4) / 4) ** 2) for e in range(8)]
    assert [ramp.factor(e, 8) for e in range(8)] == pytest.approx(expected)
    assert ramp.factor(4, 8) == ramp.factor(7, 8) == 1


def test_linear_decay_reaches_zero_and_stays_there():
    decay = Schedule('linear_decay', epochs=4)
    assert [decay.factor(e, 8) for e in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]
    assert Schedule('linear_decay').factor(3, 10) == pytest.approx(0.7)  # the whole run


def test_a_float_is_a_share_of_the_run():
    assert Schedule('ramp_up', epochs=0.6).factor(45, 150) == pytest.approx(math.exp(-5 / 4))


def test_a_window_is_zero_outside():
    window = Schedule(start=2, stop=0.5)
    assert [window.factor(e, 10) for e in range(7)] == [0, 0, 1, 1, 1, 0, 0]


def test_a_ramp_begins_to_count_at_its_start():
    ramp = Schedule('ramp_up', epochs=2, start=3)
    assert [ramp.factor(e, 8) for e in (2, 3, 5)] == pytest.approx([0, math.exp(-5), 1])


def test_outside_a_runner_it_stands_at_its_start(hub):
    hub.runtime_info.pop('max_epochs', None)
    assert Schedule('ramp_up', epochs=90).now() == pytest.approx(math.exp(-5))
    assert Schedule('linear_decay').now() == 1


def test_inside_a_run_it_reads_the_epoch(hub):
    hub.update_info('epoch', 3)
    hub.update_info('max_epochs', 10)
    assert Schedule('linear_decay').now() == pytest.approx(0.7)


def test_an_iteration_based_run_counts_its_iterations(hub):
    for name, value in dict(epoch=0, max_epochs=1, iter=750, max_iters=1000).items():
        hub.update_info(name, value)
    assert Schedule('linear_decay').now() == pytest.approx(0.25)
    assert Schedule('ramp_up', epochs=0.5).now() == 1


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='cosine'), r"x.type='cosine'.*ramp_up"),
        (dict(type='ramp_up', epochs=0), r'x.epochs=0'),
        (dict(type='ramp_up', epochs=1.5), r'x.epochs=1.5'),
        (dict(start=-1), r'x.start=-1'),
        (dict(stop='never'), r"x.stop='never'.*number"),
        (dict(epochs=True), r'x.epochs=True'),
        (dict(epochs=1.0), r'x.epochs=1.0'),
        (dict(epochs=5), r"x.epochs=5 has no meaning with type='constant'"),
        (dict(length=3), r'x=.*length'),
    ],
)
def test_bad_settings_name_the_key(cfg, message):
    with pytest.raises(ValueError, match=message):
        Schedule.build(cfg, 'x')


@pytest.fixture
def heard(monkeypatch):
    """What was said, with its level."""
    lines = []
    monkeypatch.setattr(
        'mmpose_kd.core.schedule.print_log',
        lambda text, logger, level: lines.append((text, level)),
    )
    return lines


ITERATIONS = [
    dict(type='IterBasedTrainLoop', max_iters=100),
    dict(type='mmengine.runner.IterBasedTrainLoop', max_iters=100),
    dict(by_epoch=False, max_iters=100),
]


def begin(hub, max_epochs, epoch=0, loop=None, iters=10):
    """A run as MMEngine's hub presents it; each epoch has ``iters`` iterations."""
    loop = loop or dict(by_epoch=True, max_epochs=max_epochs)
    facts = dict(
        epoch=epoch, max_epochs=max_epochs, iter=epoch * iters, max_iters=max_epochs * iters,
        cfg=f'train_cfg = {loop!r}',
    )  # fmt: skip
    for name, value in facts.items():
        hub.update_info(name, value)


@pytest.mark.parametrize(
    ('settings', 'max_epochs', 'largest'),
    [
        (dict(), 3, 1),
        (dict(start=2), 2, 0),
        (dict(start=2), 3, 1),
        (dict(start=0.5), 2, 1),
        (dict(stop=1, start=1), 4, 0),
        (dict(type='ramp_up', epochs=90), 2, math.exp(-5 * (89 / 90) ** 2)),
        (dict(type='ramp_up'), 4, math.exp(-5 * 0.25**2)),
        (dict(type='linear_decay', start=1), 4, 1),
        (dict(type='ramp_up', epochs=0.5), 1, 1),  # one epoch counts by its iterations
        (dict(start=1), 1, 0),
    ],
)
def test_the_largest_factor_of_a_run(settings, max_epochs, largest):
    assert Schedule(**settings).largest_factor(max_epochs) == pytest.approx(largest)


def test_a_run_that_ends_before_the_schedule_is_told_once_with_key_and_factor(hub, heard):
    schedule = Schedule('ramp_up', epochs=90, key='head.kd_schedule')
    for epoch in (0, 1):
        begin(hub, 2, epoch)
        assert schedule.now() == schedule.factor(epoch, 2)  # it trains all the same
    ((text, level),) = heard
    assert (
        text.startswith('head.kd_schedule: in this run of 2 epochs') and 'reaches 0.0075 ' in text
    )
    assert level == logging.WARNING


@pytest.mark.parametrize('settings', [dict(start=3), dict(stop=2, start=2), dict(start=0.9)])
def test_a_schedule_that_never_acts_is_refused(hub, settings):
    begin(hub, 3)
    with pytest.raises(ValueError, match=r'distill\[1\].schedule: start=.* at 0 in the whole'):
        Schedule(**settings, key='distill[1].schedule').now()


@pytest.mark.parametrize('settings', [dict(start=1), dict(type='ramp_up', epochs=5)])
def test_a_run_of_one_epoch_for_debugging_is_possible(hub, heard, settings):
    begin(hub, 1)
    assert Schedule(**settings).now() <= math.exp(-5)
    assert len(heard) == 1


@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(start=7),
        dict(stop=2),
        dict(type='ramp_up', epochs=0.6),
        dict(type='ramp_up', epochs=8),
        dict(type='linear_decay'),
    ],
)
def test_a_schedule_that_acts_is_not_talked_of(hub, heard, settings):
    begin(hub, 10)
    Schedule(**settings).now()
    assert heard == []


@pytest.mark.parametrize('loop', ITERATIONS)
@pytest.mark.parametrize(
    ('settings', 'name'),
    [
        (dict(start=1), 'start=1'),
        (dict(stop=3), 'stop=3'),
        (dict(type='ramp_up', epochs=90), 'epochs=90'),
        (dict(type='linear_decay', epochs=1), 'epochs=1'),
        (dict(type='ramp_up', epochs=0.5, start=2), 'start=2'),
    ],
)
def test_whole_epochs_are_refused_in_a_run_of_iterations(hub, loop, settings, name):
    begin(hub, 1, loop=loop, iters=100)
    with pytest.raises(ValueError, match=rf'x\.{name}: the run counts iterations.*\(0, 1\)'):
        Schedule(**settings, key='x').now()


@pytest.mark.parametrize('loop', ITERATIONS)
@pytest.mark.parametrize(
    'settings', [dict(), dict(start=0.5), dict(type='ramp_up', epochs=0.5), dict(start=0)]
)
def test_shares_act_in_a_run_of_iterations(hub, heard, loop, settings):
    begin(hub, 1, loop=loop, iters=100)
    schedule = Schedule(**settings)
    schedule.now()
    hub.update_info('iter', 99)
    assert schedule.now() == 1
    assert heard == []


def test_a_run_of_iterations_with_too_short_a_share_is_told(hub, heard):
    begin(hub, 1, loop=ITERATIONS[0], iters=100)
    Schedule('ramp_up', epochs=0.9, start=0.8, key='x').now()
    assert len(heard) == 1 and heard[0][0].startswith('x: ')


def test_a_resumed_run_goes_on_at_its_factor_and_is_told_by_the_whole_run(hub, heard):
    begin(hub, 10, epoch=9)
    assert Schedule(stop=5).now() == 0  # it has acted
    assert Schedule('ramp_up', epochs=9).now() == 1
    assert heard == []
    assert Schedule('ramp_up', epochs=90, key='x').now() == pytest.approx(math.exp(-4.05))
    assert len(heard) == 1


def test_a_longer_run_with_the_same_schedule_is_compared_again(hub, heard):
    schedule = Schedule('ramp_up', epochs=9)
    for length, said in ((2, 1), (10, 1), (2, 2)):
        begin(hub, length)
        schedule.now()
        assert len(heard) == said


def test_of_two_schedules_each_is_told_with_its_own_key(hub, heard):
    begin(hub, 2)
    late = Schedule('ramp_up', key='a'), Schedule(key='b'), Schedule('ramp_up', start=1, key='c')
    for schedule in late:
        schedule.now()
        schedule.now()
    assert [text[:2] for text, _ in heard] == ['a:', 'c:']


def test_outside_a_run_nothing_is_compared(hub, heard):
    for name in ('max_epochs', 'max_iters'):
        hub.runtime_info.pop(name, None)
    Schedule(start=5).now()
    assert heard == []


@pytest.mark.parametrize('start', [2, 0.25])
def test_without_a_length_it_lasts_from_its_start_to_the_end_of_the_run(start):
    decay, ramp = (Schedule(kind, start=start) for kind in ('linear_decay', 'ramp_up'))
    left = [1 - e / 6 for e in range(6)]
    assert [decay.factor(e, 8) for e in range(9)] == pytest.approx([0, 0, *left, 0])
    assert [ramp.factor(e, 8) for e in range(2, 8)] == pytest.approx(
        [math.exp(-5 * x**2) for x in left]
    )


def test_the_first_epoch_that_a_setting_may_name():
    assert Schedule(start=0).factor(0, 2) == 1
    assert [Schedule(stop=1).factor(e, 2) for e in (0, 1)] == [1, 0]
    assert Schedule('linear_decay', epochs=1).factor(1, 2) == 0
    with pytest.raises(ValueError, match=r'x\.stop=0: give a whole number of epochs, 1 or more'):
        Schedule(stop=0, key='x')
    with pytest.raises(ValueError, match=r'x\.start=-1: give a whole number of epochs, 0 or more'):
        Schedule(start=-1, key='x')


def test_what_it_remembers_of_a_run_is_no_setting_and_does_not_tell_two_apart(hub, heard):
    with pytest.raises(ValueError, match=r'x=.*_checked'):
        Schedule.build({'_checked': (3, 30)}, 'x')
    one, two = Schedule(start=1), Schedule(start=1)
    begin(hub, 3)
    one.now()
    assert one == two and repr(one) == repr(two)
    assert '_checked' not in repr(one)


def test_one_schedule_is_taken_as_it_is():
    schedule = Schedule(start=1)
    assert Schedule.build(schedule, 'x') is schedule
    assert Schedule.build(None, 'x') == Schedule(key='x')
    with pytest.raises(ValueError, match=r"x='ramp_up': give a dict"):
        Schedule.build('ramp_up', 'x')
