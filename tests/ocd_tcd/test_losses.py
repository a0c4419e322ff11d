"""Cross-representation losses: what a heatmap teaches coordinates and bins."""

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mmpose_kd.ocd_tcd.losses import (
    CrossCoordinateLoss,
    CrossHeatmapLoss,
    cross_coordinates,
    cross_heatmaps,
)
from mmpose_kd.ocd_tcd.reading import decode_heatmaps, render_gaussians
from mmpose_kd.ocd_tcd.simcc_loss import CrossSimCCLoss

from ..helpers.heatmaps import (
    GRIDS,
    INPUT,
    MSRA,
    REGRESSION,
    UDP,
    H,
    W,
    bound,
    codec,
    encode,
    keypoints,
    maps,
    regression_head,
    simcc_head,
)
from ..helpers.upstream import needs_newer_torch

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
        student = decode_heatmaps(heatmaps)[0] * loss.pixel
    if kind == 'bins':
        x, y = loss.teacher(heatmaps).unbind(2)
        student = x[..., :384], y  # the others are no bins of x
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


@needs_newer_torch
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


@needs_newer_torch
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


@needs_newer_torch
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
        *(
            (cls, {name: value}, f'{cls.__name__}.{name}=')
            for cls, name in (
                (CrossCoordinateLoss, 'beta'),
                (CrossSimCCLoss, 'temperature'),
                (CrossHeatmapLoss, 'loss_weight'),
            )
            for value in (float('inf'), float('nan'), '1', True, None, [1.0])
        ),
        *(
            (cls, {name: value}, f'{cls.__name__}.{name}={value!r}: give True or False')
            for cls, name in (
                (CrossSimCCLoss, 'match_width'),
                (CrossCoordinateLoss, 'use_target_weight'),
            )
            for value in ('no', 0, None)
        ),
        (CrossHeatmapLoss, dict(heatmap_codec='MSRAHeatmap'), 'CrossHeatmapLoss.heatmap_codec='),
        (CrossHeatmapLoss, dict(heatmap_codec={}), r'CrossHeatmapLoss.heatmap_codec=\{\}'),
        (
            CrossHeatmapLoss,
            dict(heatmap_codec=REGRESSION),
            'CrossHeatmapLoss.heatmap_codec is a RegressionLabel',
        ),
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


def test_the_heatmaps_codec_is_named_by_its_config_key():
    where = 'model.teachers[1].config: head.decoder'
    with pytest.raises(ValueError, match=r'model.teachers\[1\].config: head.decoder is a Regr'):
        CrossCoordinateLoss().bind(regression_head(), codec(REGRESSION), where)
    message = r'head.decoder=None and CrossCoordinateLoss.heatmap_codec=None: give the codec'
    with pytest.raises(ValueError, match=message):
        CrossCoordinateLoss().bind(regression_head(), None, where)
    CrossCoordinateLoss(heatmap_codec=MSRA).bind(regression_head(), None, where)


def test_a_loss_that_was_never_bound_says_so():
    with pytest.raises(RuntimeError, match='call bind'):
        CrossCoordinateLoss()(torch.rand(1, 1, 2), torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize('kind', ['coordinates', 'bins'])
def test_a_keypoint_counts_by_the_height_of_its_peak_between_0_and_1(kind):
    loss, student = made(kind)
    sure = maps() / maps().amax((2, 3), keepdim=True)
    whole = float(loss(student, sure))
    assert whole > 0
    for height, share in ((1.0, 1), (0.5, 0.5), (0.1, 0.1), (3.0, 1)):
        assert float(loss(student, height * sure)) == pytest.approx(share * whole, rel=1e-4)
    assert float(loss(student, sure - 1.5)) == 0  # peaks below 0 say nothing, not the contrary


@each_loss
def test_what_is_known_of_the_codecs_is_in_no_checkpoint(kind):
    loss, _ = made(kind)
    assert list(loss.state_dict()) == [] and list(loss.parameters()) == []
    assert 'pixel' in dict(loss.named_buffers())  # but goes with the model to its device
