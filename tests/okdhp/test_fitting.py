"""Trunk and branches that do not fit are refused with the key when the model is built."""

import pytest
import torch

from mmpose_kd.core.deployed import training_part
from mmpose_kd.okdhp.splits import build_piece, run_steps

from ..helpers.models import (
    CODEC,
    HOURGLASS,
    HRNET,
    LITEHRNET,
    MOBILENET,
    RESNET,
    build,
    images,
    okdhp_config,
    randomize,
    samples,
)


def with_head(config, **changes):
    config['head']['head'].update(changes)
    return config


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize(
    ('backbone', 'split'), [(RESNET, 'stage2'), (HRNET, 'stage3'), (LITEHRNET, 'stage2')]
)
def test_pictures_may_have_another_number_of_channels(backbone, split, channels):
    model = build(okdhp_config(dict(backbone, in_channels=channels), split, num_branches=2))
    pictures = torch.zeros(1, channels, 64, 32)
    assert model.eval()(pictures, None, mode='tensor').shape == (1, 5, 16, 8)


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        (dict(RESNET, in_channels=0), r"backbone.type='ResNet': .* 0 channels \(in_channels\)"),
        (dict(RESNET, in_channels=-1), "backbone.type='ResNet': it cannot be built"),
        (dict(MOBILENET, in_channels=1), "backbone.type='MobileNetV2': .*'in_channels'"),
    ],
)
def test_a_backbone_that_takes_no_such_pictures_names_in_channels(backbone, message):
    with pytest.raises(ValueError, match=message):
        build(okdhp_config(backbone, 'stage3'), init=False)


@pytest.mark.parametrize('wrong', [0, 100])
def test_a_head_for_other_channels_names_in_channels_and_the_neck(wrong):
    message = f'head.head.in_channels={wrong}: the backbone puts out maps of 64 channels, give 64'
    with pytest.raises(ValueError, match=f'{message}; if model.neck is set, .*head.neck'):
        build(with_head(okdhp_config(), in_channels=wrong), init=False)


def test_each_stage_of_an_hourglass_is_for_the_same_channels():
    message = 'head.head.in_channels=9: .*maps of 8, 8, 8 channels, give 8'
    with pytest.raises(ValueError, match=message):
        build(with_head(okdhp_config(HOURGLASS, 'stack1'), in_channels=9), init=False)


def test_the_message_names_the_branch_that_does_not_fit():
    config = okdhp_config(num_branches=2)
    config['head']['branches'] = [{}, dict(head=dict(in_channels=7))]
    with pytest.raises(ValueError, match=r'head\.branches\.1\.head\.in_channels=7'):
        build(config, init=False)


@pytest.mark.parametrize(
    ('neck', 'message'),
    [
        (
            dict(type='FPN', in_channels=[8, 16], out_channels=64, num_outs=2),
            "head.neck.type='FPN': it cannot be run on maps of 64 channels",
        ),
        (
            dict(type='FeatureMapProcessor', select_index=3),
            "head.neck.type='FeatureMapProcessor': .*maps of 64 channels",
        ),
        (dict(type='GlobalAveragePooling'), "head.head.type='HeatmapHead': it cannot be run"),
    ],
    ids=['FPN', 'FeatureMapProcessor', 'GlobalAveragePooling'],
)
def test_a_neck_that_does_not_fit_is_named(neck, message):
    with pytest.raises(ValueError, match=message):
        build(okdhp_config(neck=neck), init=False)


def test_a_picture_of_a_size_that_the_backbone_cannot_halve_is_told():
    config = with_head(okdhp_config(HRNET, 'stage3'), decoder=dict(CODEC, input_size=(30, 50)))
    with pytest.raises(ValueError, match=r"backbone.type='HRNet': .*\(30, 50\) \(width, height\)"):
        build(config, init=False)


def test_a_neck_of_the_model_is_refused_before_the_first_step():
    """By every hook, the export and a distiller; without any of them in the first forward."""
    config = okdhp_config()
    config['neck'] = dict(type='FeatureMapProcessor', concat=True)
    model = build(config)
    with pytest.raises(ValueError, match=r'model.neck.type=.*head.neck and set model.neck=None'):
        training_part(model)
    with pytest.raises(TypeError, match=r'model\.head\.neck'):
        model.loss(images(), samples())


def transformer():
    """HRFormer calculates with tensors while it is built, which meta tensors cannot."""

    def stage(channels):
        n = len(channels)
        heads = dict(num_heads=(1,) * n, window_sizes=(7,) * n, mlp_ratios=(2,) * n)
        blocks = dict(num_modules=1, num_branches=n, num_blocks=(1,) * n, num_channels=channels)
        return dict(blocks, block='HRFORMERBLOCK', **heads)

    one = dict(num_modules=1, num_branches=1, num_blocks=(1,), num_channels=(8,))
    stages = dict(stage2=stage((4, 8)), stage3=stage((4, 8, 16)), stage4=stage((4, 8, 16, 32)))
    extra = dict(stages, drop_path_rate=0.1, stage1=dict(one, block='BOTTLENECK'))
    return dict(type='HRFormer', norm_cfg=dict(type='BN'), extra=extra)


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_a_backbone_that_cannot_be_built_without_weights_is_built_with_them(device):
    config = okdhp_config(HRNET, 'stage3', num_branches=1)
    for part in (config['backbone'], config['head']):
        part['backbone'] = transformer()
    with torch.device(device):
        model = build(config, init=False)
    assert {p.device.type for p in model.parameters()} == {device}


def test_a_transformer_cut_in_two_puts_out_what_the_whole_does():
    whole = randomize(build(transformer()))
    whole.eval()
    trunk, first = build_piece(transformer(), 'stage2', shared=True)
    tail, rest = build_piece(transformer(), 'stage2', shared=False)
    for piece in (trunk, tail):
        piece.load_state_dict(whole.state_dict(), strict=False)
        piece.eval()
    states, outputs = run_steps(trunk, first, images())
    _, outputs = run_steps(tail, rest, list(states.values())[-1], outputs)
    assert all(torch.equal(a, b) for a, b in zip(outputs, whole(images())))
