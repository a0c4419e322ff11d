"""Pages that are followed as a reader would: their blocks, run one after the other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .helpers import ROOT
from .helpers.pages import blocks_of, commands
from .helpers.runs import draw

pytestmark = pytest.mark.skipif(
    not (ROOT / 'docs').is_dir(), reason='the docs of mmpose-kd are not here'
)


def run(*command, cwd):
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    python = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    env = dict(os.environ, PYTHONPATH=python, PATH=path)
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def followed(page, folder, changes=()):
    """Do what a page says in a folder: write its files, type its commands.

    Commands of pip are left out, and blocks that say why they are not run.

    Args:
        page: Its name in ``docs``.
        folder: Where.
        changes: Pairs of texts, the second in place of the first, which must be there.

    Returns:
        What each of its shell blocks printed, and the Python blocks that are no files.
    """
    blocks = [block for block in blocks_of(ROOT / 'docs' / page) if block.reason is None]
    texts = [block.text for block in blocks]
    for old, new in changes:
        assert any(old in text for text in texts), old
        texts = [text.replace(old, new) for text in texts]
    printed, shown = [], []
    for block, text in zip(blocks, texts):
        if block.file:
            (folder / block.file).write_text(text)
        elif block.kind == 'python':
            shown.append(text)
        elif any(name != 'pip' for name, *_ in commands(text)):
            printed.append(run('bash', '-e', '-c', text, cwd=folder))
    return printed, shown


@pytest.mark.slow
def test_own_config_can_be_followed_from_the_first_line_to_the_last(tmp_path):
    # not the first, the commands in short, and not the last, those of the shipped configs
    for block in blocks_of(ROOT / 'docs/own_config.md')[1:-1]:
        text = block.text
        if block.reason is not None:
            continue
        if block.file:
            (tmp_path / block.file).write_text(text)
        elif block.kind == 'bash':
            run('bash', '-e', '-c', text, cwd=tmp_path)
        elif 'import mmpose_kd' in text:
            (tmp_path / 'api.py').write_text(text)
            said = run('python', 'api.py', cwd=tmp_path)
            assert 'a training step on 2 pictures of the training data' in said
        elif block.kind == 'python':
            assert text == (tmp_path / 'my_ocd.py').read_text()
    assert (tmp_path / 'student/student.pth').is_file()
    assert (tmp_path / 'my_tcd.py').is_file()  # not trained: one epoch makes no teacher


#: of the tutorial's data
NAMES = [
    'snout', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'shoulder.L', 'shoulder.R',
    'elbow.L', 'elbow.R', 'hoof.L', 'hoof.R', 'hip.L', 'hip.R', 'knee.L', 'knee.R', 'back_hoof.L',
    'back_hoof.R', 'tail',
]  # fmt: skip


def own_data(folder):
    """Drawn people under other names, with an 18th keypoint, as the tutorial wants its data."""
    drawn = draw(folder / 'drawn')
    mine = folder / 'data/mine'
    mine.mkdir(parents=True)
    for split in ('train', 'val'):
        content = json.loads(
            (drawn / f'annotations/person_keypoints_{split}2017.json').read_text()
        )
        content['categories'][0].update(keypoints=NAMES, skeleton=[])
        for one in content['annotations']:
            one['keypoints'] += one['keypoints'][-3:]
        for image in content['images']:
            picture = Path(f'{split}2017', image['file_name'])
            image['file_name'] = str(picture)
        (mine / f'{split}.json').write_text(json.dumps(content))
    (mine / 'images').symlink_to(drawn)


#: a short training from scratch, as no weights can be fetched
SHORT = (
    ('model = dict(head=', 'model = dict(backbone=dict(depth=18, init_cfg=None), head='),
    ('num_joints=18)', 'num_joints=18, in_channels=512)'),
    ('batch_size=16', 'batch_size=4'),
    ('max_epochs=40', 'max_epochs=1'),
    ('epoch_40.pth', 'epoch_1.pth'),
    ('--train-persons 64 --epochs 2', '--train-persons 8 --epochs 1'),
)


@pytest.mark.slow
def test_the_tutorial_can_be_followed_from_the_first_line_to_the_last(tmp_path):
    own_data(tmp_path)
    printed, shown = followed('tutorial.md', tmp_path, SHORT)
    assert not shown
    metainfo, advised, wrapped = printed[:3]
    assert '18 keypoints' in metainfo and 'hoof.L and hoof.R' in metainfo
    assert re.search(r'^ocd ', advised, re.MULTILINE)
    assert 'a training step on 2 pictures of the training data' in wrapped
    report = (tmp_path / 'gain_small/results.md').read_text()
    assert 'my_config' in report and 'my_ocd' in report
    assert (tmp_path / 'student/student.pth').is_file()
    assert 'coco/AP' in printed[-1]
