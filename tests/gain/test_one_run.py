"""One training: resumed exactly, and exported as a stock model."""

import json
import sqlite3

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.gain import one_run, start
from mmpose_kd.gain.files import read_json
from mmpose_kd.gain.plan import Run
from mmpose_kd.records import learning_curve

from ..helpers.gain import folders


class Stop(Hook):
    """Ends a run as a crash would, at the start of its second epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_with_the_same_weights_to_the_last_bit(pair, tmp_path):
    run = Run('okdhp', None, 3, 0)
    whole, parts = (folders(pair, tmp_path / name).prepare(run) for name in ('whole', 'parts'))
    one_run.train(whole)
    runner = one_run.build_runner(parts)
    runner.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    # as if it had been stopped while it wrote a checkpoint
    (parts / 'work/epoch_2.pth').write_bytes((parts / 'work/epoch_1.pth').read_bytes()[:5000])
    assert one_run.newest_checkpoint(parts / 'work').name == 'epoch_1.pth'
    last = one_run.train(parts)
    states = [read_checkpoint(path)['state_dict'] for path in (whole / 'work/epoch_3.pth', last)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    for folder in (whole, parts):
        assert len(json.loads((folder / 'progress.json').read_text())['seconds']) == 3
        assert list(learning_curve(folder / 'work')) == [1, 2, 3]


def test_all_seeds_share_a_teachers_cache_and_each_training_set_has_its_own(cached_pair, tmp_path):
    known = folders(cached_pair, tmp_path / 'out')
    stored = {}
    for run in [Run('kd', persons, 1, seed) for persons in (None, 8, 6) for seed in (0, 1)]:
        folder = known.prepare(run)
        one_run.train(folder)
        assert read_json(folder / 'progress.json')['samples'] == (run.persons or 15)
        known.check(run)
        for file in (tmp_path / 'cache').rglob('*.sqlite'):
            with sqlite3.connect(file) as db:
                rows = db.execute('SELECT count(DISTINCT person) FROM outputs').fetchone()[0]
                stored[file.relative_to(tmp_path).as_posix()] = rows
    assert stored == {
        'cache/teacher0.sqlite': 15,
        'cache/8_persons/teacher0.sqlite': 8,
        'cache/6_persons/teacher0.sqlite': 6,
    }


def test_a_method_that_is_a_hook_is_exported_as_the_plain_model(pair, tmp_path):
    cfg = Config.fromfile(pair[0])
    cfg.custom_hooks = [dict(type='DSKDHook', guides='generations')]
    cfg.dump(tmp_path / 'config.py')
    state = start.initial_weights(cfg.model, Config.fromfile(pair[0]).model, seed=0)
    torch.save({'state_dict': state}, tmp_path / 'epoch_1.pth')
    student = one_run.write_student(tmp_path, tmp_path / 'epoch_1.pth')
    weights = torch.load(student / 'student.pth', weights_only=True)['state_dict']
    assert all(torch.equal(weights[key], state[key]) for key in state)
    text = (student / 'student.py').read_text()
    assert 'DSKDHook' not in text and 'mmpose_kd' not in text
