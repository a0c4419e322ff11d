"""How far the runs are, and how that is shown."""

import io

import pytest

from mmpose_kd.gain import progress
from mmpose_kd.gain.files import write_json
from mmpose_kd.gain.plan import Run
from mmpose_kd.gain.progress import Display, Standing


def test_the_time_left_is_that_of_the_open_epochs():
    done, half, new = Run('a', 100, 4, 0), Run('b', 100, 4, 0), Run('a', 200, 4, 0)
    states = {
        done: dict(samples=100, seconds=[1.0] * 4),
        half: dict(samples=100, seconds=[3.0]),
        new: None,
    }
    assert progress.seconds_left([half, new], states, jobs=1) == pytest.approx(3 * 3 + 4 * 2)
    assert progress.seconds_left([half, new], states, jobs=2) == pytest.approx(9)
    assert progress.seconds_left([new], {new: None}, jobs=1) is None
    assert [progress.duration(s) for s in (40, 720, 3900)] == ['40 s', '12 min', '1 h 05 min']


DONE, HALF, FAILED = Run('a', None, 4, 0), Run('b', None, 4, 0), Run('c', None, 4, 0)


def standing(out):
    """One run done, one half done, one failed."""
    for run, seconds in ((DONE, [1.0] * 4), (HALF, [1.0] * 2)):
        write_json(run.folder(out) / 'progress.json', {'samples': 9, 'seconds': seconds})
    write_json(DONE.folder(out) / 'result.json', {})
    return Standing.of([DONE, HALF, FAILED], [HALF], [FAILED], out, jobs=1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_standing_is_read_from_the_runs_folders(tmp_path):
    found = standing(tmp_path)
    assert found == Standing(total=3, done=1, failed=1, active={HALF: 2}, left=2.0)
    assert found.summary() == '1 of 3 runs done, 1 failed, 2 s left'
    assert found.line().endswith(' left; b_allp_4e_seed0: epoch 2 of 4')
    assert Standing(2, 2, 0, {}, 0.0).summary() == '2 of 2 runs done'
    assert Standing(2, 0, 0, {}, None).summary() == '0 of 2 runs done, time left not known yet'


def test_elsewhere_a_line_is_written_now_and_then(tmp_path, monkeypatch):
    stream = io.StringIO()
    found = standing(tmp_path)
    with Display(stream) as display:
        display.update(found)
        display.update(found)  # too soon
        display.message('[b] stays [/b] as it is :smile:' + 200 * '.')
        monkeypatch.setattr(progress, 'PAUSE', 0.0)
        display.update(found)
    first, message, last = stream.getvalue().splitlines()
    assert first[9:] == last[9:] == found.line()[9:]
    assert message == '[b] stays [/b] as it is :smile:' + 200 * '.'


def test_a_terminal_gets_a_bar_for_all_and_one_for_each_run_at_work(tmp_path, monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    stream = Terminal()
    with Display(stream) as display:
        display.update(standing(tmp_path))
        assert [(task.completed, task.total) for task in display.bars.tasks] == [(2, 3), (2, 4)]
        shown = [task.description for task in display.bars.tasks]
        assert shown == ['1 of 3 runs done, 1 failed, 2 s left', f'{HALF.name}: epoch 2 of 4']
        display.message('b finished')
        display.update(Standing(3, 2, 1, {}, 0.0))
        assert [task.description for task in display.bars.tasks] == ['2 of 3 runs done, 1 failed']
    text = stream.getvalue()
    assert 'b finished' in text and '\x1b[' in text
