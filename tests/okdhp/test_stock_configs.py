"""MMPose's own top-down heatmap configs: each builds with OKDHP, or is refused with its key.

``python -m tests.okdhp.test_stock_configs`` writes the table of docs/okdhp.md.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import mmpose
import pytest
import torch
from mmengine.config import Config
from mmpose.models.heads import CPMHead, HeatmapHead
from mmpose.registry import MODELS

from mmpose_kd.core.recipe import RECIPES, type_name
from mmpose_kd.okdhp.splits import unsplittable

from ..helpers.models import K  # noqa: F401  (sets MMPose's scope)

CONFIGS = Path(mmpose.__file__).parent / '.mim' / 'configs'
FACE = 'face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py'
HAND = (
    'hand_2d_keypoint/topdown_heatmap/onehand10k/'
    'td-hm_hrnetv2-w18_udp-8xb64-210e_onehand10k-256x256.py'
)
COCO = 'body_2d_keypoint/topdown_heatmap/coco/'
BY_HAND = 'by hand'


def stock_config(name: str) -> dict:
    """A whole config of MMPose in plain values."""
    return Config.fromfile(CONFIGS / name, import_custom_modules=False).to_dict()


def is_ours(cfg: dict) -> bool:
    """Whether a config is a top-down heatmap model whose backbone and head OKDHP knows."""
    model = cfg.get('model') or {}
    if type_name(model) != 'TopdownPoseEstimator' or '.' in model['backbone']['type']:
        return False  # with a scope: a backbone of another package
    kinds = [MODELS.get(model[part]['type']) for part in ('backbone', 'head')]
    maps = kinds[1] is not None and issubclass(kinds[1], (HeatmapHead, CPMHead))
    return kinds[0] is not None and unsplittable(kinds[0]) is None and maps


def kind_of(cfg: dict) -> tuple[str, str, str, str]:
    """Backbone, neck, head and codec in short; sizes of pictures and maps are not told apart."""
    model = cfg['model']
    backbone, codec = dict(model['backbone']), model['head']['decoder']
    width = [backbone.get('depth')]
    if 'extra' in backbone and 'stage4' in backbone['extra']:
        width = [f'w{backbone["extra"]["stage4"]["num_channels"][0]}']
    elif 'extra' in backbone:
        width = [backbone['extra']['stages_spec']['num_modules']]
    name = ' '.join([backbone['type'], *(str(w) for w in width if w)])
    details = [codec.get('heatmap_type'), 'unbiased' if codec.get('unbiased') else None]
    target = ' '.join([codec['type'], *(d for d in details if d)])
    return name, type_name(model.get('neck')), model['head']['type'], target


@functools.lru_cache(maxsize=1)
def stock_kinds() -> dict[tuple, list[str]]:
    """Names of the configs of each kind."""
    kinds: dict[tuple, list[str]] = {}
    for file in sorted(CONFIGS.rglob('*.py')):
        name = str(file.relative_to(CONFIGS))
        if 'topdown_heatmap' in name and '_base_' not in name and is_ours(stock_config(name)):
            kinds.setdefault(kind_of(stock_config(name)), []).append(name)
    return kinds


def by_hand(cfg: dict) -> dict:
    """The model that the lines by hand make: a neck stays where it is."""
    model = copy.deepcopy(cfg['model'])
    cut = dict(backbone=model['backbone'], split='stage3')
    head = dict(type='OKDHPHead', head=model['head'], **cut)
    trunk = dict(type='SharedTrunk', **cut)
    return dict(model, backbone=trunk, head=head, test_cfg=dict(branch='all'))


def answer(cfg: dict, how: str) -> str:
    """``'builds'``, or why not."""
    if how == BY_HAND:
        try:
            with torch.device('meta'):
                model = MODELS.build(by_hand(cfg))
            model.head.check_model(model)
        except (TypeError, ValueError) as error:
            return str(error)
        return 'builds'
    return RECIPES[how].misfit(cfg) or 'builds'


def names_a_key(said: str) -> bool:
    return said == 'builds' or any(key in said for key in ('head.', 'backbone.', 'split='))


@pytest.mark.parametrize('name', [FACE, pytest.param(HAND, marks=pytest.mark.slow)])
def test_a_stock_neck_is_moved_by_the_recipe_and_refused_with_its_key_by_hand(name):
    cfg = stock_config(name)
    assert answer(cfg, 'okdhp') == 'builds'
    said = answer(cfg, BY_HAND)
    assert 'give this neck in head.neck and set model.neck=None' in said
    assert 'head.head.in_channels=270' in said


@pytest.mark.parametrize(
    ('name', 'how', 'message'),
    [
        ('td-hm_mobilenetv2_8xb64-210e_coco-256x192.py', BY_HAND, 'builds'),
        pytest.param(
            'td-hm_litehrnet-18_8xb64-210e_coco-256x192.py', 'okdhp', 'builds',
            marks=pytest.mark.slow,
        ),
        ('td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192.py', 'okdhp', 'heatmap_type='),
        ('td-hm_hourglass52_8xb32-210e_coco-256x256.py', BY_HAND, "split='stage3'"),
    ],
)  # fmt: skip
def test_a_stock_config_builds_or_is_refused_with_its_key(name, how, message):
    assert message in answer(stock_config(COCO + name), how)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['okdhp', BY_HAND])
def test_every_kind_of_stock_config_builds_or_is_refused_with_its_key(how):
    assert len(stock_kinds()) > 30
    said = {kind: answer(stock_config(names[0]), how) for kind, names in stock_kinds().items()}
    assert not {kind: answer for kind, answer in said.items() if not names_a_key(answer)}


if __name__ == '__main__':
    for kind, names in stock_kinds().items():
        answers = (answer(stock_config(names[0]), how) for how in ('okdhp', BY_HAND))
        print('|', ' | '.join([*kind, str(len(names)), *answers]), '|', flush=True)
