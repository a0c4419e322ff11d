"""Settings of OKDHPHead that are refused, and parts that do not fit together."""

import pytest
from mmpose.models.necks import FeatureMapProcessor  # noqa: F401
from mmpose.registry import MODELS

from mmpose_kd.losses import HeatmapKLLoss

from ..helpers.models import RESNET, K, build, images, okdhp_config, samples
from ..helpers.okdhp import CONSTANT

SMALLER = dict(deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4))  # half the heatmap


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(split='stage7'), r"split='stage7'.*'stage1'"),
        (dict(num_branches=0), r'head.num_branches=0.*1 or more'),
        (dict(num_branches=True), r'head.num_branches=True'),
        (dict(deploy_branch=3), r'head.deploy_branch=3.*0 to 2'),
        (dict(ensemble_weight=-1), r'head.ensemble_weight=-1.*0'),
        (dict(kd_loss=dict(loss_weight=-0.5)), r'head.kd_loss.loss_weight=-0.5'),
        (
            dict(kd_loss=dict(type='FeatureMSELoss')),
            r"head.kd_loss.type='FeatureMSELoss': .*\(student, teacher, target_weight\).*Heatmap",
        ),
        (dict(kd_schedule=dict(type='cosine')), r"head.kd_schedule.type='cosine'.*ramp_up"),
        (dict(kd_schedule=dict(epochs=-2)), r'head.kd_schedule.epochs=-2'),
        (dict(kd_schedule=dict(epoch=5)), r'head.kd_schedule=.*epoch'),
        (dict(kd_schedule=dict(CONSTANT, epochs=5)), r'head.kd_schedule.epochs=5.*constant'),
        (dict(branches=[{}, {}, dict(haed={})]), r"head.branches.2 has \['haed'\].*'head'"),
        (
            dict(branches=[{}, {}, dict(backbone=dict(stem_channels=16))]),
            r'head.branches.2.backbone changes the shared part',
        ),
        (
            dict(branches=[{}, dict(head=dict(decoder=dict(sigma=3))), {}]),
            r'head.branches.1.head.decoder differs from that of branch 0',
        ),
        (dict(preset='paper'), r"head.preset='paper'.*released"),
        (dict(branches=[dict()]), r'head.branches has 1 entries, head.num_branches=3'),
        (dict(fau_input='stage4'), r"head.fau_input='stage4'.*stem.*stage2"),
        (dict(ensemble_weight=0), r'head.ensemble_weight=0.*detach_ensemble'),
        (
            dict(branches=[{}, {}, dict(head=dict(out_channels=6))]),
            r'head.branches: heatmaps of \(K, H, W\).*\(5, 16, 8\).*\(6, 16, 8\)',
        ),
        (
            dict(branches=[{}, {}, dict(head=SMALLER)]),
            r'branch 2 makes heatmaps of \(4, 8\).*heatmap_size is \(8, 16\)',
        ),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_name_the_key(settings, message):
    config = okdhp_config()
    config['head'].update(settings)
    with pytest.raises(ValueError, match=message):
        MODELS.build(config['head'])


@pytest.mark.parametrize(
    ('name', 'wrong'),
    [
        ('backbone', ['ResNet', None, {}, dict(type='No'), dict(type='ResNet', depth=18, deep=1)]),
        ('split', [None, 2, ['stage2'], True]),
        ('head', ['HeatmapHead', None, [], dict(type='HeatmapHead', channels=3)]),
        ('num_branches', [None, '3', 2.0, float('nan'), [3]]),
        ('branches', [3, 'abc', [{}, {}, None], [{}, {}, dict(head=None)], dict(head={})]),
        ('neck', ['FeatureMapProcessor', [], {}, dict(type='FeatureMapProcessor', many=2)]),
        ('fau', ['released', 'FAU', False, [], dict(type='No'), dict(kernels=(3,))]),
        ('fau_input', [None, 1, ['stem'], True]),
        ('preset', [None, 1, ['default']]),
        ('ensemble_weight', ['1', True, float('inf'), float('nan'), [1], -0.1]),
        ('kd_loss', ['HeatmapKLLoss', 0, False, [], dict(type='No'), dict(temprature=1)]),
        ('kd_loss', [dict(loss_weight=w) for w in (None, '1', True, float('nan'), [1])]),
        ('kd_loss', [dict(temperature=t) for t in (None, '1', True, float('inf'), 0)]),
        ('kd_schedule', ['ramp_up', 0, False, [], dict(type=3), dict(epochs=True)]),
        ('detach_ensemble', ['no', 0, 1.0, []]),
        ('deploy_branch', [None, True, 1.0, '1', -1, [0]]),
        ('with_cp', ['no', None, 1]),
    ],
)
def test_values_of_another_kind_are_refused_with_their_key(name, wrong):
    for value in wrong:
        config = okdhp_config()
        config['head'][name] = value
        with pytest.raises(ValueError, match=f'head.{name}|^{name}|HeatmapKLLoss') as error:
            MODELS.build(config['head'])
        found = str(error.value)
        if not isinstance(value, (dict, list)):
            assert f'{name}={value!r}: ' in found


@pytest.mark.parametrize('setting', ['backbone', 'split'])
@pytest.mark.parametrize('wrong', [None, 3, 'ResNeXt', [], True, {}])
def test_values_of_another_kind_are_refused_by_the_trunk(setting, wrong):
    config = okdhp_config()['backbone']
    config[setting] = wrong
    with pytest.raises(ValueError, match=f'^{setting}='):
        MODELS.build(config)


@pytest.mark.parametrize('size', [8, (8,), (8.0, 16), (0, 16)])
@pytest.mark.parametrize('key', ['input_size', 'heatmap_size'])
def test_sizes_of_a_codec_that_are_none_are_refused_with_their_key(key, size):
    config = okdhp_config()
    config['head']['head']['decoder'][key] = size
    with pytest.raises(ValueError, match=f'head.head.decoder.{key}='):
        MODELS.build(config['head'])


def test_a_loss_with_a_scope_takes_the_presets_numbers_too():
    for name in ('HeatmapKLLoss', 'mmpose.HeatmapKLLoss', HeatmapKLLoss):
        loss = build(okdhp_config(kd_loss=dict(type=name)), init=False).head.kd_loss
        assert (loss.temperature, loss.loss_weight) == (0.1, 140)


def test_branches_of_different_heatmap_size_are_refused_without_a_codec_too():
    config = okdhp_config(num_branches=2)
    config['head']['head'].pop('decoder')
    config['head']['branches'] = [{}, dict(head=SMALLER)]
    with pytest.raises(ValueError, match=r'head.branches: heatmaps of .* one heatmap size'):
        MODELS.build(config['head'])


def test_a_head_that_is_no_heatmap_head_is_refused():
    config = okdhp_config()
    config['head']['head'] = dict(type='RegressionHead', in_channels=64, num_joints=K)
    with pytest.raises(TypeError, match=r'head.head.type=RegressionHead.*HeatmapHead'):
        MODELS.build(config['head'])


def test_heads_with_other_outputs_than_one_map_per_keypoint_are_refused():
    config = okdhp_config()
    config['head']['head'].update(type='AssociativeEmbeddingHead', num_keypoints=K)
    config['head']['head'].pop('out_channels')
    config['head']['head'].pop('loss')
    with pytest.raises(TypeError, match=r'head.head.type=AssociativeEmbeddingHead.*one output'):
        MODELS.build(config['head'])
    config = okdhp_config()
    config['head']['head']['decoder'] = dict(
        type='UDPHeatmap', input_size=(32, 64), heatmap_size=(8, 16), heatmap_type='combined'
    )
    with pytest.raises(TypeError, match=r"head.head.decoder.heatmap_type='combined'"):
        MODELS.build(config['head'])


def test_a_trunk_cut_elsewhere_is_refused():
    config = okdhp_config(split='stage2')
    config['backbone']['split'] = 'stage3'
    model = build(config)
    with pytest.raises(ValueError, match=r"(?s)cut differently.*split='stage3'.*split='stage2'"):
        model.loss(images(), samples())


def test_a_plain_backbone_is_refused():
    model = build(dict(okdhp_config(), backbone=RESNET))
    with pytest.raises(TypeError, match=r'model.backbone.*SharedTrunk'):
        model.loss(images(), samples())


def test_a_neck_between_trunk_and_head_is_refused():
    model = build(dict(okdhp_config(), neck=dict(type='FeatureMapProcessor', concat=True)))
    with pytest.raises(TypeError, match=r'model\.head\.neck'):
        model.loss(images(), samples())


@pytest.mark.parametrize('branch', [3, -1, 'best', True])
def test_bad_branch_in_test_cfg_is_refused_when_the_model_is_built(branch):
    config = okdhp_config()
    config['test_cfg']['branch'] = branch
    with pytest.raises(ValueError, match=r'test_cfg.branch=.*0 to 2'):
        build(config, init=False)
