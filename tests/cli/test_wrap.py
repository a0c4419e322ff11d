"""``mmpose-kd methods``, ``advise`` and ``wrap``: what they write, and how they leave."""

import os
import re
import signal
import subprocess
import time

import pytest

from mmpose_kd.core.recipe import RECIPES

from ..helpers import ROOT
from .test_cli import command, leaves_with

STOCK = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'


def test_methods_has_a_line_for_each(capsys):
    leaves_with(0, 'methods')
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    for recipe, line in zip(RECIPES.values(), lines):
        assert recipe.title in line and f'docs/{recipe.page}' in line
        needs = recipe.teacher if recipe.needs_teacher else '-'
        assert re.match(rf'{recipe.name} +{re.escape(needs)}  ', line)


def test_advise_says_what_fits_what_it_costs_and_why_the_others_do_not(capsys):
    leaves_with(0, 'advise', STOCK)
    fits, others, go_on = capsys.readouterr().out.split('\n\n')
    assert {line.split()[0] for line in fits.splitlines()[1:]} == {'ocd', 'tcd', 'dskd'}
    assert RECIPES['ocd'].figures.gain in fits and 'docs/ocd.md' in fits
    assert "okdhp         model.head.type='RegressionHead'" in others
    assert go_on.startswith(f'go on: mmpose-kd wrap {STOCK} --method ')


def test_advise_says_what_to_know_before_a_method_is_used(tmp_path, capsys):
    heatmaps = STOCK.replace('topdown_regression', 'topdown_heatmap').replace('-reg_', '-hm_')
    (tmp_path / 'own.py').write_text(
        f'_base_ = [{heatmaps!r}]\n'
        'model = dict(head=dict(decoder=dict(input_size=(176, 240))))  # no multiples of 32\n'
    )
    leaves_with(0, 'advise', tmp_path / 'own.py')
    assert '\n\nokdhp: no light sibling was found, so ' in capsys.readouterr().out
    leaves_with(0, 'advise', heatmaps)
    assert 'okdhp: ' not in capsys.readouterr().out


def test_in_a_terminal_the_table_is_drawn(monkeypatch, capsys):
    monkeypatch.setattr('sys.stdout.isatty', lambda: True, raising=False)
    monkeypatch.setenv('COLUMNS', '80')
    leaves_with(0, 'methods')
    lines = capsys.readouterr().out.splitlines()
    shown = [re.sub(r'\x1b\[[0-9;]*m', '', line) for line in lines]
    assert shown[0][0] == '┏' and {*map(len, shown)} == {80}


def test_wrap_writes_a_config_and_says_what_it_did(tmp_path, capsys):
    out = tmp_path / 'out.py'
    leaves_with(0, 'wrap', STOCK, '--method', 'ocd', '-o', out, '--no-trial')
    first, second = capsys.readouterr().out.splitlines()
    assert first == str(out) and 'lines; read back' in second
    written = out.read_text()
    out.write_text('mine')
    leaves_with(1, 'wrap', STOCK, '--method', 'ocd', '-o', out, '--no-trial')
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith('is there already: give another file, or --force')
    assert out.read_text() == 'mine'
    leaves_with(0, 'wrap', STOCK, '--method', 'ocd', '--force', '-o', out, '--no-trial')
    assert out.read_text() == written


@pytest.mark.parametrize(
    ('code', 'args', 'message'),
    [
        (2, ('advise',), "Missing argument 'CONFIG'"),
        (2, ('wrap', 'a.py', '-o', 'b.py'), "Missing option '--method'"),
        (2, ('wrap', 'a.py', '--method', 'ocd'), "Missing option '-o'"),
        (2, ('wrap', 'a.py', '--method', 'kd', '-o', 'b.py'), "'kd' is no method, give one of"),
        (2, ('wrap', 'a.py', '--method', 'tcd', '-o', 'b.py', '--teacher', 'c'), "'--teacher'"),
        (1, ('advise', 'none.py'), 'none.py cannot be read as a config'),
        (1, ('wrap', 'none.py', '--method', 'ocd', '-o', 'b.py'), 'none.py cannot be read'),
        (1, ('wrap', 'none.py', '--method', 'tcd', '-o', 'b.py'), 'give --teacher CONFIG CHECK'),
        (1, ('wrap', STOCK, '--method', 'okdhp', '-o', 'b.py'), '; what fits: '),
    ],
)
def test_a_mistake_is_named_in_one_line(code, args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leaves_with(code, *args)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interruption_is_one_line_and_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        command('wrap', STOCK, '--method', 'ocd', '-o', tmp_path / 'out.py'),
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob('.unfinished-*')):  # it is written, and tried
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert error.splitlines()[-1] == 'mmpose-kd: interrupted'
    assert 'Traceback' not in error
    assert list(tmp_path.iterdir()) == []
