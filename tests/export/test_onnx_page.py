"""The decoding that docs/onnx.md shows, run as it stands there, against MMPose."""

import re

import matplotlib.cbook
import numpy as np
import pytest

from mmpose_kd.export import export_student

from ..helpers import ROOT
from ..helpers.models import SIZE, okdhp_config
from ..helpers.ocd import HEADS, ocd_of
from .test_onnx_file import found_by_mmpose, run_of

PAGE = ROOT / 'docs' / 'onnx.md'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGE.is_file(), reason='the docs of mmpose-kd are not here'),
]
#: the page's box
BOX = (50, 20, 300, 500)
#: what of the page is about a head
ABOUT = {
    'heatmap': '**Heatmaps of `MSRAHeatmap`**',
    'simcc': '**SimCC, RTMPose**\n',
    'rtmcc': '**SimCC, RTMPose**\n',
    'regression': '**DeepPose, integral regression, DSNT** (MMPose',
    'integral': '**DeepPose, integral regression, DSNT** (MMPose',
    'dsnt': '**DeepPose, integral regression, DSNT** (MMPose',
    'rle': '**RLE**',
}


def code_after(words):
    """The block of code behind some words of the page."""
    text = PAGE.read_text()
    assert text.count(words) == 1
    return re.search(r'```python\n(.*?)```', text.partition(words)[2], re.DOTALL)[1]


@pytest.fixture(scope='module')
def picture():
    cv2 = pytest.importorskip('cv2')
    for package in ('onnx', 'onnxruntime'):
        pytest.importorskip(package)
    return cv2.imread(
        str(matplotlib.cbook.get_sample_data('grace_hopper.jpg', asfileobj=False))
    )  # fmt: skip


@pytest.mark.parametrize('kind', ['heatmap', *HEADS])
def test_the_pages_decoding_finds_what_mmpose_finds(tmp_path, monkeypatch, picture, kind):
    import cv2

    model = okdhp_config() if kind == 'heatmap' else ocd_of(kind)
    config, checkpoint, _ = run_of(tmp_path, model)
    export_student(config, checkpoint, tmp_path / 'student', onnx=True, onnx_outputs='raw')
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('person.png', picture)
    lines = {}
    exec(code_after("## Decoding the heads' own outputs").replace('.jpg', '.png'), lines)
    exec(code_after(ABOUT[kind]), lines)
    wanted, scale = found_by_mmpose(tmp_path / 'student', picture, [BOX])
    pixels = np.abs(lines['keypoints'] - wanted) / scale[:, None] * SIZE
    found = lines['scores'] > 0  # of maps without anything above 0 MMPose gives no place
    assert found.any() and pixels[found].max() < 0.05
    assert lines['scores'].shape == wanted.shape[:2]


def test_rtmlib_runs_the_pages_example(tmp_path, monkeypatch, picture):
    import cv2

    pytest.importorskip('rtmlib')
    config, checkpoint, _ = run_of(tmp_path, okdhp_config())
    export_student(config, checkpoint, tmp_path / 'student', onnx=True)
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('person.jpg', picture)
    code = code_after('## In rtmlib')
    # the test's model has another size, and other keypoints than a skeleton of rtmlib's
    code = code.replace('(192, 256)', str(SIZE)).partition('cv2.imwrite')[0]
    lines = {}
    exec(code, lines)
    assert lines['keypoints'].shape == (1, 5, 2) and lines['scores'].shape == (1, 5)
