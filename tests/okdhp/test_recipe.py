"""OKDHP's recipe: what it makes of a config of one's own, and which it refuses and why."""

import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmpose.models.backbones import ResNet
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS

from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.okdhp import RECIPE
from mmpose_kd.okdhp.recipe import default_split

from ..helpers.configs import CONFIGS, offline, packed, shrunk, unscoped
from ..helpers.models import (
    BACKBONES,
    HOURGLASS,
    RESNET,
    STACKED,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
    total,
)

COCO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_'
HRNET = f'{COCO}hrnet-w32_8xb64-210e_coco-256x192.py'
MOBILENET = f'{COCO}mobilenetv2_8xb64-210e_coco-256x192.py'
WFLW = 'mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py'
HAND = (
    'mmpose::hand_2d_keypoint/topdown_heatmap/onehand10k/'
    'td-hm_mobilenetv2_8xb64-210e_onehand10k-256x256.py'
)


def test_the_recipe_is_registered_and_needs_no_teacher():
    assert RECIPES['okdhp'] is RECIPE and not RECIPE.needs_teacher


@pytest.mark.parametrize(
    ('plain', 'shipped'),
    [
        (HRNET, 'okdhp_hrnet_coco'),
        (WFLW, 'okdhp_hrnetv2_wflw'),
        (HAND, 'okdhp_mobilenetv2_onehand10k'),
    ],
    ids=['HRNet', 'HRNetV2 with a neck', 'MobileNetV2'],
)
def test_the_model_is_that_of_the_shipped_config(plain, shipped):
    cfg = get_config(plain)
    before = copy.deepcopy(cfg.to_dict())
    found = unscoped(RECIPE.distilled(cfg)['model'])
    assert unscoped(cfg.to_dict()) == unscoped(before)
    expected = unscoped(Config.fromfile(CONFIGS / f'{shipped}.py').model.to_dict())
    # there in writing what is the default of OKDHPHead
    if 'branches' not in found['head']:
        assert expected['head'].pop('num_branches') == 3
    assert expected['head'].pop('kd_schedule') == dict(type='ramp_up', epochs=0.6)
    assert _given(expected) == _given(found)


def _given(model):
    return {key: value for key, value in model.items() if value is not None}


@pytest.mark.parametrize('name', [HRNET, WFLW, HAND], ids=['COCO', 'faces', 'hands'])
def test_the_config_trains_a_step(name):
    plain = get_config(name)
    offline(plain.model)
    plain = shrunk(plain)
    assert RECIPE.misfit(plain) is None
    cfg = Config(RECIPE.distilled(plain))
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    width, height = cfg.model.head.head.decoder.input_size
    losses = model.loss(torch.randn(2, 3, height, width), packed(cfg))
    total(losses).backward()
    assert {'loss_kpt', 'loss_kpt_branch1', 'loss_ensemble', 'loss_kd'} < set(losses)
    assert torch.isfinite(total(losses))
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ('backbone', 'split'),
    [
        (BACKBONES['HRNet'], 'stage3'),
        (BACKBONES['LiteHRNet'], 'stage2'),
        (BACKBONES['ResNet'], 'end'),
        (BACKBONES['MobileNetV2'], 'end'),
        (BACKBONES['ShuffleNetV2'], 'end'),
        *((dict(HOURGLASS, num_stacks=n), s) for n, s in
          ((1, 'stem'), (2, 'stack1'), (3, 'stack1'), (4, 'stack2'), (8, 'stack4'))),
        (dict(STACKED, num_stacks=4), 'stack2'),
    ],
    ids=lambda value: value if isinstance(value, str) else value['type'],
)  # fmt: skip
def test_each_backbone_is_split_as_the_shipped_configs_split_its_kind(backbone, split):
    with torch.device('meta'):
        assert default_split(MODELS.build(copy.deepcopy(backbone))) == split


@pytest.mark.parametrize('name', BACKBONES)
def test_every_supported_backbone_fits(name):
    assert RECIPE.misfit(dict(model=plain_config(BACKBONES[name]))) is None


def whole(**model):
    return dict(model={**plain_config(), **model})


def with_head(**changes):
    return whole(head={**plain_config()['head'], **changes})


UDP = dict(type='UDPHeatmap', input_size=(32, 64), heatmap_size=(8, 16))


@pytest.mark.parametrize(
    ('cfg', 'reason'),
    [
        ({}, "model.type=None: no such class"),
        (dict(model='a name'), 'model.type=None: no such class'),
        (whole(type='BottomupPoseEstimator'), "model.type='BottomupPoseEstimator'.*Topdown"),
        (dict(model=okdhp_config()), "model.head.type='OKDHPHead'.*HeatmapHead"),
        (whole(head=dict(type='RegressionHead')), "model.head.type='RegressionHead'.*HeatmapHead"),
        (with_head(type='MSPNHead'), "model.head.type='MSPNHead'.*HeatmapHead"),
        (whole(backbone=dict(type='VGG')), 'model.backbone.type: VGG cannot be split.*HRNet'),
        (whole(backbone=dict(type='x.Net')), "model.backbone.type='x.Net': no such class"),
        (whole(backbone=None), 'model.backbone.type=None'),
        (
            whole(backbone=dict(BACKBONES['ResNet'], depth=19)),
            "model.backbone.type='ResNet': .*invalid depth 19",
        ),
        (
            whole(backbone=dict(type='HRFormer', extra=BACKBONES['HRNet']['extra'])),
            "model.backbone.type='HRFormer'",
        ),
        (
            with_head(decoder=dict(UDP, heatmap_type='combined')),
            "model.head.decoder.heatmap_type='combined'",
        ),
        (
            with_head(decoder=dict(UDP, input_size=192)),
            r'^model\.head\.decoder\.input_size=192: give \(width, height\)',
        ),
        (dict(model=[plain_config()]), 'model.type=None: no such class'),
        (with_head(decoder=dict(UDP, heatmap_size=(4, 8))), r'head.decoder.heatmap_size .*\(4, 8'),
        (whole(neck=dict(type='FeatureMapProcessor', many=2)), "model.neck.type='Feature"),
        (
            dict(
                model=dict(
                    plain_config(HOURGLASS),
                    head=dict(plain_config(HOURGLASS)['head'], num_stages=2),
                )
            ),
            'model.head.num_stages=2: .*3 outputs',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)  # fmt: skip
def test_what_does_not_fit_says_why(cfg, reason):
    found = RECIPE.misfit(copy.deepcopy(cfg))
    assert re.search(reason, found) and '\n' not in found


@pytest.mark.parametrize(
    'name',
    [
        f'{COCO}hrnet-w32_udp-regress-8xb64-210e_coco-256x192.py',
        f'{COCO}swin-t-p4-w7_8xb32-210e_coco-256x192.py',
        f'{COCO}ViTPose-small_8xb64-210e_coco-256x192.py',
        'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py',
        'mmpose::body_2d_keypoint/integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256.py',
    ],
    ids=lambda name: name.rpartition('/')[2],
)
def test_configs_of_mmpose_that_do_not_fit_say_why(name):
    assert RECIPE.misfit(get_config(name)).startswith('model.')


def test_heads_with_mmposes_older_settings_are_taken_as_mmpose_takes_them():
    old = plain_config(BACKBONES['HRNet'])
    old['backbone']['extra']['stage4']['multiscale_output'] = True
    index, channels = (0, 1, 2, 3), (4, 8, 16, 32)
    concat = dict(in_channels=channels, input_transform='resize_concat', input_index=index)
    old['head'].update(**concat, extra=dict(final_conv_kernel=3))
    before = copy.deepcopy(old)
    assert RECIPE.misfit(dict(model=old)) is None
    model = build(RECIPE.distilled(dict(model=old))['model'])
    assert old == before
    left = model.head.deployed().state_dict(model.state_dict())
    stock = build(old).state_dict()
    assert {k: v.shape for k, v in left.items()} == {k: v.shape for k, v in stock.items()}
    assert torch.isfinite(total(model.loss(images(), samples())))


def test_types_may_be_classes_or_have_a_scope():
    model = plain_config()
    model['backbone']['type'], model['head']['type'] = ResNet, HeatmapHead
    model['type'] = 'mmpose.TopdownPoseEstimator'
    assert RECIPE.misfit(dict(model=model)) is None


def test_hooks_of_the_user_stay_and_none_is_added_twice():
    hooks = [dict(type='SyncBuffersHook'), dict(type='mmpose.BranchMetricsHook')]
    for n in (1, 2):
        validated = dict(model=plain_config(), val_evaluator=dict(type='EPE'))
        cfg = RECIPE.distilled(dict(validated, custom_hooks=hooks[:n]))
        assert [hook['type'].rpartition('.')[2] for hook in cfg['custom_hooks']] == [
            'SyncBuffersHook', 'BranchMetricsHook'
        ]  # fmt: skip
        assert cfg['model']['test_cfg'] == dict(plain_config()['test_cfg'], branch='all')
        assert 'mmpose_kd' in cfg['custom_imports']['imports']


def test_an_evaluator_that_cannot_be_extended_gets_one_output():
    several = dict(type='MultiDatasetEvaluator', metrics=[], datasets=[])
    cfg = RECIPE.distilled(dict(model=plain_config(), val_evaluator=several))
    assert 'branch' not in cfg['model']['test_cfg']
    usual = dict(type='Evaluator', metrics=[dict(type='EPE')])
    cfg = RECIPE.distilled(dict(model=plain_config(), val_evaluator=usual))
    assert cfg['model']['test_cfg']['branch'] == 'all'


@pytest.mark.parametrize('where', ['load_from', 'model.init_cfg', 'a list of model.init_cfg'])
@pytest.mark.parametrize('name', ['HRNet', 'ResNet'])
def test_weights_of_a_whole_model_reach_all_but_heads_that_are_alike(where, name, tmp_path):
    backbone = BACKBONES[name]
    plain = randomize(MODELS.build(plain_config(backbone)))
    file = str(tmp_path / 'plain.pth')
    torch.save(dict(state_dict=plain.state_dict()), file)
    if where == 'load_from':
        cfg = dict(model=plain_config(backbone), load_from=file)
    else:
        start = dict(type='Pretrained', checkpoint=file)
        start = [start] if where.startswith('a list') else start
        cfg = whole(**plain_config(backbone), init_cfg=start)
    cfg = RECIPE.distilled(cfg)
    alike = backbone['type'] == 'HRNet'  # the other has a light sibling
    kept = [cfg.get('load_from'), cfg['model'].get('init_cfg')]
    assert any(kept) == (not alike)
    model = MODELS.build(cfg['model'])
    model.init_weights()
    if kept[0]:  # as the Runner does
        model.load_state_dict(torch.load(file, weights_only=True)['state_dict'])
    expected = plain.state_dict()
    for branch in (0, 1):
        found = model.head.deployed(branch).state_dict(model.state_dict())
        same = {n for n, v in expected.items() if n in found and torch.equal(found[n], v)}
        missing = {n for n in expected if n not in same}
        if alike:
            assert {n.partition('.')[0] for n in missing} == {'head'}
            assert all(n.startswith('head.') == (n in missing) for n in expected)
        elif branch == 0:
            assert not missing
        else:  # the sibling stops before the last step, and its own head is lighter
            assert all(n.startswith(('backbone.layer4', 'head.')) for n in missing)


def test_other_initialisers_beside_a_checkpoint_stay():
    normal, start = dict(type='Normal', layer='Conv2d'), dict(type='Pretrained', checkpoint='a')
    cfg = whole(**plain_config(BACKBONES['HRNet']), init_cfg=[normal, start])
    model = RECIPE.distilled(cfg)['model']
    assert model['init_cfg'] == [normal]
    assert model['backbone']['backbone']['init_cfg'] == {**start, 'prefix': 'backbone.'}


EQUAL = {  # ResNets for which there is no light sibling
    'a neck that enlarges': dict(neck=dict(type='FeatureMapProcessor', scale_factor=2.0)),
    'an earlier step': dict(backbone=dict(RESNET, out_indices=(2,))),
}


@pytest.mark.parametrize('change', EQUAL.values(), ids=EQUAL)
def test_a_head_that_reads_another_map_than_the_last_gets_equal_branches(change):
    model = {**plain_config(), **change}
    deconv = dict(deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4))
    model['head'].update(deconv)
    if 'backbone' in change:
        model['head']['in_channels'] //= 2
    assert RECIPE.misfit(dict(model=model)) is None
    assert 'branches' not in RECIPE.distilled(dict(model=model))['model']['head']
    assert 'no light sibling was found' in RECIPE.caution(dict(model=model))


def test_an_input_whose_sides_are_no_multiples_of_the_last_step_gets_equal_branches():
    codec = dict(type='MSRAHeatmap', input_size=(40, 72), heatmap_size=(16, 24), sigma=1)
    cfg = with_head(decoder=codec)
    assert RECIPE.misfit(cfg) is None
    assert 'branches' not in RECIPE.distilled(cfg)['model']['head']
    assert 'no gain was measured' in RECIPE.caution(cfg)


@pytest.mark.parametrize('name', BACKBONES)
def test_nothing_is_said_where_no_sibling_is_expected_or_there_is_one(name):
    model = plain_config(BACKBONES[name])
    made = RECIPE.distilled(dict(model=model))['model']['head']
    expected = 'branches' in made or made['split'] != 'end'
    assert (RECIPE.caution(dict(model=model)) is None) == expected
    if name in ('HRNet', 'LiteHRNet', 'ResNet', 'MobileNetV2'):
        assert expected


class LongLegs(HeatmapHead):
    """A user's head with one loss more."""

    def loss(self, feats, batch_data_samples, train_cfg={}):  # noqa: B006
        losses = super().loss(feats, batch_data_samples, train_cfg)
        return {**losses, 'loss_legs': losses['loss_kpt']}


class Named(HeatmapHead):
    """A user's head that computes nothing differently."""


def test_a_head_with_a_loss_of_its_own_is_refused():
    def why(kind):
        model = plain_config()
        model['head']['type'] = kind
        return RECIPE.misfit(dict(model=model))

    assert why(Named) is None
    assert 'head.type=LongLegs has a loss() of its own' in why(LongLegs)
