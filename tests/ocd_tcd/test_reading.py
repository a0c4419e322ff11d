"""Heatmaps read as coordinates and along each axis, on the codecs' own grids."""

import numpy as np
import pytest
import torch

from mmpose_kd.ocd_tcd.reading import (
    Window,
    both_axes,
    decode_heatmaps,
    interpolation,
    marginals,
    pixel_size,
    render_gaussians,
)

from ..helpers.heatmaps import GRIDS, MSRA, REGRESSION, UDP, H, W, codec, encode, keypoints

# ------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize('sigma', [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize('height', [1.0, 0.05])
def test_a_gaussian_is_found_to_a_tenth_of_a_pixel(sigma, height):
    x, y = torch.meshgrid(torch.linspace(9, 11, 21), torch.linspace(20, 21, 11), indexing='ij')
    places = torch.stack([x.flatten(), y.flatten()], -1)[None]
    coords, peaks = decode_heatmaps(height * render_gaussians(places, (W, H), sigma))
    assert (coords - places).abs().max() < 0.1
    assert (peaks <= height).all() and (peaks > 0.7 * height).all()


@GRIDS
def test_decoded_coordinates_are_the_codecs_own(grid):
    """A keypoint encoded by both codecs: read from the heatmap it is the regression label."""
    xy = keypoints()
    heatmaps = encode(grid, xy, 'heatmaps')[None]
    labels = encode(REGRESSION, xy, 'keypoint_labels')
    coords, peaks = decode_heatmaps(heatmaps)
    pixel = torch.tensor(pixel_size(codec(grid)))
    assert ((coords * pixel - labels) / pixel).abs().max() < 0.1
    assert (peaks > 0.9).all()


@GRIDS
def test_the_other_grid_would_be_wrong(grid):
    """So the test above tells the grids apart."""
    xy = np.array([[170.0, 230.0]])
    labels = encode(REGRESSION, xy, 'keypoint_labels')
    coords, _ = decode_heatmaps(encode(grid, xy, 'heatmaps')[None])
    other = torch.tensor(pixel_size(codec(UDP if grid is MSRA else MSRA)))
    assert ((coords * other - labels) / other).abs().max() > 0.3


@pytest.mark.parametrize('x', [0, 1, 2, W - 1])
@pytest.mark.parametrize('y', [0, 1, H - 2, H - 1])
def test_a_peak_on_a_pixel_at_the_border_stays_there(x, y):
    coords, _ = decode_heatmaps(render_gaussians(torch.tensor([[[x, y]]]).float(), (W, H), 2.0))
    assert torch.allclose(coords, torch.tensor([[[x, y]]]).float(), atol=1e-5)


@pytest.mark.parametrize('where', [0.3, 1.3, W - 1.3])
def test_a_peak_near_the_border_is_found_to_half_a_pixel(where):
    places = torch.tensor([[[where, 30.0]]])
    coords, _ = decode_heatmaps(render_gaussians(places, (W, H), 2.0))
    assert (coords - places).abs().max() <= 0.5


def test_background_does_not_draw_the_place():
    places = torch.tensor([[[10.3, 20.6]]])
    noisy = render_gaussians(places, (W, H), 2.0) + 0.1
    noisy[..., 23, 13] -= 0.5  # a hole, below 0 after it
    coords, _ = decode_heatmaps(noisy)
    assert (coords - places).abs().max() < 0.2


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('kind', ['zero', 'negative', 'huge', 'tiny'])
def test_any_map_gives_finite_places_inside_it(dtype, kind):
    value = dict(zero=0.0, negative=-3.0, huge=6e4, tiny=1e-7)[kind]
    coords, peaks = decode_heatmaps(torch.full((2, 3, H, W), value, dtype=dtype))
    assert torch.isfinite(coords).all() and torch.isfinite(peaks).all()
    assert (coords >= 0).all() and (coords <= torch.tensor([W - 1, H - 1])).all()


def test_decoding_reads_no_value_and_has_no_gradient():
    coords, peaks = decode_heatmaps(torch.zeros(2, 3, H, W, device='meta', requires_grad=True))
    assert coords.shape == (2, 3, 2) and peaks.shape == (2, 3)
    assert not coords.requires_grad and not peaks.requires_grad


# -------------------------------------------------------------------------------- marginals


def test_interpolation_is_exact_for_parabolas_and_hits_the_pixels():
    matrix = interpolation(12, 80, 8.0).double()
    pixels = torch.arange(12.0, dtype=torch.float64)
    bins = torch.arange(80.0, dtype=torch.float64) / 8
    inside = (bins >= 1) & (bins < 10)
    assert torch.allclose((matrix @ pixels**2)[inside], bins[inside] ** 2, atol=1e-5)
    assert torch.allclose((matrix @ pixels**2)[::8], pixels[:10] ** 2)
    beyond = interpolation(12, 96, 8.0)[89:]
    assert torch.equal(beyond, torch.eye(12)[-1].expand(7, -1))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('value', [0.0, -1.0, 6e4])
def test_marginals_of_any_map_are_finite(dtype, value):
    to_bins = both_axes(interpolation(W, 384, 8.0), interpolation(H, 512, 8.0))
    power = torch.full((2, 1), 7.1)
    found = marginals(torch.full((1, 3, H, W), value, dtype=dtype), to_bins, power)
    assert torch.isfinite(found).all() and (found >= 0).all()


def test_both_axes_are_read_as_each_alone():
    maps = torch.rand(2, 3, H, W, generator=torch.Generator().manual_seed(0))
    matrices = interpolation(W, 384, 8.0), interpolation(H, 512, 8.0)
    found = marginals(maps, both_axes(*matrices), torch.tensor([[1.0], [2.0]]))
    for axis, (matrix, power) in enumerate(zip(matrices, (1, 2))):
        rows = (maps.sum(2 + axis) @ matrix.T).clamp(min=0)
        expected = (rows / rows.amax(-1, keepdim=True)).pow(power)
        torch.testing.assert_close(found[:, :, axis, : len(matrix)], expected)
        assert not found[:, :, axis, len(matrix) :].any()


def test_the_window_at_each_pixel_is_what_lies_on_both_sides_of_it():
    window = Window.of(H, W)
    x, y = 1, 20  # one pixel from the left border
    row = y * W + x
    assert window.places[row].tolist() == [x, y]
    steps = window.moments[window.inside[row], 1:]
    assert sorted({int(s) for s in steps[:, 0]}) == [-1, 0, 1]
    assert sorted({int(s) for s in steps[:, 1]}) == list(range(-3, 4))
    numbers = window.around[row][window.inside[row]]
    assert torch.equal(torch.stack([numbers % W, numbers // W], -1) - window.places[row], steps)
