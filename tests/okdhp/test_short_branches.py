"""Branches that stop before the backbone's end: what they see, learn and may not become."""

import numpy as np
import pytest
import torch

from mmpose_kd.okdhp.sibling import light_sibling

from ..helpers.models import (
    BACKBONES,
    HOURGLASS,
    HRNET,
    RESNET,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
    total,
)
from ..helpers.okdhp import OFF, deployed_gradients, predictions, share_weights, train_losses

SHORT = dict(stop='stage3', head=dict(in_channels=32, deconv_out_channels=(8, 8),
                                      deconv_kernel_sizes=(4, 4)))  # fmt: skip


def with_short(split='end', backbone=RESNET, short=SHORT, **head):
    return okdhp_config(backbone, split, num_branches=2, branches=[dict(), short], **head)


OF_HRNET = dict(stop='stage3', head=dict(in_channels=4))
OF_LITEHRNET = dict(stop='stage2', head=dict(in_channels=16))
SHORT_OF = dict(HRNet=('stage3', OF_HRNET), LiteHRNet=('stage2', OF_LITEHRNET))


def short_beside(name):
    """A small network with a short branch: the recipe's, or one on the finest map."""
    backbone = BACKBONES[name]
    split, short = SHORT_OF.get(name) or ('end', light_sibling(plain_config(backbone)))
    return with_short(split, backbone, short)


@pytest.mark.parametrize('split', ['end', 'stage3', 'stage2'])
def test_its_head_reads_the_output_of_that_step(split):
    model = randomize(build(with_short(split), init=False)).eval()
    seen = build(dict(plain_config(), backbone=dict(RESNET, out_indices=(2,))), init=False).eval()
    whole = model.head.deployed(0).state_dict(model.state_dict())
    own = {
        f'backbone.{name}': value
        for name, value in model.head.branches[1].backbone.state_dict().items()
    }
    assert bool(own) == (split == 'stage2')
    backbone = {name: value for name, value in {**whole, **own}.items() if 'backbone' in name}
    seen.load_state_dict(backbone, strict=False)
    feature = seen.extract_feat(images())[-1]
    _, short = model.head.forward_branches(model.extract_feat(images()))
    assert torch.equal(short, model.head.branches[1].head((feature,)))
    assert not any('layer4' in name for name in own)


@pytest.mark.parametrize('name', ['ResNet', 'MobileNetV2', 'ShuffleNetV2', 'HRNet', 'LiteHRNet'])
def test_beside_every_network_it_trains_and_the_deployed_one_is_the_plain_one(name):
    model = randomize(build(short_beside(name), init=False))
    plain = build(plain_config(BACKBONES[name]), init=False)
    share_weights(plain, model)
    losses = train_losses(model)
    expected = plain.train().loss(images(), samples())
    assert torch.allclose(losses['loss_kpt'], expected['loss_kpt'], rtol=1e-6)
    assert {'loss_kpt_branch1', 'loss_ensemble', 'loss_kd'} <= losses.keys()
    assert torch.isfinite(total(losses))
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_its_labels_teach_the_shared_steps_alone():
    """What it adds to the plain gradients ends at the step that it stops at."""
    model = randomize(build(with_short(fau=None, **OFF), init=False))
    plain = build(plain_config(), init=False)
    share_weights(plain, model)
    train_losses(model)
    total(plain.train().loss(images(), samples())).backward()
    found, expected = deployed_gradients(model), dict(plain.named_parameters())
    for name, gradient in found.items():
        alike = torch.allclose(gradient, expected[name].grad, rtol=1e-5, atol=1e-9)
        assert alike == (name.startswith(('backbone.layer4', 'head.'))), name


def test_a_checkpoint_of_the_plain_model_reaches_it_but_for_its_head(recwarn):
    plain = randomize(build(plain_config(), init=False))
    model = build(with_short('stage2'))
    before = {n: v.clone() for n, v in model.head.branches[1].head.state_dict().items()}
    model.load_state_dict(plain.state_dict())
    short = model.head.branches[1]
    for name, value in short.backbone.state_dict().items():
        assert torch.equal(value, plain.state_dict()[f'backbone.{name}'])
    assert all(torch.equal(value, before[n]) for n, value in short.head.state_dict().items())
    assert not [w for w in recwarn if 'did not arrive' in str(w.message)]


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            lambda: with_short(short=dict(SHORT, stop='stage9')),
            r"head.branches.1.stop='stage9': Re",
        ),
        (lambda: with_short(short=dict(SHORT, stop=3)), r'head.branches.1.stop=3: ResNet has'),
        (lambda: with_short(short=dict(SHORT, stop='end')), r"head.branches.1.stop='end': leave"),
        (
            lambda: with_short(short=dict(stop='stage3')),
            r'head.branches.1.head.in_channels=64: .* 32 channels, give 32',
        ),
        (
            lambda: with_short(short=dict(SHORT, head=dict(in_channels=32))),
            'branch 1 makes heatmaps of',
        ),
        (lambda: with_short(deploy_branch=1), 'head.deploy_branch=1: branch 1 is no whole model'),
        (
            lambda: with_short('stack1', HOURGLASS, dict(stop='stack2')),
            r"head.branches.1.stop='stack2': a CPMHead reads every stack",
        ),
        (lambda: with_short('stage2', HRNET, dict(stop='stage3', depth=2)), "'depth'.*'stop'"),
    ],
    ids=['no step', 'no name', 'the end', 'channels', 'size', 'deployed', 'hourglass', 'unknown'],
)
def test_what_does_not_fit_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        build(config(), init=False)


def test_predictions_of_all_outputs_have_its_own():
    model = randomize(build(with_short(), init=False))
    together = predictions(model, branch='all')
    for output in (0, 1):
        for alone, all_outputs in zip(predictions(model, branch=output), together):
            beside = all_outputs.get(f'pred_branch{output}')
            np.testing.assert_array_equal(alone.pred_instances.keypoints, beside.keypoints)


# ----------------------------------------------------------------- the recipe's sibling

DECODER = dict(deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4))


@pytest.mark.parametrize(
    ('name', 'stop', 'channels'),
    [('ResNet', 'stage3', 32), ('MobileNetV2', 'stage5', 24), ('ShuffleNetV2', 'stage2', 96)],
)
def test_the_sibling_reads_the_last_step_of_twice_the_resolution(name, stop, channels):
    expected = dict(stop=stop, head=dict(in_channels=channels, **DECODER))
    assert light_sibling(plain_config(BACKBONES[name])) == expected


@pytest.mark.parametrize('name', ['HRNet', 'LiteHRNet', 'HourglassNet', 'StackedHourglass'])
def test_networks_without_deconvolutions_have_none(name):
    assert light_sibling(plain_config(BACKBONES[name])) is None


def with_decoder(**head):
    model = plain_config()
    model['head'].update(head)
    return model


def test_the_siblings_decoder_has_one_layer_less_and_64_channels_at_most():
    wide = light_sibling(with_decoder(deconv_out_channels=(256, 128, 32)))['head']
    assert wide['deconv_out_channels'] == (64, 32)
    model = with_decoder()
    for name in ('deconv_out_channels', 'deconv_kernel_sizes'):
        del model['head'][name]  # MMPose's own: three of 256 channels
    own = light_sibling(model)['head']
    assert own['deconv_out_channels'] == (64, 64) and own['deconv_kernel_sizes'] == (4, 4)
    small = dict(plain_config()['head']['decoder'], heatmap_size=(2, 4))
    one = with_decoder(deconv_out_channels=(8,), deconv_kernel_sizes=(4,), decoder=small)
    one = light_sibling(one)['head']
    assert one['deconv_out_channels'] is None and one['deconv_kernel_sizes'] is None


def test_a_neck_is_the_deployed_branchs_alone():
    model = dict(plain_config(), neck=dict(type='FeatureMapProcessor'))
    assert light_sibling(model)['neck'] is None
    assert 'neck' not in light_sibling(plain_config())
