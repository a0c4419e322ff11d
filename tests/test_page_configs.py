"""The page of each method has a complete config for each head that it serves.

They are what ``mmpose-kd wrap`` writes. ``python -m tests.test_page_configs`` writes them into the
pages anew.
"""

import os
import re
import tempfile
from pathlib import Path

import pytest

from mmpose_kd.wrap import wrap_config

from .helpers import ROOT

BODY = 'mmpose::body_2d_keypoint/'
WEIGHTS = 'https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/'
HEATMAP = BODY + 'topdown_heatmap/coco/'


def of(name, digest):
    """A training that MMPose published."""
    return dict(config=f'{HEATMAP}{name}.py', checkpoint=f'{WEIGHTS}{name}-{digest}.pth')


HRNET_W48 = of('td-hm_hrnet-w48_8xb32-210e_coco-256x192', '0e67c616_20220913')
RES152 = of('td-hm_res152_8xb32-210e_coco-256x192', '0345f330_20220928')
MOBILENETV2 = of('td-hm_mobilenetv2_8xb64-210e_coco-256x192', '55a04c35_20221016')

#: plain students that MMPose has no config for (with IntegralRegressionHead it has none at all)
PLAIN = {
    'integral.py': f"""\
_base_ = ['{MOBILENETV2['config']}']
_codec = dict(
    type='IntegralRegressionLabel', input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0,
    normalize=True)
codec = dict(_delete_=True, **_codec)
model = dict(
    head=dict(
        _delete_=True,
        type='IntegralRegressionHead',
        in_channels=1280,
        in_featuremap_size=(6, 8),
        num_joints=17,
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=_codec),
    test_cfg=dict(_delete_=True, flip_test=True, shift_coords=True, shift_heatmap=True))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')]))
""",
    'dsnt.py': """\
_base_ = ['integral.py']
model = dict(
    head=dict(
        type='DSNTHead',
        loss=dict(
            _delete_=True,
            type='MultipleLossWrapper',
            losses=[
                dict(type='SmoothL1Loss', use_target_weight=True),
                dict(type='JSDiscretLoss', use_target_weight=True)])))
""",
}

REGRESSION = BODY + 'topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'
RLE = BODY + 'topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py'
SIMCC = BODY + 'simcc/coco/simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192.py'
RTMPOSE = BODY + 'rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py'
COORDINATES_AND_BINS = {
    'RegressionHead': REGRESSION,
    'RLEHead': RLE,
    'IntegralRegressionHead': 'integral.py',
    'DSNTHead': 'dsnt.py',
    'SimCCHead': SIMCC,
    'RTMCCHead': RTMPOSE,
}
#: page, teacher, and for each head a config of a plain student
METHODS = {
    'ocd': (None, COORDINATES_AND_BINS),
    'tcd': (HRNET_W48, COORDINATES_AND_BINS),
    'hhd': (HRNET_W48, {'IntegralRegressionHead': 'integral.py', 'DSNTHead': 'dsnt.py'}),
    'okdhp': (
        None,
        {
            'HeatmapHead': f'{HEATMAP}td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
            'CPMHead': f'{HEATMAP}td-hm_hourglass52_8xb32-210e_coco-256x256.py',
        },
    ),
    'dskd': (MOBILENETV2, {'HeatmapHead': MOBILENETV2['config']}),
    'pkd': (RES152, {'HeatmapHead': MOBILENETV2['config']}),
}
START = '<!-- written by python -m tests.test_page_configs -->\n'
END = '<!-- end -->\n'


def section(method, folder):
    """The configs of a method's page."""
    teacher, students = METHODS[method]
    given = f' --teacher {teacher["config"]} {teacher["checkpoint"]}' if teacher else ''
    needed = [name for name in PLAIN if name in students.values()]
    parts = [START]
    if needed:
        parts.append('Plain students that MMPose has no config for, here on MobileNetV2:\n')
    for name in needed:
        (folder / name).write_text(f'# {name}\n{PLAIN[name]}')
        parts.append(f'```python\n# {name}\n{PLAIN[name]}```\n')
    before = os.getcwd()
    os.chdir(folder)
    try:
        for head, config in students.items():
            out = f'{method}_{head.lower()}.py'
            wrap_config(config, method, out, teacher, force=True, trial=False)
            text = re.sub(r'\A(#.*\n)+', '', Path(out).read_text())
            parts.append(
                f'<details><summary><code>{head}</code></summary>\n\n'
                f'```bash\nmmpose-kd wrap {config} --method {method}{given} -o {out}\n```\n\n'
                f'```python\n{text}```\n\n</details>\n'
            )
    finally:
        os.chdir(before)
    return '\n'.join([*parts, END])


def page_of(method):
    return ROOT / f'docs/{method}.md'


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / 'docs').is_dir(), reason='the docs of mmpose-kd are not here')
@pytest.mark.parametrize('method', METHODS)
def test_the_page_shows_what_wrap_writes_for_each_head(method, tmp_path):
    shown = page_of(method).read_text()
    assert shown.count(START) == shown.count(END) == 1
    assert shown[shown.index(START) : shown.index(END) + len(END)] == section(method, tmp_path)


if __name__ == '__main__':
    for name in METHODS:
        page = page_of(name)
        text = page.read_text()
        with tempfile.TemporaryDirectory() as place:
            written = section(name, Path(place))
        page.write_text(text[: text.index(START)] + written + text[text.index(END) + len(END) :])
