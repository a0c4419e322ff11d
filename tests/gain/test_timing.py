"""The time of a training step."""

import pytest

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
