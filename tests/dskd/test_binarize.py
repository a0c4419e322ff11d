"""Bits of heatmaps: what is near the peak, and nothing where there is no peak."""

import math

import pytest
import torch

from mmpose_kd.dskd.guidance import (
    binarize,
    denoise,
    guide_maps,
    has_peak,
    peak_bits,
    peak_distribution,
)


def gaussian(height=64, width=48, x=20.0, y=30.0, sigma=2.0, peak=1.0):
    gy, gx = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    return (peak * torch.exp(-((gx - x) ** 2 + (gy - y) ** 2) / (2 * sigma**2)))[None, None]


def test_half_of_the_peak_leaves_21_pixels_of_a_gaussian_of_sigma_2():
    bits = binarize(gaussian())
    assert bits.sum() == 21 and set(bits.unique().tolist()) == {0, 1}
    assert round((64 * 48 - 21) / 21) == 145  # negatives to a positive


def test_the_threshold_is_relative_to_the_peak_and_the_floor_is_not():
    low = gaussian(peak=0.2)
    assert torch.equal(binarize(low), binarize(gaussian()))
    assert binarize(gaussian(peak=0.09)).sum() == 0
    assert binarize(gaussian(peak=0.09), floor=0.05).sum() == 21


def test_bits_by_hand():
    maps = torch.tensor([[[[1.0, 0.5], [0.49, -3.0]], [[0.05, 0.0], [0.0, 0.0]]]])
    assert binarize(maps).tolist() == [[[[1, 1], [0, 0]], [[0, 0], [0, 0]]]]
    assert denoise(maps).tolist() == [[[[1, 0.5], [0, 0]], [[0, 0], [0, 0]]]]
    assert guide_maps(maps, 'raw') is maps
    assert torch.equal(guide_maps(maps, 'hard'), binarize(maps))


def test_a_map_has_a_peak_where_its_bits_are_not_all_0():
    maps = torch.tensor([[[[1.0, 0.5]], [[0.09, 0.0]], [[0.1, -3.0]]]])
    assert has_peak(maps).tolist() == [[1, 0, 1]]
    assert has_peak(maps, floor=0.05).tolist() == [[1, 1, 1]]
    assert torch.equal(has_peak(maps), binarize(maps).amax((2, 3)))


def test_a_denoised_map_keeps_the_shape_of_its_peak():
    maps = gaussian(x=20.3) + 0.1 * gaussian(x=40.0, y=5.0)
    clean = denoise(maps)
    assert torch.equal(clean[clean > 0], maps[binarize(maps) > 0])
    assert clean[..., :10, 35:].sum() == 0


def test_broken_values_outside_the_peak_do_not_come_back():
    maps = gaussian()
    maps[..., 0, 0] = -torch.inf
    assert torch.isfinite(denoise(maps)).all()


def test_the_peak_alone_is_one_pixel_or_none():
    maps = torch.stack([torch.tensor([[0.0, 2.0], [2.0, 1.0]]), torch.full((2, 2), 0.01)])[None]
    bits = peak_bits(maps)
    assert bits.sum((2, 3)).tolist() == [[1, 0]]
    assert bits[0, 0].flatten()[maps[0, 0].argmax()] == 1


def test_the_spread_of_a_peak_by_hand():
    maps = torch.tensor([[[[0.0, 0.2], [1.0, 0.0]], [[0.09, 0.0], [0.0, 0.0]]]])
    found = peak_distribution(maps, kappa=10.0, floor=0.1)
    e = torch.tensor([[1.0, math.exp(2)], [math.exp(10), 1.0]])
    torch.testing.assert_close(found[0, 0], e / e.sum())
    assert found[0, 1].abs().sum() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_gives_the_same_bits(dtype):
    assert binarize(gaussian().to(dtype)).dtype == dtype
    assert torch.equal(binarize(gaussian().to(dtype)).float(), binarize(gaussian()))
