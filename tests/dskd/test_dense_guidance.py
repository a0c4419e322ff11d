"""Guided by all at once: the mean over the guides, some of them dropped."""

import pytest
import torch
from mmpose.models.losses import KeypointMSELoss, SmoothL1Loss

from mmpose_kd.dskd.losses import coordinate_smooth_l1, dense_guidance, weighted_mse
from mmpose_kd.dskd.plan import keep_guides

WEIGHT = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def pair(function):
    shape = (2, 3, 4, 5) if function is weighted_mse else (2, 3, 2)
    return rand(*shape), rand(*shape, seed=1)


both = pytest.mark.parametrize('function', [weighted_mse, coordinate_smooth_l1])


def test_the_norm_is_that_of_mmposes_heatmap_loss():
    expected = KeypointMSELoss(use_target_weight=True)(*pair(weighted_mse), WEIGHT)
    assert torch.equal(weighted_mse(*pair(weighted_mse), WEIGHT), expected)


def test_coordinates_are_compared_as_mmpose_does():
    weight = (WEIGHT > 0).float()  # others MMPose weighs inside
    expected = SmoothL1Loss(use_target_weight=True)(*pair(coordinate_smooth_l1), weight[..., None])
    torch.testing.assert_close(coordinate_smooth_l1(*pair(coordinate_smooth_l1), weight), expected)


def test_the_mean_by_hand():
    student = torch.zeros(1, 1, 1, 2)
    losses = [weighted_mse(student, torch.tensor([[[[0.0, x]]]])) for x in (1.0, 3.0)]
    assert [loss.item() for loss in losses] == [0.5, 4.5]
    assert dense_guidance(losses) == 2.5


@both
def test_equal_outputs_cost_nothing_and_no_labels_neither(function):
    student, guide = pair(function)
    assert function(student, student) == 0
    assert function(student, guide) > 0
    assert function(student, guide, torch.zeros(2, 3)) == 0


@both
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(function, dtype):
    student, guide = (300 * x.to(dtype) for x in pair(function))  # squares beyond float16
    loss = function(student.requires_grad_(), guide)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(student.grad).all() and student.grad.abs().sum() > 0


def test_guides_are_dropped_at_random_but_never_all():
    generator = torch.Generator().manual_seed(0)
    kept = torch.tensor([keep_guides(3, 0.3, generator) for _ in range(3000)]).float()
    assert kept.sum(1).min() == 1
    # each alone with 0.3, and a third of the cases in which none was kept
    expected = 0.3 + 0.7**3 / 3
    assert (kept.mean(0) - expected).abs().max() < 0.03
    assert keep_guides(4, 1.0, generator) == [True] * 4


def test_as_many_numbers_are_drawn_whatever_comes_out():
    one, two = (torch.Generator().manual_seed(0) for _ in range(2))
    keep_guides(3, 1.0, one), keep_guides(3, 1e-9, two)
    assert torch.equal(one.get_state(), two.get_state())
