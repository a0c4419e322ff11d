"""OCDHead: a mistake in the config names its key, what was found and what to give."""

import copy

import pytest
import torch
from mmengine.config import Config

from mmpose_kd.core.deployed import training_part
from mmpose_kd.export import ExportError, export_student

from ..helpers.models import build, images
from ..helpers.ocd import (
    HEADS,
    HEATMAP_CODEC,
    POOL,
    SMOOTH_L1,
    batch_of,
    codec_of,
    heatmap_head,
    ocd_of,
)

TWO_NECKS = r'model\.neck and model\.head\.deploy\.neck are both given.*model\.neck=None'


def test_two_necks_are_refused_wherever_the_whole_model_is_seen(tmp_path):
    config = ocd_of('regression')
    config['neck'] = dict(type='FeatureMapProcessor')
    model = build(config)  # MMPose's model builds its parts without showing them to each other
    with pytest.raises(ValueError, match=TWO_NECKS):
        training_part(model)
    with pytest.raises(ValueError, match=TWO_NECKS):
        build(dict(type='PoseDistiller', student=config, teachers=[], distill=[]), init=False)
    loader = dict(dataset=dict(pipeline=[dict(type='TopdownAffine', input_size=(32, 64))]))
    Config(dict(model=config, train_dataloader=loader)).dump(tmp_path / 'ocd.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    with pytest.raises(ExportError, match=TWO_NECKS):
        export_student(tmp_path / 'ocd.py', tmp_path / 'epoch_1.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


BAD = {
    'head.heatmap_weight=-1': dict(heatmap_weight=-1),
    'head.heatmap_weight=0 with head.cross_weight=10.0': dict(heatmap_weight=0),
    "head.cross_weight='x'": dict(cross_weight='x'),
    'head.balance.interval=0': dict(balance=dict(interval=0)),
    'head.balance=None': dict(balance=None),
    r"head.balance=\{'every': 3\}": dict(balance=dict(every=3)),
    'head.cross_schedule.type': dict(cross_schedule=dict(type='up')),
    'CrossSimCCLoss teaches bins': dict(cross=dict(type='CrossSimCCLoss')),
    r'head.cross=.*give CrossCoordinateLoss': dict(cross=SMOOTH_L1),
    "head.cross={'type': 'SimCCKLLoss'}: give CrossCoordinateLoss": dict(
        cross=dict(type='SimCCKLLoss')
    ),
    'head.heatmap has 7 keypoints, head.deploy.head has 5': dict(
        heatmap=heatmap_head() | dict(out_channels=7)
    ),
    'head.heatmap.decoder=None': dict(heatmap=heatmap_head() | dict(decoder=None)),
    "head.heatmap.type='RegressionHead'": dict(heatmap=HEADS['regression']['head']),
    'head.heatmap.decoder is a RegressionLabel': dict(
        heatmap=heatmap_head() | dict(decoder=HEADS['regression']['head']['decoder'])
    ),
    "head.assistant.type='SimCCHead'": dict(assistant=HEADS['simcc']['head']),
    "head.assistant.type='HeatmapHead'": dict(assistant=heatmap_head()),
    'head.deploy=': dict(deploy=HEADS['regression']['head']),
    r'head.deploy=\[': dict(deploy=[HEADS['regression']]),
    'head.deploy=.*give dict': dict(deploy=dict(neck=POOL, head=None)),
    "head.deploy.head.type='HeatmapHead'": dict(deploy=dict(head=heatmap_head())),
    'head.deploy.head.decoder is the codec of both': dict(
        deploy=dict(
            neck=POOL, head=HEADS['regression']['head'] | dict(decoder=codec_of('regression'))
        )
    ),
    'head.deploy.head.decoder is a NoneType': dict(
        deploy=dict(head=HEADS['regression']['head'] | dict(decoder=None))
    ),
    'head.init_cfg': dict(init_cfg=dict(type='Normal')),
}


@pytest.mark.parametrize(('message', 'settings'), BAD.items(), ids=range(len(BAD)))
def test_a_mistake_in_the_config_names_its_key_when_the_model_is_built(message, settings):
    config = ocd_of('regression')
    config['head'].update(copy.deepcopy(settings))
    with pytest.raises(ValueError, match=message):
        build(config, init=False)


WRONG = {
    'heatmap_weight': [-1, float('inf'), float('nan'), '1', True, None, [1.0]],
    'cross_weight': [-1, float('inf'), float('nan'), '1', True, [1.0]],
    'assistant_weight': [-1, float('inf'), float('nan'), '1', True, None],
    'detach_feature': ['no', 0, None],
    'balance': ['yes', 1, None, []],
    'cross_schedule': ['linear_decay', 3, dict(start=float('nan'))],
    'assistant_schedule': ['linear_decay', 3, dict(type='up')],
    'deploy': [
        None,
        'RegressionHead',
        dict(head={}),
        dict(head=HEADS['integral']['head'], neck='x'),
    ],
    'heatmap': [None, 'HeatmapHead', {}, dict(type='Heatmaps'), dict(type='HeatmapHead')],
    'cross': [
        'CrossCoordinateLoss',
        {},
        dict(type='Cross'),
        dict(type='CrossHeatmapLoss', beta=1),
    ],
    'assistant': ['RegressionHead', {}, False, dict(type='RegressionHead')],
    'init_cfg': [dict(type='Normal'), {}],
}


@pytest.mark.parametrize(('name', 'value'), [(n, v) for n, vs in WRONG.items() for v in vs])
def test_every_setting_of_a_wrong_kind_names_its_key(name, value):
    config = ocd_of('regression')
    config['head'][name] = copy.deepcopy(value)
    with pytest.raises(ValueError, match=rf'head\.{name}.*: '):
        build(config, init=False)


@pytest.mark.parametrize('value', [None, 3, ['deploy']])
def test_a_branch_of_a_wrong_kind_is_refused_when_the_model_is_built(value):
    config = ocd_of('regression')
    config['test_cfg']['branch'] = value
    with pytest.raises(ValueError, match=r'test_cfg\.branch='):
        build(config, init=False)


def test_an_unknown_branch_is_refused_when_the_model_is_built():
    config = ocd_of('regression')
    config['test_cfg']['branch'] = 'ensemble'
    with pytest.raises(ValueError, match=r"test_cfg.branch='ensemble'.*'deploy', 'heatmap'"):
        build(config, init=False)


def test_heatmaps_of_another_size_are_named():
    ocd = build(ocd_of('regression'))
    other = {**codec_of('regression'), 'heatmap': {**HEATMAP_CODEC, 'heatmap_size': (16, 32)}}
    with pytest.raises(ValueError, match=r'\(16, 32\).*head.heatmap.decoder.*\(8, 16\)'):
        ocd.loss(images(2), batch_of(other))


def test_a_pipeline_without_heatmaps_is_named():
    ocd = build(ocd_of('regression'))
    samples = batch_of(HEADS['regression']['head']['decoder'])
    with pytest.raises(ValueError, match='CrossRepresentationLabel'):
        ocd.loss(images(2), samples)


@pytest.mark.parametrize('kind', ['regression', 'simcc'])
def test_a_head_for_other_channels_names_in_channels_at_the_first_step(kind):
    for key in ('head.heatmap', 'head.deploy.head'):
        config = ocd_of(kind)
        part = config['head']
        for name in key.split('.')[1:]:
            part = part[name]
        part['in_channels'] = 32
        model = build(config)
        with pytest.raises(ValueError, match=rf'{key}.in_channels=32: .* 64 channels, give 64'):
            model.loss(images(), batch_of(codec_of(kind)))
