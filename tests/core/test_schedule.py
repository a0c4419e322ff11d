"""Schedule: one factor over the epochs for all methods."""

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
