"""CrossSimCCLoss: a heatmap's marginals teach what the SimCC label would."""

import numpy as np
import pytest
import torch

from mmpose_kd.core.loss import softmax_kl
from mmpose_kd.ocd_tcd.simcc_loss import CrossSimCCLoss, cross_simcc, logits_of_both

from ..helpers.heatmaps import (
    GRIDS,
    MSRA,
    SIMCC,
    bound,
    codec,
    encode,
    keypoints,
    maps,
    simcc_head,
)


@GRIDS
@pytest.mark.parametrize('split_ratio', [1.0, 2.0])
def test_marginals_of_a_perfect_heatmap_are_the_simcc_labels(grid, split_ratio):
    """The place to half a bin, which the label is rounded to, and the width."""
    xy = np.round(keypoints())
    label = {**SIMCC, 'simcc_split_ratio': split_ratio}
    loss = bound(CrossSimCCLoss(), simcc_head(simcc_split_ratio=split_ratio), grid)
    heatmaps = encode(grid, xy, 'heatmaps')[None]
    taught = [t.softmax(-1) for t in axes(loss.teacher(heatmaps), split_ratio)]
    for found, name in zip(taught, ('keypoint_x_labels', 'keypoint_y_labels')):
        expected = encode(label, xy, name)
        expected = expected / expected.sum(-1, keepdim=True)
        bins = torch.arange(found.shape[-1])
        (mean, width), (mean_label, width_label) = (spread(p, bins) for p in (found, expected))
        assert (mean - mean_label).abs().max() < 0.5
        assert torch.allclose(width, width_label, rtol=0.1)


def axes(taught, split_ratio=2.0):
    """Of x and y what is taught, without the bins that an axis does not have."""
    return [taught[:, :, i, : int(n * split_ratio)] for i, n in enumerate((192, 256))]


@pytest.mark.parametrize('bins', [(6, 8), (8, 6), (7, 7)])
def test_both_axes_together_are_taught_as_each_alone(bins):
    """To the last digits of float32: sums are made in another order."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        [torch.randn(2, 3, n, generator=generator).requires_grad_() for n in bins]
        for _ in range(2)
    )
    weight = torch.rand(2, 3, generator=generator)
    kl = sum(softmax_kl(3.0 * s, t) for s, t in zip(student, teacher))
    expected = (kl * weight).mean()
    wanted = torch.autograd.grad(expected, student)
    found = cross_simcc(student, logits_of_both(*teacher).detach(), weight, beta=3.0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, student), wanted)


def spread(p, bins):
    mean = (p * bins).sum(-1)
    return mean, (p * (bins - mean[..., None]) ** 2).sum(-1) ** 0.5


def test_labels_that_the_loss_puts_through_a_softmax_are_taught_in_the_same_way():
    """RTMPose's setting: softmax of ten times a Gaussian of height 1."""
    xy = np.array([[96.0, 128.0]])  # on a pixel of both grids
    loss = bound(
        CrossSimCCLoss(), simcc_head(dict(label_softmax=True, label_beta=10.0), normalize=False)
    )
    taught = axes(loss.teacher(encode(MSRA, xy, 'heatmaps')[None]))
    for found, name in zip(taught, ('keypoint_x_labels', 'keypoint_y_labels')):
        expected = (10.0 * encode({**SIMCC, 'normalize': False}, xy, name)).softmax(-1)
        assert (found.softmax(-1) - expected).abs().sum() < 0.1  # of 2


def test_a_loss_of_mmpose_1_1_has_one_beta_for_logits_and_labels():
    head = simcc_head(dict(label_softmax=True, beta=4.0, label_beta=4.0), normalize=False)
    heatmaps = encode(MSRA, np.array([[96.0, 128.0]]), 'heatmaps')[None]
    expected = bound(CrossSimCCLoss(), head).teacher(heatmaps)
    del head.loss_module.label_beta
    assert torch.equal(bound(CrossSimCCLoss(), head).teacher(heatmaps), expected)


def test_without_match_width_the_marginals_keep_the_heatmaps_width():
    loss = bound(CrossSimCCLoss(match_width=False), simcc_head())
    taught = axes(loss.teacher(encode(MSRA, [[96.0, 128.0]], 'heatmaps')[None]))[0]
    taught = taught.softmax(-1)[0, 0]
    bins = torch.arange(384)
    mean = (taught * bins).sum()
    assert float((taught * (bins - mean) ** 2).sum() ** 0.5) == pytest.approx(16, rel=0.02)


def test_bins_by_hand():
    student = (torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
    teacher = torch.tensor([[[[3.0, 1.0], [1.0, 1.0]]]]).log()
    kl = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    found = cross_simcc(student, teacher, torch.tensor([[0.5]]))
    assert float(found) == pytest.approx(0.5 * kl, rel=1e-5)
    hot = cross_simcc(student, teacher, torch.tensor([[1.0]]), temperature=2.0)
    p = 3**0.5 / (3**0.5 + 1)
    kl = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    assert float(hot) == pytest.approx(4 * kl, rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_logits_are_multiplied_by_beta_in_single_precision(dtype):
    """Ten times 7000 is more than float16 holds, and bfloat16 has 3 digits."""
    loss = bound(CrossSimCCLoss(), simcc_head(dict(beta=10.0)))
    generator = torch.Generator().manual_seed(0)
    student = [torch.randn(2, 3, n, generator=generator) for n in (384, 512)]
    half = [(7000 * s).to(dtype).requires_grad_() for s in student]
    whole = [s.detach().float().requires_grad_() for s in half]
    found, expected = loss(tuple(half), maps()), loss(tuple(whole), maps())
    assert torch.isfinite(found) and torch.equal(found, expected)
    found.backward(), expected.backward()
    for s, w in zip(half, whole):
        assert torch.equal(s.grad, w.grad.to(dtype)) and s.grad.any()


def test_a_normalised_label_is_taught_at_the_height_that_it_has():
    """Of a Gaussian that sums to 1 the height is 1 / (sigma sqrt(2 pi)), before the softmax."""
    sigma, label_beta = (6.0, 4.0), 10.0
    head = simcc_head(dict(label_softmax=True, label_beta=label_beta), normalize=True, sigma=sigma)
    heatmaps = encode(MSRA, [[96.0, 128.0]], 'heatmaps')[None]
    taught = axes(bound(CrossSimCCLoss(), head).teacher(heatmaps))
    label = codec({**SIMCC, 'normalize': True, 'sigma': sigma}).encode(
        np.array([[[96.0, 128.0]]], dtype=np.float32)
    )
    for found, s, axis in zip(taught, sigma, 'xy'):
        height = label_beta / (s * (2 * np.pi) ** 0.5)
        assert float(found.amax()) == pytest.approx(height, rel=0.02)
        assert float(found.amax()) == pytest.approx(
            label_beta * float(label[f'keypoint_{axis}_labels'].max()), rel=0.02
        )


def test_beta_multiplies_the_students_logits_and_not_the_teachers():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        tuple(torch.randn(2, 3, n, generator=generator) for n in (6, 8)) for _ in range(2)
    )
    teacher = logits_of_both(*teacher)
    confidence = torch.rand(2, 3, generator=generator)
    found = cross_simcc(student, teacher, confidence, beta=3.0, temperature=2.0)
    thrice = tuple(3 * s for s in student)
    torch.testing.assert_close(found, cross_simcc(thrice, teacher, confidence, temperature=2.0))
    assert (found - cross_simcc(student, teacher, confidence, temperature=2.0)).abs() > 0.1


def test_beta_is_that_of_the_heads_loss():
    generator = torch.Generator().manual_seed(0)
    student = tuple(torch.randn(2, 3, n, generator=generator) for n in (384, 512))
    one, ten = (bound(CrossSimCCLoss(), simcc_head(dict(beta=b))) for b in (1.0, 10.0))
    assert (one.beta, ten.beta) == (1, 10)
    found = ten(student, maps())
    torch.testing.assert_close(found, one(tuple(10 * s for s in student), maps()))
    assert found != one(student, maps())
