"""The commands of ``mmpose-kd``: exit codes, messages of one line, help."""

import ast
import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmpose_kd
from mmpose_kd import cli
from mmpose_kd.cli import main
from mmpose_kd.cli.options import one_by_one

from ..helpers import ROOT


def command(*args):
    return [sys.executable, '-W', 'ignore', '-m', 'mmpose_kd.cli', *map(str, args)]


def leaves_with(code, *args):
    assert main([str(arg) for arg in args]) == code


def test_version_is_the_packages_version(capsys):
    leaves_with(0, '--version')
    assert capsys.readouterr().out == f'mmpose-kd {mmpose_kd.__version__}\n'


def test_help_names_every_command(capsys):
    leaves_with(0, '--help')
    shown = capsys.readouterr().out
    for name in (
        'methods', 'advise', 'wrap', 'make-data', 'metainfo', 'export', 'inspect', 'demo',
        'gain', 'generations', 'setup-mmcv', 'verify',
    ):  # fmt: skip
        assert re.search(rf'^  {name}\s', shown, re.MULTILINE)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('make-data', ('OUT', '--train N', '--val M', '--seed S')),
        (
            'export',
            ('CONFIG', 'CHECKPOINT', 'OUT', '--branch BRANCH', '--onnx ', '--half')
            + ('--onnx-outputs [rtmlib|raw]', '--onnx-channels [bgr|rgb]'),
        ),
        (
            'inspect',
            ('CONFIG', 'CHECKPOINT', '--out DIR', '--images FILE ...', '--samples N ...')
            + ('--force',),
        ),
        ('metainfo', ('TRAIN.json', '-o, --out OUT.py', '--force')),
        ('setup-mmcv', ('mmcv-lite', 'exported student')),
        ('generations', ('CONFIG', '--work-dir DIR', '--generations N', '--cfg-options K=V')),
        (
            'demo',
            ('--out DIR', '--method NAME', '--data DIR', '--epochs N', '--persons N', '--seed S'),
        ),
        (
            'verify',
            ('CONFIG', '--data-root DIR', '--batch-size N', '--num-images N', '--gpus N')
            + ('--device [cpu|cuda]', '--no-weights', '--cfg-options K=V'),
        ),
        ('methods', ()),
        ('advise', ('CONFIG',)),
        (
            'wrap',
            ('CONFIG', '--method METHOD', '--teacher CONFIG CHECKPOINT', '-o, --out OUT.py')
            + ('--force', '--no-trial'),
        ),
        (
            'gain',
            ('PLAIN', 'DISTILLED', '--out DIR', '--seeds S', '--train-persons N', '--epochs N')
            + ('--no-equal-wall-time', '--jobs N', '--cfg-options K=V', '--report-only')
            + ('--yardstick [torso|bbox]',),
        ),
    ],
)
def test_each_command_explains_itself(capsys, name, words):
    leaves_with(0, name, '--help')
    shown = capsys.readouterr().out
    for word in words:
        assert word in shown
    assert re.search(rf'Examples?:\n +mmpose-kd {name}\b', shown)


def test_a_command_is_required(capsys):
    leaves_with(2)
    assert 'COMMAND' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('make-data', 'out', '--train', '0'), "'--train': '0' is not a whole number above 0"),
        (('make-data', 'out', '--val', '-3'), "'--val': '-3' is not a whole number above 0"),
        (('make-data', 'out', '--seed', 'x'), "'--seed': 'x' is not a whole number from 0 up"),
        (('make-data',), "Missing argument 'OUT'"),
        (('export', 'c', 'p', 'o', '--branch', '1.5'), "'1.5' is neither a branch number"),
        (('export', 'c', 'p', 'o', '--branch', '-1'), "'-1' is neither a branch number"),
        (('export', 'c', 'p', 'o', '--branch', 'ensemble'), 'no plain model equals it'),
        (('export', 'c', 'p'), "Missing argument 'OUT'"),
        (('fly',), "No such command 'fly'"),
        (('demo', '--method', 'fly'), "'--method': 'fly' is no method, there are "),
        (('demo', '--epochs', '0'), "'--epochs': '0' is not a whole number above 0"),
        (('demo', '--persons', 'all'), "'--persons': 'all' is not a whole number above 0"),
        (('gain', 'a', 'b'), "Missing option '--out'"),
        (('gain', '--out', 'o', '--seeds', '1', 'x'), "'--seeds': 'x' is not a whole number from"),
        (('gain', '--out', 'o', '--seeds', '-1'), "'--seeds': '-1' is not a whole number from 0"),
        (('gain', '--out', 'o', '--seeds'), "'--seeds' requires an argument"),
        (('gain', '--out', 'o', '--jobs', '0'), "'--jobs': '0' is not a whole number above 0"),
        (('gain', '--out', 'o', '--epochs', '1.5'), "'--epochs': '1.5' is not a whole number"),
        (('gain', '--out', 'o', '--train-persons', '0'), "'0' is neither a number of persons nor"),
        (('gain', '--out', 'o', '--cfg-options', 'a'), "'a' is not of the form KEY=VALUE"),
        (('gain', '--out', 'o', '--yardstick', 'foot'), "'foot' is not one of 'torso', 'bbox'"),
    ],
)
def test_a_wrong_command_line_leaves_with_2_and_says_why(capsys, args, message):
    leaves_with(2, *args)
    usage, error = capsys.readouterr().err.splitlines()
    assert usage.startswith('Usage: mmpose-kd')
    assert message in error
    assert re.match(r'mmpose-kd( [a-z-]+)?: error: ', error)


def test_a_missing_file_is_one_line_and_no_traceback(tmp_path, capsys):
    leaves_with(1, 'export', tmp_path / 'none.py', tmp_path / 'none.pth', tmp_path / 'out')
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('mmpose-kd: error: ')
    assert 'none.py' in line
    assert not (tmp_path / 'out').exists()


def test_make_data_writes_a_data_set(tmp_path):
    leaves_with(0, 'make-data', tmp_path / 'data', '--train', 2, '--val', 1, '--seed', 3)
    names = {path.name for path in (tmp_path / 'data' / 'annotations').iterdir()}
    assert names == {'person_keypoints_train2017.json', 'person_keypoints_val2017.json'}
    assert len(list((tmp_path / 'data' / 'train2017').iterdir())) == 2


def test_an_interruption_is_one_line_and_130(tmp_path):
    process = subprocess.Popen(
        command('make-data', tmp_path / 'data', '--train', 100000),
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts background jobs with the signal ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob('*.*')):  # it has begun to draw
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert error.splitlines()[-1] == 'mmpose-kd: interrupted'
    assert 'Traceback' not in error


@pytest.mark.parametrize(
    ('given', 'read'),
    [
        ('a b --seeds 0 1 2 --jobs 2 c', 'a b --seeds 0 --seeds 1 --seeds 2 --jobs 2 c'),
        ('--seeds 0 --seeds 1 2', '--seeds 0 --seeds 1 --seeds 2'),
        ('--seeds=0 a', '--seeds=0 a'),
        ('--seeds 0 1 -- 2', '--seeds 0 --seeds 1 -- 2'),
        ('--seeds --jobs 2', '--seeds --jobs 2'),
        ('a --jobs 2 b', 'a --jobs 2 b'),
    ],
)
def test_an_option_takes_several_values_in_a_row(given, read):
    assert one_by_one(given.split(), {'--seeds'}) == read.split()


def test_without_click_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'click', None)
    leaves_with(1, '--version')
    assert capsys.readouterr().err == (
        'mmpose-kd: error: the command needs click: pip install click\n'
    )


@pytest.mark.parametrize('number', [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_disk_that_cannot_be_written_is_one_line(monkeypatch, capsys, number):
    def full(*_, **__):
        raise OSError(number, os.strerror(number), 'out')

    monkeypatch.setattr('mmpose_kd.demo.draw_dataset', full)
    leaves_with(1, 'make-data', 'out')
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('mmpose-kd: error: ') and os.strerror(number) in line


@pytest.mark.parametrize('name', ['gain', 'verify', 'generations'])
def test_a_change_with_a_bracket_missing_is_named(tmp_path, capsys, name):
    more = {'gain': ('--out', 'o'), 'generations': ('--work-dir', 'o'), 'verify': ()}[name]
    configs = ('a.py', 'b.py') if name == 'gain' else ('a.py',)
    leaves_with(1, name, *configs, *more, '--cfg-options', 'b=1', 'train_cfg.a=[1,2')
    [line] = capsys.readouterr().err.splitlines()
    assert '--cfg-options train_cfg.a=[1,2: ' in line and 'close its brackets' in line


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr('mmpose_kd.demo.draw_dataset', broken)
    with pytest.raises(ZeroDivisionError):
        main(['make-data', 'out'])


@pytest.mark.parametrize('file', sorted(Path(cli.__file__).parent.glob('*.py')))
def test_a_command_imports_the_rest_of_the_package_only_when_it_is_run(file):
    for node in ast.parse(file.read_text()).body:  # not what stands inside functions
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            assert node.module == 'version'
        if isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, 'level', 0) == 0:
            names = [getattr(node, 'module', None) or node.names[0].name]
            assert not {name.partition('.')[0] for name in names} & {'torch', 'mmengine', 'mmpose'}
