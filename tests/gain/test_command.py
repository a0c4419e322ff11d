"""From the command line to the runs that it asks for."""

import fcntl
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mmpose_kd
from mmpose_kd.cli import main
from mmpose_kd.gain import command, workers
from mmpose_kd.gain.configs import load_config
from mmpose_kd.gain.plan import Run


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['{plain}'], 'found 1 configs'),
        (['{plain}', 'missing.py'], 'missing.py: no such config'),
        (['{plain}', 'mmpose::missing.py'], 'mmpose::missing.py cannot be read as a config'),
        (['{plain}', '{plain}'], 'two configs are called plain'),
        (['{plain}', '{okdhp}', '--seeds', '1', '1'], '--seeds names one twice'),
        (
            ['{plain}', '{okdhp}', '--cfg-options', 'custom_hooks.99.interval=1'],
            '--cfg-options custom_hooks.99.interval: ',
        ),
        (['{plain}', '{okdhp}', '--cfg-options', 'test_evaluator=None'], 'no test_evaluator'),
        (
            ['{plain}', '{okdhp}', '--cfg-options', 'test_dataloader.dataset.data_root=/nowhere'],
            'test_dataloader.dataset.ann_file: /nowhere/',
        ),
        (
            ['{plain}', '{okdhp}', '--cfg-options', 'load_from=gone.pth'],
            'load_from: gone.pth is not there',
        ),
        (
            ['{plain}', '{okdhp}', '--train-persons', '4', '99999', '--no-equal-wall-time'],
            '--train-persons 99999',
        ),
        (
            ['{plain}', '{okdhp}', '--train-persons', '4', '--no-equal-wall-time']
            + ['--cfg-options', 'train_dataloader.dataset.ann_file={list}'],
            'has no images and annotations: give --train-persons all',
        ),
        (
            ['{plain}', '{okdhp}', '--epochs', '9', '--no-equal-wall-time', '--cfg-options']
            + ['param_scheduler.type=OneCycleLR', 'param_scheduler.by_epoch=False'],
            'param_scheduler.by_epoch=False',
        ),
        (['--report-only'], 'nothing was asked for'),
    ],
)
def test_a_wrong_setting_is_told(pair, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(command, 'run_all', lambda *_: pytest.fail('training was started'))
    (tmp_path / 'list.json').write_text('[{"image": "a.jpg"}]')
    names = {'plain': pair[0], 'okdhp': pair[1], 'list': tmp_path / 'list.json'}
    arguments = [a.format(**names) for a in arguments]
    assert main(['gain', *arguments, '--out', str(tmp_path)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'plan.json').exists()


def test_the_plain_model_trains_longer_for_the_same_wall_time(pair):
    settings = command.Settings(tuple(pair), Path('x'), seeds=(4,), epochs=10)
    configs = command.read_configs(settings)
    (found,) = command.comparisons(settings, configs, {'okdhp': 1.31})
    assert found.plain_epochs == 14
    assert found.runs() == [
        Run('plain', None, 10, 4),
        Run('okdhp', None, 10, 4),
        Run('plain', None, 14, 4),
    ]


def test_training_steps_are_timed_again_when_something_is_other(pair, tmp_path, monkeypatch):
    class FakeChildren(workers.Children):
        def start(self, module, folder, result, jobs, log):
            times.append(jobs)
            Path(result).write_text(json.dumps({'ratio': 1.0 + len(times)}))
            return subprocess.Popen(['true'])

    times = []
    monkeypatch.setattr(command, 'Children', FakeChildren)
    configs = {Path(path).stem: load_config(path) for path in pair}
    (tmp_path / 'timing.json').write_text('{"plain okdhp": {"ratio": 9.0}}')

    def ratio(jobs=1):
        return command.time_ratio(tmp_path, configs, 'plain', 'okdhp', jobs)

    assert ratio() == ratio() == 2
    assert ratio(jobs=2) == ratio(jobs=2) == 3
    configs['okdhp'].log_level = 'ERROR'
    assert ratio(jobs=2) == 3
    configs['okdhp'].model.head.num_branches = 5
    assert ratio(jobs=2) == 4
    monkeypatch.setattr(command, 'device', lambda: 'another')
    assert ratio(jobs=2) == 5


def test_a_timing_that_fails_is_one_line_below_its_log(pair, tmp_path, monkeypatch, capsys):
    class FakeChildren(workers.Children):
        def start(self, program, *args, jobs, log):
            log.write_text('the reason')
            return subprocess.Popen(['false'])

    monkeypatch.setattr(command, 'Children', FakeChildren)
    assert main(['gain', *pair, '--out', str(tmp_path)]) == 1
    *_, reason, last = capsys.readouterr().err.splitlines()
    assert reason == 'the reason'
    assert last.startswith('mmpose-kd: error: the timing of plain and okdhp failed, see ')


def test_a_second_call_in_the_same_folder_is_refused(pair, tmp_path, capsys):
    with open(tmp_path / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(['gain', *pair, '--out', str(tmp_path)]) == 1
    assert f'another call is at work in {tmp_path}' in capsys.readouterr().err


def test_the_command_line_becomes_settings(monkeypatch):
    seen = []
    monkeypatch.setattr(command, 'compare', lambda *args: seen.append(args) or 0)
    line = ['gain', 'a.py', 'b.py', '--out', 'o', '--seeds', '3', '4', '--train-persons', '5']
    line += ['all', '--jobs', '2', '--no-equal-wall-time', '--cfg-options', 'a.b=[1,2]', 'c=x']
    assert main(line) == 0
    assert main(['gain', '--report-only', '--yardstick', 'bbox', '--out', 'o']) == 0
    (settings, text), (report, _) = seen
    assert settings == command.Settings(
        configs=('a.py', 'b.py'),
        out=Path('o'),
        seeds=(3, 4),
        train_persons=(5, None),
        equal_wall_time=False,
        jobs=2,
        cfg_options={'a.b': [1, 2], 'c': 'x'},
    )
    assert text == 'mmpose-kd ' + shlex.join(line)
    assert report == command.Settings((), Path('o'), report_only=True, yardstick='bbox')


def test_failed_runs_are_exit_code_1(pair, tmp_path, monkeypatch):
    failed = [[], [Run('plain', None, 2, 0)]]
    monkeypatch.setattr(command, 'run_all', lambda *_: failed.pop())
    line = ['gain', *pair, '--out', str(tmp_path), '--no-equal-wall-time']
    assert main(line) == 1
    assert main(line) == 0


def test_an_interruption_says_how_to_go_on(pair, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'run_all', interrupted)
    assert main(['gain', *pair, '--out', str(tmp_path), '--no-equal-wall-time']) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == 'mmpose-kd: interrupted; the same command goes on where this one stopped'


def test_a_lite_mmcv_that_mmpose_cannot_use_alone_is_refused_before_training(
    pair, tmp_path, monkeypatch, capsys
):
    stand_in = Path(mmpose_kd.__file__).with_name('_mmcv_ext_stub.py')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', SimpleNamespace(__file__=str(stand_in)))
    assert main(['gain', *pair, '--out', str(tmp_path)]) == 1
    assert 'run once: mmpose-kd setup-mmcv' in capsys.readouterr().err


def test_modules_of_the_configs_are_looked_for_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setattr(command, 'write_report', lambda *_: '')
    monkeypatch.chdir(tmp_path)
    command.compare(command.Settings((), Path('o'), report_only=True), '')
    assert sys.path[-1] == str(tmp_path)
