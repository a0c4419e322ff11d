"""MMPose's own configs are wrapped, or refused with a reason (docs/own_config.md)."""

import csv

import pytest
from mmengine.registry import init_default_scope

from benchmarks.wrap_stock_configs import FIELDS, answer, report, stock_names
from mmpose_kd.core.recipe import RECIPES

from ..helpers import ROOT

CSV = ROOT / 'docs/results/wrap_stock_configs.csv'
NAMES = stock_names()
FEW = [
    'body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192',
    'wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192',
    'hand_2d_keypoint/topdown_regression/onehand10k/td-reg_res50_8xb64-210e_onehand10k-256x256',
    'body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640',
]
FITTING = ['dskd okdhp pkd', 'dskd ocd tcd', 'dskd ocd tcd', '']


@pytest.mark.parametrize(('name', 'fitting'), zip(FEW, FITTING), ids=lambda x: x[-40:])
def test_each_method_fits_and_is_written_or_says_why_not(name, fitting, tmp_path):
    fitting = set(fitting.split())
    init_default_scope('mmpose')
    rows = [answer(f'mmpose::{name}.py', r, tmp_path, False) for r in RECIPES.values()]
    found = {row['method']: row for row in rows}
    assert {m for m, row in found.items() if row['answer'] == 'fits'} == fitting
    for method, row in found.items():
        assert row['answer'] in ('fits', 'refuses')
        assert (row['reason'] != '') == (method not in fitting)
        assert row['reason'] == '' or 'model.' in row['reason'] or 'train_' in row['reason']


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES[::12])
def test_what_is_written_of_a_stock_config_trains_a_step(name, tmp_path):
    init_default_scope('mmpose')
    for recipe in RECIPES.values():
        row = answer(name, recipe, tmp_path, True)
        assert row['answer'] != 'fails', row['reason']
        assert row['answer'] != 'fits' or row['step']


def test_the_published_tables_are_those_of_the_published_rows():
    with CSV.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS
    assert {row['config'] for row in rows} <= set(NAMES)
    assert {row['method'] for row in rows} <= set(RECIPES)
    assert report(rows) in (ROOT / 'docs/own_config.md').read_text()
