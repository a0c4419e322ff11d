"""docs/own_config.md: its snippets, run one after the other, do what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..helpers import ROOT

PAGE = ROOT / 'docs/own_config.md'


def blocks():
    """Kind and text of each, but for what only shows the commands."""
    found = re.findall(r'^```(bash|python)\n(.*?)^```', PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return found[1:]


@pytest.mark.slow
def test_the_page_can_be_followed_from_the_first_line_to_the_last(tmp_path):
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    env = dict(os.environ, PYTHONPATH=str(ROOT), PATH=path)

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    shown = None
    for kind, text in blocks():
        name = re.match(r'# (\w+\.py)\n', text)
        if kind == 'bash':
            run('bash', '-e', '-c', text)
        elif name:
            (tmp_path / name[1]).write_text(text)
        elif 'import mmpose_kd' in text:
            (tmp_path / 'api.py').write_text(text)
            assert 'a training step on 2 pictures of the training data' in run('python', 'api.py')
        else:
            shown = text
            assert shown == (tmp_path / 'my_ocd.py').read_text()
    assert shown and (tmp_path / 'student/student.pth').is_file()
    assert (tmp_path / 'work_dirs/my_tcd/epoch_3.pth').is_file()
