"""MobilePose's decoder: computed again in numpy, and counted with its backbones."""

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch import nn

from ..helpers.models import build
from ..helpers.networks import by_formula, macs
from .test_stacked_hourglass import InNumpy

SMALL = dict(
    type='PixelShuffleHead', in_channels=5, out_channels=3, mid_channels=8, num_upsamples=2
)


def decoded(state, x, upsamples):
    """Heatmaps from the decoder's description."""
    zero = {f'{name.rpartition(".")[0]}.bias': np.zeros(1) for name in state}
    net = InNumpy({}, 0, 0)
    net.state = {**zero, **{name: value.numpy() for name, value in state.items()}}
    x = net.conv('deconv_layers.0', x)
    for i in range(upsamples):
        x = net.conv(f'deconv_layers.{4 * i + 1}', x)
        x = net.norm_relu(f'deconv_layers.{4 * i + 2}', x)
        b, c, h, w = x.shape  # four channels become the four pixels of one
        x = x.reshape(b, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3)
        x = x.reshape(b, c // 4, 2 * h, 2 * w)
    return net.conv('final_layer', x)


def test_its_heatmaps_are_those_of_the_decoder_computed_again_in_numpy():
    head = by_formula(build(SMALL).double()).eval()
    feature = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    found = head((feature,)).detach().numpy()
    expected = decoded(head.state_dict(), feature.numpy(), upsamples=2)
    assert found.shape == (2, 3, 16, 12) and expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ('backbone', 'channels', 'weights', 'megabytes', 'gmac'),
    [
        (dict(type='ResNet', depth=18), 512, 12_858_176, 51.5, 2.6),
        (dict(type='MobileNetV2'), 1280, 4_102_144, 16.6, 0.6),
        (dict(type='ShuffleNetV2'), 1024, 3_066_340, 12.4, 0.4),
    ],
    ids=['ResNet-18', 'MobileNetV2', 'ShuffleNetV2'],
)
def test_with_mmposes_backbones_it_fills_mobileposes_weight_files(
    backbone, channels, weights, megabytes, gmac
):
    """Their sizes are published; names and the like take up to a tenth of a megabyte."""
    with torch.device('meta'):
        head = dict(type='PixelShuffleHead', in_channels=channels, out_channels=16)
        model = nn.Sequential(MODELS.build(backbone), MODELS.build(head))
    assert sum(p.numel() for p in model.parameters()) == weights
    stored = 4 * sum(value.numel() for value in model.state_dict().values()) / 1e6
    assert stored < megabytes + 0.05 and megabytes - stored < 0.15
    assert round(macs(model, (256, 256)) / 1e9, 1) == gmac


def test_layers_before_a_norm_start_wide_and_the_last_one_narrow():
    head = build(dict(type='PixelShuffleHead', in_channels=64, out_channels=16))
    first = head.deconv_layers[1].weight
    assert abs(first.std() / (2 / (9 * first.shape[0])) ** 0.5 - 1) < 0.05
    assert 0.0005 < head.final_layer.weight.std() < 0.002


def test_a_width_that_cannot_be_halved_often_enough_is_refused():
    with pytest.raises(ValueError, match=r'PixelShuffleHead\.mid_channels=12: .*multiple of 8'):
        build(dict(SMALL, mid_channels=12, num_upsamples=3))
