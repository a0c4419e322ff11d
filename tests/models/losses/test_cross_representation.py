"""Cross-representation losses: heatmaps read as coordinates and bins, on the codecs' own grids."""

import numpy as np
import pytest
import torch
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mmpose_kd.codecs import pixel_size
from mmpose_kd.models.losses import CrossCoordinateLoss, CrossHeatmapLoss, CrossSimCCLoss
from mmpose_kd.models.losses.cross_representation import cross_coordinates, cross_heatmaps
from mmpose_kd.models.losses.cross_simcc import cross_simcc
from mmpose_kd.models.losses.heatmap_reading import (
    decode_heatmaps,
    interpolation,
    marginals,
    render_gaussians,
)

W, H = 48, 64
INPUT = (192, 256)
MSRA = dict(type='MSRAHeatmap', input_size=INPUT, heatmap_size=(W, H), sigma=2, unbiased=True)
UDP = dict(type='UDPHeatmap', input_size=INPUT, heatmap_size=(W, H), sigma=2)
GRIDS = pytest.mark.parametrize('grid', [MSRA, UDP], ids=['msra', 'udp'])
REGRESSION = dict(type='RegressionLabel', input_size=INPUT)
SIMCC = dict(type='SimCCLabel', input_size=INPUT, sigma=6.0, simcc_split_ratio=2.0)


def codec(cfg):
    return KEYPOINT_CODECS.build(cfg)


def encode(cfg, xy, name):
    """One target of keypoints (K, 2) in input pixels, as a batch of one."""
    return torch.as_tensor(codec(cfg).encode(np.asarray(xy, dtype=np.float32)[None])[name])


def keypoints(k=40, margin=12, seed=0):
    return np.random.default_rng(seed).uniform(margin, np.array(INPUT) - 1 - margin, (k, 2))


def regression_head(decoder=REGRESSION, **settings):
    return MODELS.build(
        dict(type='RegressionHead', in_channels=4, num_joints=3, decoder=decoder, **settings)
    )


def simcc_head(loss=None, **label):
    return MODELS.build(
        dict(
            type='SimCCHead',
            in_channels=4,
            out_channels=3,
            input_size=INPUT,
            in_featuremap_size=(6, 8),
            deconv_out_channels=None,
            loss=dict(type='KLDiscretLoss', use_target_weight=True, **(loss or {})),
            decoder={**SIMCC, **label},
        )
    )


def bound(loss, head=None, grid=MSRA):
    loss.bind(head or regression_head(), codec(grid))
    return loss


LOSSES = {
    'coordinates': (CrossCoordinateLoss, regression_head),
    'heatmaps': (CrossHeatmapLoss, regression_head),
    'bins': (CrossSimCCLoss, simcc_head),
}
each_loss = pytest.mark.parametrize('kind', LOSSES)


def made(kind, grid=MSRA, **settings):
    """A bound loss, and a student of 3 keypoints whose output has a gradient."""
    cls, head = LOSSES[kind]
    generator = torch.Generator().manual_seed(0)
    if kind == 'bins':
        student = tuple(torch.randn(2, 3, n, generator=generator) for n in (384, 512))
    else:
        student = (torch.rand(2, 3, 2, generator=generator),)
    student = tuple(s.requires_grad_() for s in student)
    return bound(cls(**settings), head(), grid), student if kind == 'bins' else student[0]


def leaves(student):
    return student if isinstance(student, tuple) else (student,)


def maps(seed=0):
    xy = torch.from_numpy(keypoints(6, seed=seed)).float().view(2, 3, 2) / 4
    return render_gaussians(xy, (W, H), 2.0)


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


@GRIDS
@pytest.mark.parametrize('split_ratio', [1.0, 2.0])
def test_marginals_of_a_perfect_heatmap_are_the_simcc_labels(grid, split_ratio):
    """The place to half a bin, which the label is rounded to, and the width."""
    xy = np.round(keypoints())
    label = {**SIMCC, 'simcc_split_ratio': split_ratio}
    loss = bound(CrossSimCCLoss(), simcc_head(simcc_split_ratio=split_ratio), grid)
    taught = [t.softmax(-1) for t in loss.teacher(encode(grid, xy, 'heatmaps')[None])]
    for found, name in zip(taught, ('keypoint_x_labels', 'keypoint_y_labels')):
        expected = encode(label, xy, name)
        expected = expected / expected.sum(-1, keepdim=True)
        bins = torch.arange(found.shape[-1])
        (mean, width), (mean_label, width_label) = (spread(p, bins) for p in (found, expected))
        assert (mean - mean_label).abs().max() < 0.5
        assert torch.allclose(width, width_label, rtol=0.1)


def spread(p, bins):
    mean = (p * bins).sum(-1)
    return mean, (p * (bins - mean[..., None]) ** 2).sum(-1) ** 0.5


def test_labels_that_the_loss_puts_through_a_softmax_are_taught_in_the_same_way():
    """RTMPose's setting: softmax of ten times a Gaussian of height 1."""
    xy = np.array([[96.0, 128.0]])  # on a pixel of both grids
    loss = bound(
        CrossSimCCLoss(), simcc_head(dict(label_softmax=True, label_beta=10.0), normalize=False)
    )
    taught = loss.teacher(encode(MSRA, xy, 'heatmaps')[None])
    for found, name in zip(taught, ('keypoint_x_labels', 'keypoint_y_labels')):
        expected = (10.0 * encode({**SIMCC, 'normalize': False}, xy, name)).softmax(-1)
        assert (found.softmax(-1) - expected).abs().sum() < 0.1  # of 2


def test_without_match_width_the_marginals_keep_the_heatmaps_width():
    loss = bound(CrossSimCCLoss(match_width=False), simcc_head())
    taught = loss.teacher(encode(MSRA, [[96.0, 128.0]], 'heatmaps')[None])[0].softmax(-1)[0, 0]
    bins = torch.arange(384)
    mean = (taught * bins).sum()
    assert float((taught * (bins - mean) ** 2).sum() ** 0.5) == pytest.approx(16, rel=0.02)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('value', [0.0, -1.0, 6e4])
def test_marginals_of_any_map_are_finite(dtype, value):
    matrices = interpolation(W, 384, 8.0), interpolation(H, 512, 8.0)
    found = marginals(torch.full((1, 3, H, W), value, dtype=dtype), matrices, (7.1, 7.1))
    assert all(torch.isfinite(rows).all() and (rows >= 0).all() for rows in found)


# ----------------------------------------------------------------------------------- values


def test_coordinates_by_hand():
    heatmaps = torch.zeros(1, 2, 8, 8)
    heatmaps[0, 0, 4, 2] = 0.5  # half sure
    heatmaps[0, 1, 4, 4] = 1.0
    student = torch.tensor([[[0.5, 0.5], [0.75, 0.5]]])
    pixel = torch.tensor([0.125, 0.125])
    # differences (0.25, 0) and (0.25, 0): (0.5 + 1) * 0.25^2 / 2 over 4 numbers
    found = cross_coordinates(student, heatmaps, pixel)
    assert float(found) == pytest.approx(1.5 * 0.03125 / 4)
    weight = torch.tensor([[1.0, 0.0]])
    assert float(cross_coordinates(student, heatmaps, pixel, weight)) == pytest.approx(
        0.5 * 0.03125 / 4
    )


def test_bins_by_hand():
    student = (torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
    teacher = (torch.tensor([[[3.0, 1.0]]]).log(), torch.zeros(1, 1, 2))
    kl = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    found = cross_simcc(student, teacher, torch.tensor([[0.5]]))
    assert float(found) == pytest.approx(0.5 * kl, rel=1e-5)
    hot = cross_simcc(student, teacher, torch.tensor([[1.0]]), temperature=2.0)
    p = 3**0.5 / (3**0.5 + 1)
    kl = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    assert float(hot) == pytest.approx(4 * kl, rel=1e-5)


def test_heatmaps_by_hand():
    heatmaps = torch.zeros(1, 1, 1, 3)
    student = torch.tensor([[[1 / 3, 0.0]]])
    found = cross_heatmaps(student, heatmaps, torch.tensor([1 / 3, 1.0]), sigma=1.0)
    assert float(found) == pytest.approx((1 + 2 * np.exp(-1)) / 3, rel=1e-5)


@GRIDS
@each_loss
def test_zero_when_the_student_says_the_same(kind, grid):
    loss, _ = made(kind, grid)
    if kind == 'heatmaps':
        student = torch.rand(2, 3, 2)
        heatmaps = render_gaussians(student / loss.pixel, (W, H), 2.0)
    else:
        heatmaps = maps()
        student = loss.teacher(heatmaps) if kind == 'bins' else (
            decode_heatmaps(heatmaps)[0] * loss.pixel
        )  # fmt: skip
    assert float(loss(student, heatmaps)) == pytest.approx(0, abs=1e-9)


@each_loss
def test_an_unlabelled_keypoint_costs_nothing(kind):
    loss, student = made(kind)
    weight = torch.ones(2, 3)
    weight[:, 1] = 0
    first = loss(student, maps(), weight)
    first.backward()
    assert all((s.grad[:, 1] == 0).all() and (s.grad[:, 0] != 0).any() for s in leaves(student))
    other = maps()
    other[:, 1] = maps(seed=1)[:, 1]
    assert torch.equal(loss(student, other, weight), first)
    assert float(loss(student, maps(), torch.zeros(2, 3))) == 0


@pytest.mark.parametrize('kind', ['coordinates', 'bins'])
def test_a_keypoint_that_the_teacher_does_not_see_costs_nothing(kind):
    loss, student = made(kind)
    assert float(loss(student, torch.zeros(2, 3, H, W))) == 0
    assert float(loss(student, 0.25 * maps())) == pytest.approx(
        0.25 * float(loss(student, maps()))
    )


@each_loss
def test_weights_are_ignored_on_demand_and_the_factor_counts(kind):
    loss, student = made(kind)
    plain, weight = float(loss(student, maps())), torch.zeros(2, 3)
    assert float(made(kind, use_target_weight=False)[0](student, maps(), weight)) == plain
    assert float(made(kind, loss_weight=3.0)[0](student, maps())) == pytest.approx(3 * plain)


@each_loss
def test_the_gradient_reaches_the_student_and_not_the_teacher(kind):
    loss, student = made(kind)
    heatmaps = maps().requires_grad_()
    loss(student, heatmaps).backward()
    assert heatmaps.grad is None
    assert all(s.grad.abs().sum() > 0 for s in leaves(student))


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('value', [None, 0.0, -1.0, 6e4])
def test_finite_in_half_precision(kind, dtype, value):
    loss, student = made(kind)
    student = [s.detach().to(dtype).requires_grad_() for s in leaves(student)]
    heatmaps = (maps() if value is None else torch.full((2, 3, H, W), value)).to(dtype)
    if kind == 'heatmaps' and value == 6e4:
        heatmaps = heatmaps / 1e3  # squares of 6e4 are no heatmap's, 60 is enough
    found = loss(tuple(student) if kind == 'bins' else student[0], heatmaps)
    found.backward()
    assert found.dtype == torch.float32 and torch.isfinite(found)
    assert all(torch.isfinite(s.grad).all() for s in student)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_logits_are_multiplied_by_beta_in_single_precision(dtype):
    """Ten times 7000 is more than float16 holds, and bfloat16 has 3 digits."""
    loss = bound(CrossSimCCLoss(), simcc_head(dict(beta=10.0)))
    _, student = made('bins')
    half = [(7000 * s.detach()).to(dtype).requires_grad_() for s in student]
    whole = [s.detach().float().requires_grad_() for s in half]
    found, expected = loss(tuple(half), maps()), loss(tuple(whole), maps())
    assert torch.isfinite(found) and torch.equal(found, expected)
    found.backward(), expected.backward()
    for s, w in zip(half, whole):
        assert torch.equal(s.grad, w.grad.to(dtype)) and s.grad.any()


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_mixed_precision_does_not_touch_the_loss(kind, dtype):
    """Which would make matrix products in half precision."""
    loss, student = made(kind)
    heatmaps = 0.02 * maps() - 0.01  # as early in training
    expected = loss(student, heatmaps)
    with torch.autocast('cpu', dtype):
        found = loss(student, heatmaps)
    assert torch.equal(found, expected)


@each_loss
def test_the_loss_reads_no_value(kind):
    with FakeTensorMode():
        loss, student = made(kind)
        loss(student, maps(), torch.ones(2, 3)).backward()
        with pytest.raises(DataDependentOutputException):
            loss(student, maps()).item()  # so this test can fail


def test_of_rle_only_the_place_is_taught():
    loss, student = made('coordinates')
    four = torch.cat([student.detach(), torch.rand(2, 3, 2)], -1).requires_grad_()
    loss(four, maps()).backward()
    assert (four.grad[..., 2:] == 0).all() and (four.grad[..., :2] != 0).any()
    assert torch.equal(loss(four, maps()), loss(student, maps()))


@GRIDS
@pytest.mark.parametrize('kind', ['IntegralRegressionHead', 'DSNTHead'])
def test_an_integral_head_and_a_heatmap_that_show_one_place_agree(kind, grid):
    """Integral heads have MSRAHeatmap's grid, from 0 to 1 of the input, whatever the teacher's."""
    xy = keypoints(3, margin=30)
    head = MODELS.build(
        dict(
            type=kind,
            in_channels=3,
            in_featuremap_size=(W, H),
            num_joints=3,
            deconv_out_channels=None,
            final_layer=None,
            decoder=dict(
                type='IntegralRegressionLabel', input_size=INPUT, heatmap_size=(W, H), sigma=2.0
            ),
        )
    )
    narrow = encode(MSRA, xy, 'heatmaps')[None].clamp(min=1e-12).log()  # its softmax is the map
    student = head.forward((narrow,))[0]
    loss = bound(CrossCoordinateLoss(), head, grid)
    coords, _ = decode_heatmaps(encode(grid, xy, 'heatmaps')[None])
    assert ((student - coords * loss.pixel) / loss.pixel).abs().max() < 0.1
    assert float(loss(student, encode(grid, xy, 'heatmaps')[None])) < 0.01 * float(
        loss(student + 1 / W, encode(grid, xy, 'heatmaps')[None])
    )


# ----------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('cls', 'settings', 'message'),
    [
        (CrossCoordinateLoss, dict(beta=0), 'CrossCoordinateLoss.beta=0'),
        (CrossSimCCLoss, dict(temperature=0), 'CrossSimCCLoss.temperature=0'),
        (CrossHeatmapLoss, dict(loss_weight=-1), 'CrossHeatmapLoss.loss_weight=-1'),
    ],
)
def test_settings_out_of_range_name_the_key(cls, settings, message):
    with pytest.raises(ValueError, match=message):
        cls(**settings)


def test_a_loss_for_the_other_kind_of_head_is_refused():
    with pytest.raises(ValueError, match='give CrossSimCCLoss'):
        CrossCoordinateLoss().bind(simcc_head(), codec(MSRA))
    with pytest.raises(ValueError, match='give CrossCoordinateLoss or CrossHeatmapLoss'):
        CrossSimCCLoss().bind(regression_head(), codec(MSRA))


def test_the_heatmaps_codec_is_needed_and_must_make_gaussians():
    with pytest.raises(ValueError, match=r'CrossCoordinateLoss\.heatmap_codec=None'):
        CrossCoordinateLoss().bind(regression_head())
    for wrong in ({**UDP, 'heatmap_type': 'combined'}, REGRESSION):
        with pytest.raises(ValueError, match='give MSRAHeatmap, or UDPHeatmap'):
            CrossCoordinateLoss().bind(regression_head(), codec(wrong))
    CrossCoordinateLoss(heatmap_codec=MSRA).bind(regression_head())


def test_a_loss_that_was_never_bound_says_so():
    with pytest.raises(RuntimeError, match='call bind'):
        CrossCoordinateLoss()(torch.rand(1, 1, 2), torch.rand(1, 1, 8, 8))
