"""The recipes of OCD and TCD: what they fit, and that what they make of a config trains."""

import copy
import functools

import pytest
import torch
from mmengine import hub
from mmengine.config import Config
from mmpose.models.heads import RegressionHead
from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS

from mmpose_kd.core.recipe import RECIPES, training_pipelines, type_name
from mmpose_kd.export.same_predictions import input_size_of

from ..helpers.configs import CONFIGS, on_meta, packed, shrunk, unscoped, upstream
from ..helpers.models import build, total
from ..helpers.ocd import HEADS, SMOOTH_L1, codec_of, plain_of
from ..helpers.tcd import small_teacher

OCD, TCD = RECIPES['ocd'], RECIPES['tcd']
BODY = 'body_2d_keypoint/'
FITTING = {
    'regression': 'topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192',
    'rle': 'topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192',
    'integral': 'integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256',
    'dsnt': 'integral_regression/coco/ipr_res50_dsnt-8xb64-210e_coco-256x256',
    'simcc': 'simcc/coco/simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192',
    'rtmcc': 'rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192',
}
each_fitting = pytest.mark.parametrize('kind', FITTING)
both = pytest.mark.parametrize('recipe', [OCD, TCD], ids=['ocd', 'tcd'])


@functools.cache
def _read(name):
    return hub.get_config(f'mmpose::{name}.py')


def read(name):
    """One of MMPose's own configs."""
    return copy.deepcopy(_read(name))


def stock(kind):
    """One with this kind of head, and a smaller backbone."""
    cfg = read(BODY + FITTING[kind])
    if kind == 'integral':  # of MMPose's own configs none has this head
        cfg.model.head.type, cfg.model.head.loss = 'IntegralRegressionHead', SMOOTH_L1
    if cfg.model.backbone.type == 'ResNet':
        cfg.model.backbone.depth, cfg.model.head.in_channels = 18, 512
    return cfg


def loss_of(made):
    """A step on the pipeline's labels, and the sum of the losses."""
    cfg = Config(made)
    model = build(cfg.model, init=False).train()
    for teacher in getattr(model, 'teachers', ()):
        teacher.ready = True  # with random weights
    samples = packed(cfg)
    width, height = samples[0].input_size
    losses = model.loss(torch.rand(len(samples), 3, height, width), samples)
    total(losses).backward()
    return model, losses


# ------------------------------------------------------------------------------ what fits


@both
@each_fitting
def test_mmposes_configs_of_all_light_heads_fit(recipe, kind):
    assert recipe.misfit(stock(kind)) is None


@both
def test_types_may_be_classes_or_have_a_scope(recipe):
    cfg = stock('regression').to_dict()
    cfg['model']['type'] = TopdownPoseEstimator
    cfg['model']['head']['type'] = RegressionHead
    cfg['model']['neck']['type'] = 'mmpose.GlobalAveragePooling'
    cfg['train_dataloader']['dataset']['pipeline'][-2]['type'] = 'mmpose.GenerateTarget'
    assert recipe.misfit(cfg) is None
    made = OCD.distilled(cfg)
    assert made['model']['neck'] is None and 'neck' in made['model']['head']['deploy']


@both
@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        (BODY + 'topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192', "head.type='HeatmapH"),
        (BODY + 'yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640', "model.type='BottomupPose"),
        (
            'wholebody_2d_keypoint/rtmpose/cocktail14/rtmw-m_8xb1024-270e_cocktail14-256x192',
            "model.head.type='RTMWHead'",
        ),
    ],
)
def test_other_configs_of_mmpose_do_not_fit_and_it_is_said_why(recipe, name, reason):
    found = recipe.misfit(read(name))
    assert reason in found and '\n' not in found


WRONG = {
    "model.type=''": lambda c: c.pop('model'),
    "model.type='': ": lambda c: c.update(model=[c['model']]),
    'model.head.decoder.input_size=192: give (width, height)': lambda c: c['model']['head'].update(
        decoder=dict(codec_of('regression'), input_size=192)
    ),
    "model.head.type=''": lambda c: c['model'].update(head=None),
    'model.head.decoder': lambda c: c['model']['head'].pop('decoder'),
    'model.backbone: ': lambda c: c['model'].pop('backbone'),
    'model.backbone: it cannot be run: ValueError: model.backbone.type': lambda c: c[
        'model'
    ].update(backbone=dict(type='Net')),
    'model.head: it cannot be run: RuntimeError: ': lambda c: c['model']['head'].update(
        in_channels=7
    ),
    "model.head.type='RegressionHead': it cannot be built (": lambda c: c['model']['head'].update(
        joints=7
    ),
    'model.head.decoder is a SimCCLabel': lambda c: c['model']['head'].update(
        decoder=HEADS['simcc']['head']['decoder']
    ),
    "model.neck.type='Neck'": lambda c: c['model'].update(neck=dict(type='Neck')),
    'train_dataloader.dataset.pipeline: there is no GenerateTarget': lambda c: c.pop(
        'train_dataloader'
    ),
    'GenerateTarget.encoder=': lambda c: c['train_dataloader']['dataset']['pipeline'][-2].update(
        encoder=[c['codec']]
    ),
}


@both
@pytest.mark.parametrize('reason', WRONG)
def test_whatever_is_wrong_is_a_reason_and_no_error(recipe, reason):
    cfg = dict(
        model=plain_of('regression'),
        codec=codec_of('regression'),
        train_dataloader=dict(
            dataset=dict(pipeline=[dict(type='GenerateTarget', encoder={}), dict(type='Pack')])
        ),
    )
    WRONG[reason](cfg)
    found = recipe.misfit(cfg)
    assert reason in found and '\n' not in found


@both
@pytest.mark.parametrize('cfg', [None, 3, {}, [], dict(model='a.py'), dict(model=dict(type=3))])
def test_what_is_no_config_does_not_fit(recipe, cfg):
    assert recipe.misfit(cfg)


def test_what_is_distilled_already_does_not_fit():
    cfg = stock('regression')
    assert "'OCDHead'" in OCD.misfit(OCD.distilled(cfg))
    assert "'PoseDistiller'" in TCD.misfit(TCD.distilled(cfg, small_teacher()))


def test_a_config_that_does_not_fit_is_not_made_into_one():
    cfg = read(BODY + 'topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192')
    with pytest.raises(ValueError, match=r'model\.head\.type'):
        OCD.distilled(cfg)
    with pytest.raises(ValueError, match=r'model\.head\.type'):
        TCD.distilled(cfg, small_teacher())


# -------------------------------------------------------------------------- what is made

SHIPPED_OCD = [
    'deeppose_res50_coco',
    'deeppose_res50_onehand10k',
    'rle_res50_coco',
    'simcc_mobilenetv2_coco',
    'rtmpose-s_coco',
    'rtmpose-m_ap10k',
]


@pytest.mark.parametrize('name', SHIPPED_OCD)
def test_of_the_stock_config_ocd_makes_the_one_that_is_shipped(name, tmp_path):
    path = CONFIGS / f'ocd_{name}.py'
    shipped, expected = on_meta(path)
    plain = upstream(path, tmp_path)
    before = copy.deepcopy(plain.to_dict())
    made = OCD.distilled(plain)
    assert plain.to_dict() == before
    expected_cfg = unscoped(shipped.to_dict())
    for key in expected_cfg.keys() - {'model'}:
        if not key.startswith('_'):
            assert unscoped(made[key]) == expected_cfg[key], key
    with torch.device('meta'):
        model = MODELS.build(made['model'])
    one, two = model.state_dict(), expected.state_dict()
    assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in two.items()}
    assert model.test_cfg == expected.test_cfg
    for setting in ('heatmap_weight', 'cross_weight', 'deploy_config'):
        assert getattr(model.head, setting) == getattr(expected.head, setting)
    assert type(model.head.cross) is type(expected.head.cross)
    assert getattr(model.head.cross, 'beta', 0) == getattr(expected.head.cross, 'beta', 0)
    ours, theirs = (vars(m.head.heatmap.decoder) for m in (model, expected))
    assert all(ours[k] == theirs[k] for k in ('input_size', 'heatmap_size', 'sigma', 'unbiased'))


def test_of_the_stock_config_tcd_makes_the_one_that_is_shipped(tmp_path):
    path = CONFIGS / 'tcd_deeppose_res50_coco.py'
    shipped = Config.fromfile(path).to_dict()
    made = TCD.distilled(upstream(path, tmp_path), shipped['model']['teachers'][0])
    for key in ('model', 'train_dataloader', 'custom_hooks', 'val_dataloader', 'optim_wrapper'):
        assert unscoped(made[key]) == unscoped(shipped[key])


@each_fitting
@pytest.mark.slow
def test_what_ocd_makes_of_mmposes_configs_trains(kind):
    made = OCD.distilled(shrunk(stock(kind)))
    model, losses = loss_of(made)
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert losses['loss_heatmap'] > 0
    assert all(p.grad is not None for p in model.head.parameters() if p.requires_grad)
    hooks = [type_name(hook) for hook in made['custom_hooks']]
    assert hooks[-1] == 'BranchMetricsHook' and made['model']['test_cfg']['branch'] == 'all'


@each_fitting
@pytest.mark.slow
def test_what_tcd_makes_of_mmposes_configs_trains(kind):
    plain = shrunk(stock(kind))
    made = TCD.distilled(plain, small_teacher(input_size_of(plain)))
    model, losses = loss_of(made)
    assert {'loss_task', 'loss_cross'} <= losses.keys()
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert all(p.grad is not None for p in model.distill[0].adapter.parameters())
    assert unscoped(made['model']['student']) == unscoped(plain.to_dict()['model'])


FEW_KINDS = [
    'regression',
    *(pytest.param(k, marks=pytest.mark.slow) for k in FITTING if k != 'regression'),
]


@pytest.mark.parametrize('kind', FEW_KINDS)
def test_on_top_of_ocd_a_teacher_teaches_the_deployed_head(kind):
    plain = shrunk(stock(kind))
    with_ocd = OCD.distilled(plain)
    assert TCD.misfit(with_ocd) is None
    made = TCD.distilled(with_ocd, small_teacher(input_size_of(plain)))
    assert made['model']['student'] == with_ocd['model']
    assert made['train_dataloader'] == with_ocd['train_dataloader']
    hooks = [type_name(hook) for hook in made['custom_hooks']]
    assert hooks[-2:] == ['BranchMetricsHook', 'TeacherMetricsHook']
    model, losses = loss_of(made)
    assert {'loss_heatmap', 'loss_cross', 'loss_teacher'} <= losses.keys()
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert losses['loss_teacher'] > 0
    found = model.deployed()
    student = {key: value for key, value in with_ocd['model'].items() if value is not None}
    assert found.config(made['model']) == student
    build(with_ocd['model'], init=False).load_state_dict(found.state_dict(model.state_dict()))


def test_on_top_of_an_ocd_head_without_a_deployed_one_it_is_said():
    cfg = OCD.distilled(stock('regression'))
    cfg['model']['head']['deploy'] = None
    assert 'model.head.deploy=None' in TCD.misfit(cfg)


def test_rle_gets_the_weights_that_it_needs():
    cfg = stock('rle')
    head = OCD.distilled(cfg)['model']['head']
    assert head['cross'] == dict(type='CrossCoordinateLoss', beta=0.01)
    assert head['cross_weight'] == 300
    entry = TCD.distilled(cfg, small_teacher())['model']['distill'][1]
    assert entry['loss'] == head['cross'] and entry['weight'] == 300


def test_heads_with_mmposes_older_settings_are_taken_as_mmpose_takes_them():
    cfg = stock('simcc')
    cfg.model.backbone = dict(type='ResNet', depth=18, out_indices=(2, 3))
    cfg.model.head.update(
        in_channels=(256, 512), input_transform='resize_concat', input_index=(0, 1),
        in_featuremap_size=(12, 16),
    )  # fmt: skip
    assert OCD.misfit(cfg) is None and TCD.misfit(cfg) is None
    with_ocd, losses = loss_of(OCD.distilled(cfg))
    assert torch.isfinite(total(losses))
    left = with_ocd.head.deployed().state_dict(with_ocd.state_dict())
    plain = build(cfg.model, init=False).state_dict()
    assert {k: v.shape for k, v in left.items()} == {k: v.shape for k, v in plain.items()}
    assert torch.isfinite(total(loss_of(TCD.distilled(cfg, small_teacher()))[1]))


def test_every_pipeline_of_a_training_gets_heatmaps():
    for made in (
        OCD.distilled(stock('rtmcc')),
        TCD.distilled(stock('rtmcc'), small_teacher()),
    ):
        pipelines = list(training_pipelines(made))
        assert len(pipelines) == 2  # the second is that of PipelineSwitchHook
        for pipeline in pipelines:
            encoder = pipeline[-2]['encoder']
            assert encoder['type'] == 'CrossRepresentationLabel'
            assert encoder['deploy']['type'] == 'SimCCLabel'


def test_the_weights_of_the_data_sets_keypoints_count_for_the_heatmaps_too():
    cfg = stock('regression')
    cfg.train_dataloader.dataset.pipeline[-2].use_dataset_keypoint_weights = True
    step = OCD.distilled(cfg)['train_dataloader']['dataset']['pipeline'][-2]
    assert step['use_dataset_keypoint_weights']
    assert step['encoder']['use_dataset_keypoint_weights']


def test_a_codec_beside_the_model_may_be_a_list():
    cfg = stock('regression')
    codecs = [cfg.to_dict()['codec'], dict(type='MSRAHeatmap')]
    cfg.codec = copy.deepcopy(codecs)
    assert OCD.misfit(cfg) is None
    assert OCD.distilled(cfg)['codec'] == codecs


def test_where_pictures_are_cropped_by_udp_heatmaps_are():
    cfg = stock('regression')
    crop = next(s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'TopdownAffine')
    crop.use_udp = True
    codec = OCD.distilled(cfg)['model']['head']['heatmap']['decoder']
    assert codec == dict(
        type='UDPHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0
    )


@pytest.mark.parametrize('key', ['val_evaluator', 'test_evaluator'])
def test_branches_are_reported_only_where_the_evaluator_can_be_extended(key):
    cfg = stock('regression')
    cfg[key] = dict(type='MultiDatasetEvaluator', metrics=[], datasets=[])
    made = OCD.distilled(cfg)
    assert 'branch' not in made['model']['test_cfg']
    assert made['custom_hooks'] == cfg.to_dict()['custom_hooks']


@pytest.mark.parametrize(
    ('size', 'stride', 'channels'), [((48, 64), 4, None), ((24, 32), 8, (128,)), ((6, 8), 32, 3)]
)
def test_the_heatmap_head_enlarges_what_the_backbone_left(size, stride, channels):
    cfg = stock('simcc')
    out = dict(zip((4, 8, 32), (0, 1, 3)))[stride]
    cfg.model.backbone = dict(type='ResNet', depth=18, out_indices=(out,))
    cfg.model.head.update(in_channels=(64, 128, None, 512)[out], in_featuremap_size=size)
    head = OCD.distilled(cfg)['model']['head']['heatmap']
    channels = (256,) * 3 if channels == 3 else channels
    assert head['deconv_out_channels'] == channels
    assert head['decoder']['heatmap_size'] == (48, 64)


@pytest.mark.parametrize(
    ('backbone', 'channels', 'width'),
    [
        (dict(type='ResNet', depth=50), 2048, 256),
        (dict(type='ResNet', depth=18, base_channels=32, stem_channels=32), 256, 128),
        (dict(type='MobileNetV2', out_indices=(7,)), 1280, 64),
        (dict(type='ViPNAS_MobileNetV3'), 160, 160),
        (dict(type='ResNet', depth=18, base_channels=4, stem_channels=4), 32, 32),
    ],
)
def test_the_heatmap_head_is_no_larger_than_the_backbone(backbone, channels, width):
    cfg = stock('regression')
    cfg.model.backbone = backbone
    cfg.model.head.in_channels = channels
    head = OCD.distilled(cfg)['model']['head']['heatmap']
    assert head['deconv_out_channels'] == (width,) * 3


# ------------------------------------------------------------------------- TCD's teachers


def test_a_teacher_of_another_input_size_gets_a_view_of_its_own():
    name = f'mmpose::{BODY}topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-384x288.py'
    larger = dict(config=name, checkpoint='hrnet.pth')
    made = TCD.distilled(stock('rtmcc'), larger)
    assert made['model']['teachers'] == [{**larger, 'view': 'teacher'}]
    validation = made['val_dataloader']['dataset']['pipeline']
    for pipeline in [*training_pipelines(made), validation]:
        types = [step['type'] for step in pipeline]
        at = types.index('TeacherView')
        assert types[at + 1] == 'TopdownAffine' and types[-1] == 'PackPoseViews'
        assert pipeline[at]['input_size'] == (288, 384)
    codec = made['train_dataloader']['dataset']['pipeline'][-2]['encoder']['heatmap']
    assert codec['input_size'] == (192, 256) and codec['heatmap_size'] == (72, 96)
    (task, _) = made['model']['distill']
    assert task['adapter']['scale_factor'] == 12 and 'resize' not in task


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        ('a.py', "teacher='a.py': give dict"),
        (dict(checkpoint='a.pth'), 'teacher=.*: give dict'),
        (dict(config='no.py'), r"teacher.config='no.py': no.py cannot be read"),
        (
            dict(config=f'mmpose::{BODY}rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py'),
            'teacher.config: the head is a RTMCCHead',
        ),
        (
            small_teacher((256, 256)),
            'teacher.config: its input is 256 x 256, that of the student 192 x 256',
        ),
        ({**small_teacher(), 'checkpoint': 3}, r'model.teachers\[0\].checkpoint=3'),
        (small_teacher(keypoints=[0]), r'model.teachers\[0\].keypoints'),
        (small_teacher(keypoints=[*range(16)]), r'model.teachers\[0\].keypoints names 16.* 17'),
    ],
)
@pytest.mark.parametrize('add', [dict, OCD.distilled], ids=['alone', 'on top of OCD'])
def test_a_teacher_that_does_not_fit_is_named(add, teacher, message):
    with pytest.raises(ValueError, match=message):
        TCD.distilled(add(stock('regression')), teacher)


def test_a_pipeline_without_a_crop_has_no_place_for_a_view():
    cfg = stock('regression')
    del cfg.val_dataloader.dataset.pipeline[2]
    with pytest.raises(
        ValueError, match=r'val_dataloader.dataset.pipeline: there is no TopdownAffine'
    ):
        TCD.distilled(cfg, small_teacher((96, 128)))
