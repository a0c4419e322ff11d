"""What DSKD says of a config, and the config that it makes of one."""

import copy
import random

import pytest
import torch
from mmengine import hub
from mmengine.config import Config
from mmpose.models.heads import HeatmapHead

from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.dskd.recipe import distilled, misfit

from ..helpers.dskd_runs import dskd_config, train, value, with_17, without_dskd
from ..helpers.models import RESNET, build, okdhp_config, randomize

COCO = 'body_2d_keypoint/{}/coco'
TOPDOWN = COCO.format('topdown_heatmap')


def stock(name):
    return hub.get_config(f'mmpose::{name}.py').to_dict()


@pytest.fixture(scope='module')
def heatmap_config():
    return stock(f'{TOPDOWN}/td-hm_hrnet-w32_8xb64-210e_coco-256x192')


#: a finished training
TEACHER = dict(config='plain.py', checkpoint='epoch_210.pth')


def test_it_is_registered_and_its_teacher_is_a_finished_training():
    recipe = RECIPES['dskd']
    assert (recipe.misfit, recipe.distilled) == (misfit, distilled)
    assert recipe.needs_teacher
    with pytest.raises(ValueError, match='teacher='):
        distilled({}, 'epoch_210.pth')


@pytest.mark.parametrize(
    'name',
    [
        f'{TOPDOWN}/td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192',
        f'{TOPDOWN}/cspnext-m_udp_8xb256-210e_coco-256x192',
        f'{TOPDOWN}/td-hm_vipnas-mbv3_8xb64-210e_coco-256x192',
        f'{TOPDOWN}/td-hm_hourglass52_8xb32-210e_coco-256x256',
        f'{COCO.format("simcc")}/simcc_res50_8xb64-210e_coco-256x192',
        f'{COCO.format("rtmpose")}/rtmpose-s_8xb256-420e_coco-256x192',
        f'{COCO.format("topdown_regression")}/td-reg_res50_rle-8xb64-210e_coco-256x192',
        f'{COCO.format("integral_regression")}/ipr_res50_dsnt-8xb64-210e_coco-256x256',
    ],
)
def test_a_stock_config_whose_heads_output_is_known_fits(name):
    assert misfit(stock(name)) is None


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        (
            f'{COCO.format("dekr")}/dekr_hrnet-w32_8xb10-140e_coco-512x512',
            r'model\.head\.type=DEKRHead',
        ),
        (
            f'{COCO.format("associative_embedding")}/ae_hrnet-w32_8xb24-300e_coco-512x512',
            r'model\.head\.type=AssociativeEmbeddingHead',
        ),
        (f'{COCO.format("rtmo")}/rtmo-s_8xb32-600e_coco-640x640', r'model\.head\.type=RTMOHead'),
        (
            f'{TOPDOWN}/td-hm_2xrsn50_8xb32-210e_coco-256x192',
            r'model\.head\.type=MSPNHead',
        ),
        (
            f'{TOPDOWN}/td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192',
            r"model\.head\.decoder\.heatmap_type='combined'",
        ),
    ],
)
def test_a_stock_config_that_does_not_fit_says_why(name, reason):
    found = misfit(stock(name))
    assert found and '\n' not in found
    with pytest.raises(ValueError, match=reason):
        raise ValueError(found)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(model=None), 'model.head: there is none'),
        (dict(model=dict(type='TopdownPoseEstimator', backbone=dict())), 'model.head: there is'),
        (dict(model='hrnet'), 'model cannot be used'),
        (dict(model__head__type='NoSuchHead'), 'NoSuchHead'),
        (dict(model__head__decoder__type='NoSuchCodec'), 'NoSuchCodec'),
        (dict(custom_hooks=[dict(type='mmpose.DSKDHook')]), 'custom_hooks: DSKDHook stands'),
        (dict(custom_hooks=3), 'custom_hooks cannot be used'),
    ],
)
def test_what_is_wrong_in_a_config_is_said_and_never_raised(heatmap_config, change, reason):
    cfg = copy.deepcopy(heatmap_config)
    for path, found in change.items():
        *outer, name = path.split('__')
        place = cfg
        for one in outer:
            place = place[one]
        place[name] = found
    assert reason in misfit(cfg)


def test_types_may_be_classes_or_have_a_scope(heatmap_config):
    cfg = copy.deepcopy(heatmap_config)
    cfg['model']['type'] = 'mmpose.TopdownPoseEstimator'
    cfg['model']['head']['type'] = HeatmapHead
    assert misfit(cfg) is None


def test_of_other_methods_the_deployed_head_counts(heatmap_config):
    """With what is only there for the training it would not be known."""
    cfg = {**heatmap_config, 'model': okdhp_config(RESNET, 'stage2')}
    assert misfit(cfg) is None
    codec = dict(type='UDPHeatmap', input_size=(32, 64), heatmap_size=(8, 16))
    cfg['model']['head']['head']['decoder'] = dict(codec, heatmap_type='combined')
    assert "heatmap_type='combined'" in misfit(cfg)


def test_asking_changes_neither_the_config_nor_random_numbers(heatmap_config):
    before, states = copy.deepcopy(heatmap_config), (torch.get_rng_state(), random.getstate())
    misfit(heatmap_config)
    distilled(heatmap_config, TEACHER)
    assert heatmap_config == before
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]


def test_the_distilled_config_is_the_given_one_with_the_hook(heatmap_config):
    cfg = {
        **heatmap_config,
        'custom_hooks': [*heatmap_config['custom_hooks'], dict(type='EMAHook')],
    }
    made = distilled(cfg, TEACHER)
    assert [hook['type'] for hook in made['custom_hooks']] == [
        'SyncBuffersHook', 'EMAHook', 'DSKDHook',
    ]  # fmt: skip
    assert made['custom_hooks'][-1]['guides'] == [TEACHER]
    assert 'mmpose_kd' in made['custom_imports']['imports']
    assert {key for key in made if made[key] != cfg.get(key)} == {'custom_imports', 'custom_hooks'}
    assert misfit(made) == 'custom_hooks: DSKDHook stands in them already'


def test_the_distilled_config_trains_as_it_stands(data, tmp_path):
    plain = without_dskd(dskd_config(data, tmp_path / 'run', model=with_17(), epochs=3))
    assert misfit(plain) is None
    Config(plain).dump(tmp_path / 'plain.py')
    state = randomize(build(with_17())).state_dict()
    torch.save({'state_dict': state}, tmp_path / 'plain.pth')
    teacher = dict(config=str(tmp_path / 'plain.py'), checkpoint=str(tmp_path / 'plain.pth'))
    _, losses = train(Config(distilled(plain, teacher)).to_dict())
    for name in ('loss_dskd_kd', 'loss_dskd_cls'):
        assert min(value(step[name]) for step in losses.values()) > 0
    assert 'loss_kpt' in losses[0]
