"""The time of a training step."""

import pytest
from mmengine.config import Config

from mmpose_kd.core.gradient_balance import GradientBalance
from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.gain import timing
from mmpose_kd.gain.configs import load_config


@pytest.mark.slow
def test_a_training_step_is_timed_with_all_that_belongs_to_it(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, 'SECONDS', 0.2)
    for name, path in zip(('plain', 'distilled'), pair):
        cfg = load_config(path)
        if name == 'distilled':  # it wants a validation, of which there is none here
            cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='TeacherMetricsHook')]
        cfg.dump(tmp_path / f'{name}.py')
    found = timing.measure(tmp_path)
    assert len(found['turns']) == timing.ROUNDS
    assert 1 < found['ratio'] < 4


@pytest.fixture
def seen(monkeypatch):
    """The length of each training that was timed, and how often what was called in it."""
    monkeypatch.setattr(timing, 'SECONDS', 0.0)
    trainings = []

    def counted(owner, name):
        method = getattr(owner, name)

        def counts(self, *args, **kwargs):
            trainings[-1][name] += 1
            return method(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, counts)

    def noted(cfg, work_dir, most=None):
        trainings.append({'_measure': 0, 'forward_head': 0})
        clock = train(cfg, work_dir, most)
        trainings[-1]['steps'], trainings[-1]['mean'] = clock.iterations, clock.mean
        return clock

    train = timing.train_for_a_while
    monkeypatch.setattr(timing, 'train_for_a_while', noted)
    counted(GradientBalance, '_measure')
    counted(Teacher, 'forward_head')
    return trainings


def test_a_step_is_timed_as_in_the_middle_of_a_run(cached_pair, seen, tmp_path):
    """Where the teacher teaches already, and the balance measures at times only."""
    cfg = Config.fromfile(cached_pair[1])
    cfg.custom_hooks = []
    cfg.model.distill[0].update(balance=True, schedule=dict(start=0.5))
    cfg.dump(tmp_path / 'late.py')
    timing.seconds_per_iteration(tmp_path / 'late.py', str(tmp_path))
    (training,) = seen
    assert training['steps'] == timing.ITERATIONS
    assert training['forward_head'] == timing.WARM_UP + timing.ITERATIONS
    assert training['_measure'] == 2  # the first step, and one of those that are timed


def test_a_cache_of_the_teacher_is_timed_empty_and_full(cached_pair, seen, tmp_path):
    found = timing.seconds_per_iteration(cached_pair[1], str(tmp_path))
    empty, full = seen
    assert full['steps'] == empty['steps'] == timing.ITERATIONS
    assert empty['forward_head'] > 0 and full['forward_head'] == 0
    epochs = Config.fromfile(cached_pair[1]).train_cfg.max_epochs
    share = 2 * (1 - 0.5**epochs) / epochs  # of two variants
    assert found == pytest.approx(share * empty['mean'] + (1 - share) * full['mean'])
    assert not (tmp_path / 'cache').exists()  # the user's own
