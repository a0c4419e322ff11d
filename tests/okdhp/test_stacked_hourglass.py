"""The hourglass of OKDHP's release: computed again in numpy, and counted."""

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS

from ..helpers.models import build
from ..helpers.networks import by_formula, macs

SMALL = dict(
    type='StackedHourglass', out_channels=3, num_stacks=3, downsample_times=2, feat_channels=8
)


class InNumpy:
    """The network from its description: pre-activation bottlenecks, heatmaps fed back."""

    def __init__(self, state, stacks, depth):
        self.state = {name: value.numpy() for name, value in state.items()}
        self.stacks, self.depth = stacks, depth

    def conv(self, name, x, stride=1):
        weight, bias = self.state[f'{name}.weight'], self.state[f'{name}.bias']
        pad = weight.shape[-1] // 2
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
        windows = windows[:, :, ::stride, ::stride]
        return np.einsum('bchwij,ocij->bohw', windows, weight) + bias[:, None, None]

    def norm_relu(self, name, x):
        weight, bias, mean, var = (
            self.state[f'{name}.{part}'][:, None, None]
            for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * weight + bias, 0)

    def bottleneck(self, name, x):
        y = x
        for norm, conv in ((0, 2), (3, 5), (6, 8)):
            y = self.norm_relu(f'{name}.layers.{norm}', y)
            y = self.conv(f'{name}.layers.{conv}', y)
        wider = f'{name}.shortcut.weight' in self.state
        return y + (self.conv(f'{name}.shortcut', x) if wider else x)

    @staticmethod
    def halved(x):
        b, c, h, w = x.shape
        return x.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))

    @staticmethod
    def doubled(x):
        return x.repeat(2, axis=2).repeat(2, axis=3)

    def hourglass(self, name, x):
        levels = [name + '.inner' * level for level in range(self.depth)]
        beside = []
        for level in levels:
            beside.append(self.bottleneck(f'{level}.skip', x))
            x = self.bottleneck(f'{level}.down.1', self.halved(x))
        x = self.bottleneck(f'{levels[-1]}.inner', x)
        for level in reversed(levels):
            x = beside.pop() + self.doubled(self.bottleneck(f'{level}.up.0', x))
        return x

    def heatmaps(self, images):
        x = self.norm_relu('stem.1', self.conv('stem.0', images, stride=2))
        x = self.halved(self.bottleneck('stem.3', x))
        x = self.bottleneck('stem.6', self.bottleneck('stem.5', x))
        made = []
        for i in range(self.stacks):
            y = self.bottleneck(f'stacks.{i}.layers.1', self.hourglass(f'stacks.{i}.layers.0', x))
            y = self.norm_relu(f'stacks.{i}.layers.3', self.conv(f'stacks.{i}.layers.2', y))
            made.append(self.conv(f'stacks.{i}.score', y))
            if i + 1 < self.stacks:
                on = self.conv(f'feedbacks.{i}.of_feature', y)
                x = x + on + self.conv(f'feedbacks.{i}.of_heatmaps', made[-1])
        return made


def test_its_heatmaps_are_those_of_the_network_computed_again_in_numpy():
    model = by_formula(build(SMALL).double()).eval()
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)).double()
    found = [maps.detach().numpy() for maps in model(images)]
    expected = InNumpy(model.state_dict(), stacks=3, depth=2).heatmaps(images.numpy())
    assert [maps.shape for maps in found] == [(2, 3, 8, 12)] * 3
    for one, other in zip(found, expected):
        assert other.std() > 0.01
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def bottleneck(i, o):
    """Weights of a bottleneck from i to o channels, by hand."""
    norms = 2 * i + 2 * (o // 2) * 2
    convs = (i + 1) * (o // 2) + (9 * o // 2 + 1) * (o // 2) + (o // 2 + 1) * o
    return norms + convs + ((i + 1) * o if i != o else 0)


@pytest.mark.parametrize(
    ('stacks', 'keypoints', 'millions'),
    [(1, 16, 3.6), (2, 16, 6.7), (4, 16, 13.0), (4, 17, 13.0), (8, 16, 25.6)],
)
def test_it_weighs_what_the_releases_weighs(stacks, keypoints, millions):
    stem = (3 * 49 + 1) * 64 + 2 * 64
    stem += bottleneck(64, 128) + bottleneck(128, 256) + bottleneck(256, 256)
    # three bottlenecks a level, one in the middle and one after it; a 1 x 1 layer with its norm
    stack = (4 * 3 + 1 + 1) * bottleneck(256, 256) + 257 * 256 + 2 * 256 + 257 * keypoints
    feedback = 257 * 256 + (keypoints + 1) * 256
    with torch.device('meta'):
        model = MODELS.build(
            dict(type='StackedHourglass', out_channels=keypoints, num_stacks=stacks)
        )
    found = sum(p.numel() for p in model.parameters())
    assert found == stem + stacks * stack + (stacks - 1) * feedback
    assert round(found / 1e6, 1) == millions


def test_four_stacks_cost_what_the_paper_and_the_release_say():
    """15.4 GMAC; the paper's 14 counts in units of 2 ^ 30."""
    with torch.device('meta'):
        model = MODELS.build(dict(type='StackedHourglass', out_channels=16, num_stacks=4))
    cost = macs(model, (256, 256))
    assert round(cost / 1e9, 1) == 15.4
    assert round(cost / 2**30) == 14


def test_a_picture_that_cannot_be_halved_often_enough_is_refused_with_what_to_give():
    with pytest.raises(ValueError, match=r'codec\.input_size=\(40, 32\).*multiples of 16'):
        build(SMALL)(torch.zeros(1, 3, 32, 40))


def test_a_width_that_the_stem_cannot_divide_is_refused():
    with pytest.raises(ValueError, match=r'StackedHourglass\.feat_channels=6: .*multiple of 4'):
        build(dict(SMALL, feat_channels=6))
