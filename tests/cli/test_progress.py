"""The bar of a command's steps: in a terminal, after a while, gone at the end."""

import io
import time

import pytest
from rich.console import Console

from mmpose_kd.cli import progress
from mmpose_kd.cli.progress import steps_shown
from mmpose_kd.core.steps import heard_by, step


@pytest.fixture(autouse=True)
def a_terminal(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')


def shown(monkeypatch, delay, terminal=True):
    monkeypatch.setattr(progress, 'DELAY', delay)
    out = io.StringIO()
    with steps_shown(2, Console(file=out, force_terminal=terminal, width=80)):
        step('reading')
        time.sleep(0.3)
        step('writing')
    return out.getvalue()


def test_a_long_command_shows_its_step_and_nothing_stays(monkeypatch):
    text = shown(monkeypatch, 0.0)
    assert 'reading' in text
    assert text.rstrip().endswith('\x1b[2K')  # the line is erased


@pytest.mark.parametrize(('delay', 'terminal'), [(60.0, True), (0.0, False)])
def test_a_short_command_and_a_file_get_no_bar(monkeypatch, delay, terminal):
    begun = time.monotonic()
    assert shown(monkeypatch, delay, terminal) == ''
    assert time.monotonic() - begun < 5


def test_a_terminal_that_cannot_erase_gets_no_bar(monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    assert shown(monkeypatch, 0.0) == ''


def test_the_bar_goes_when_the_command_is_interrupted(monkeypatch):
    monkeypatch.setattr(progress, 'DELAY', 0.0)
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with steps_shown(2, Console(file=out, force_terminal=True, width=80)):
            time.sleep(0.2)
            raise KeyboardInterrupt
    assert out.getvalue().rstrip().endswith('\x1b[2K')


def test_a_step_that_nobody_hears_is_nothing(capfd):
    heard = []
    with heard_by(heard.append):
        step('reading')
    step('writing')
    assert heard == ['reading'] and capfd.readouterr() == ('', '')
