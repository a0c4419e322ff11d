"""HHD's recipe: what it makes of a config and a teacher, and which it refuses and why."""

import copy
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hub import get_config
from mmpose.models.heads import DSNTHead
from mmpose.registry import MODELS, TRANSFORMS

from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.distiller.model_config import model_config
from mmpose_kd.hhd import RECIPE

from ..helpers.configs import HHD, HHD_PAPER, each, offline, packed, shrunk, unscoped
from ..helpers.models import HOURGLASS, RESNET, plain_config, total

IPR = 'mmpose::body_2d_keypoint/integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256.py'
COCO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_'
SIZE = (64, 64)
CODEC = dict(
    type='IntegralRegressionLabel', input_size=SIZE, heatmap_size=(16, 16), sigma=2.0
)  # fmt: skip


def student(codec=CODEC, **head):
    """A small model that regresses with soft-argmax, with one deconvolution."""
    settings = dict(
        type='IntegralRegressionHead',
        in_channels=64,
        in_featuremap_size=(2, 2),
        num_joints=5,
        deconv_out_channels=(8, 8, 8),
        deconv_kernel_sizes=(4, 4, 4),
        decoder=codec,
    )
    return dict(plain_config(RESNET), head={**settings, **head})


def teacher(size=SIZE, maps=(16, 16), codec='MSRAHeatmap', backbone=RESNET, **head):
    """A small heatmap model, untrained."""
    model = plain_config(backbone)
    model['head']['decoder'] = dict(type=codec, input_size=size, heatmap_size=maps, sigma=2)
    model['head'].update(head)
    return dict(config=model, checkpoint=None)


def whole(model=None, size=SIZE, **changes):
    """A whole config, as far as a recipe reads it."""
    crop = [dict(type='GetBBoxCenterScale'), dict(type='TopdownAffine', input_size=size)]
    target, pack = dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseInputs')
    loaders = dict(
        train_dataloader=dict(dataset=dict(pipeline=[*crop, target, pack])),
        val_dataloader=dict(dataset=dict(pipeline=[*crop, pack])),
    )
    return copy.deepcopy(dict(model=model or student(), **loaders, **changes))


def entry_of(cfg):
    return cfg['model']['distill'][0]


def test_the_recipe_is_registered_and_needs_a_teacher():
    assert RECIPES['hhd'] is RECIPE and RECIPE.needs_teacher


@each([path for path in HHD if '30' not in path.stem and path not in HHD_PAPER])
def test_the_config_is_the_shipped_one_but_for_how_the_teacher_s_maps_are_named(path):
    shipped = Config.fromfile(path)
    plain = Config(dict(shipped.to_dict(), model=shipped.model.student.to_dict()))
    before = copy.deepcopy(plain.to_dict())
    assert RECIPE.misfit(plain) is None
    found = RECIPE.distilled(plain, shipped.model.teachers[0].to_dict())
    assert plain.to_dict() == before
    expected = shipped.to_dict()
    assert entry_of(expected)['teacher'] == 'head.final_layer'
    entry_of(expected)['teacher'] = 'head'
    assert unscoped(found['model']) == unscoped(expected['model'])
    for key in ('train_dataloader', 'val_dataloader', 'custom_hooks'):
        assert unscoped(found[key]) == unscoped(expected[key])


def test_a_config_of_mmpose_trains_a_step_with_a_hourglass_as_its_teacher():
    plain = get_config(IPR)
    offline(plain.model)
    assert RECIPE.misfit(plain) is None
    model = model_config(f'{COCO}hourglass52_8xb32-210e_coco-256x256.py', 'teacher')
    cfg = dict(Config(dict(plain, model=plain.model, given=model)).to_dict())
    cfg = shrunk(Config(cfg)).to_dict()
    cfg = RECIPE.distilled(cfg, dict(config=cfg.pop('given'), checkpoint=None))
    assert entry_of(cfg)['teacher'] == 'head[-1]' and 'resize' not in entry_of(cfg)
    built = MODELS.build(cfg['model']).train()
    built.init_weights()
    width, height = cfg['codec']['input_size']
    losses = built.loss(torch.randn(2, 3, height, width), packed(Config(cfg)))
    total(losses).backward()
    assert float(losses['loss_hhd'].detach()) > 0 and torch.isfinite(total(losses))
    assert built.student.head.simplebaseline_head.final_layer.weight.grad.abs().max() > 0
    assert cfg['custom_hooks'][-1] == dict(type='TeacherMetricsHook')
    assert cfg['custom_hooks'][:-1] == plain.to_dict().get('custom_hooks', [])


@pytest.mark.parametrize('codec', ['MSRAHeatmap', 'UDPHeatmap'])
def test_a_teacher_of_another_size_sees_crops_of_its_own(codec):
    cfg = RECIPE.distilled(whole(), teacher((128, 128), (32, 32), codec))
    assert cfg['model']['teachers'][0]['view'] == 'teacher'
    assert entry_of(cfg)['resize'] == 'origin'
    for loader in ('train_dataloader', 'val_dataloader'):
        _, view, crop, *_, pack = cfg[loader]['dataset']['pipeline']
        assert view == dict(
            type='TeacherView',
            name='teacher',
            input_size=(128, 128),
            use_udp=codec == 'UDPHeatmap',
        )
        assert crop['type'] == 'TopdownAffine' and pack['type'] == 'PackPoseViews'
    results = dict(
        img=np.zeros((90, 120, 3), dtype=np.uint8),
        bbox=np.array([[20.0, 10.0, 80.0, 70.0]]),
        bbox_score=np.ones(1),
        keypoints=np.random.rand(1, 5, 2) * 60 + 10,
        keypoints_visible=np.ones((1, 5)),
        dataset_keypoint_weights=np.ones(5, dtype=np.float32),
    )
    steps = [TRANSFORMS.build(s) for s in cfg['train_dataloader']['dataset']['pipeline']]
    batch = [Compose(steps)(copy.deepcopy(results)) for _ in range(2)]
    model = MODELS.build(cfg['model']).train()
    model.init_weights()
    images = torch.stack([one['inputs'] for one in batch]).float()
    losses = model.loss(images, [one['data_samples'] for one in batch])
    total(losses).backward()
    assert float(losses['loss_hhd'].detach()) > 0


def test_a_teacher_of_the_same_size_sees_the_student_s_crops():
    cfg, plain = RECIPE.distilled(whole(), teacher()), whole()
    assert 'view' not in cfg['model']['teachers'][0] and 'resize' not in entry_of(cfg)
    for loader in ('train_dataloader', 'val_dataloader'):
        assert cfg[loader] == plain[loader]


def test_settings_of_the_teacher_and_hooks_of_the_user_stay():
    hooks = [dict(type='EMAHook'), dict(type='mmpose.TeacherMetricsHook')]
    given = teacher((128, 128), (32, 32), out_channels=6)
    given.update(keypoints=[5, 4, 3, 2, -1], view='own', dtype='bfloat16')
    cfg = RECIPE.distilled(whole(custom_hooks=hooks), given)
    assert unscoped(cfg['model']['teachers']) == [given]
    assert cfg['custom_hooks'] == hooks
    without = {k: v for k, v in whole().items() if k != 'val_dataloader'}
    assert RECIPE.distilled(without, teacher())['custom_hooks'] == []


@pytest.mark.parametrize(
    ('head', 'maps'),
    [
        (dict(), 'head.simplebaseline_head.final_layer'),
        (dict(type='UnbiasedIntegralHead'), 'head.simplebaseline_head.final_layer'),
        (dict(type='mmpose.IntegralRegressionHead'), 'head.simplebaseline_head.final_layer'),
        (dict(type=DSNTHead), 'head.simplebaseline_head.final_layer'),
        (dict(deconv_out_channels=None, in_featuremap_size=(16, 16)), 'head.final_layer'),
    ],
)
def test_the_student_s_maps_are_its_last_layer_s(head, maps):
    cfg = whole(student(**head))
    assert RECIPE.misfit(cfg) is None
    assert entry_of(RECIPE.distilled(cfg, teacher()))['student'] == maps


@pytest.mark.parametrize(
    ('model', 'reason'),
    [
        (None, "^model.type=''"),
        ('a name', "^model.type=''"),
        (dict(student(), type='BottomupPoseEstimator'), "^model.type='Bottomup.*Topdown"),
        (dict(student(), head=None), '^model.head=None: give a config'),
        (plain_config(), "^model.head.type='HeatmapHead': .*DSNTHead"),
        (student(type='NoHead'), "^model.head.type='NoHead': it cannot be built"),
        (student(num_joint=3), "^model.head.type='IntegralRegressionHead': .*num_joint"),
        (student(in_featuremap_size=(2, 0.5)), '^model.*'),
        (student(in_featuremap_size=(1, 1), deconv_out_channels=(8,) * 2,
                 deconv_kernel_sizes=(4, 4)),
         r'^model.head.in_featuremap_size=\(1, 1\): maps of \(4, 4\).*8 x 8'),
        (student(deconv_out_channels=None, in_featuremap_size=(16, 16), final_layer=None),
         '^model.head.final_layer=None: give'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)  # fmt: skip
def test_what_does_not_fit_says_why(model, reason):
    found = RECIPE.misfit(dict(model=copy.deepcopy(model)))
    assert re.search(reason, found) and '\n' not in found
    with pytest.raises(Exception):  # noqa: B017
        RECIPE.distilled(dict(model=copy.deepcopy(model)), teacher())


@pytest.mark.parametrize(
    'name',
    [
        f'{COCO}res50_8xb64-210e_coco-256x192.py',
        'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py',
    ],
)
def test_configs_of_mmpose_that_do_not_fit_say_why(name):
    assert RECIPE.misfit(get_config(name)).startswith('model.head.type=')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (None, 'teacher=None: give dict'),
        ('mmpose::x', "teacher='mmpose::x': give dict"),
        (dict(checkpoint=None), 'teacher=.*give dict'),
        (dict(config='mmpose::no/such', checkpoint=None), "teacher.config='mmpose::no/such': "),
        (dict(config=student(), checkpoint=None), "teacher.config: head.type='Integral.*HeatmapH"),
        (teacher(out_channels=6), 'teacher.config has 6 keypoints, the student has 5: .*teacher'),
        (teacher((96, 128)), 'teacher.config: its input is 96 x 128, .*64 x 64'),
        (dict(teacher(), dtype='float8'), "teachers.0..dtype='float8'"),
        (dict(teacher(), checkpoint=3), 'teachers.0..checkpoint=3'),
        (dict(teacher(), check=3), 'teachers.0.=.*check'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)  # fmt: skip
def test_a_teacher_that_does_not_fit_names_the_key(given, message):
    with pytest.raises(ValueError, match=message):
        RECIPE.distilled(whole(), copy.deepcopy(given))


@pytest.mark.parametrize('step', ['TopdownAffine', 'PackPoseInputs'])
@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
def test_a_pipeline_without_a_place_for_a_view_is_refused(step, loader):
    cfg = whole()
    steps = cfg[loader]['dataset']['pipeline']
    cfg[loader]['dataset']['pipeline'] = [s for s in steps if s['type'] != step]
    with pytest.raises(ValueError, match=rf'{loader}.dataset.pipeline: there is no {step}'):
        RECIPE.distilled(cfg, teacher((128, 128), (32, 32)))


def test_the_last_stage_of_a_stacked_teacher_teaches():
    given = teacher(backbone=HOURGLASS)
    assert entry_of(RECIPE.distilled(whole(), given))['teacher'] == 'head[-1]'
