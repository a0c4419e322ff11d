"""SimCC loss: by hand, against MMPose's DWPose loss, masked, one-sided."""

import math

import pytest
import torch
from mmpose.registry import MODELS
from torch import nn

import mmpose_kd  # noqa: F401  (registers everything)
from mmpose_kd.losses.simcc_kl import SimCCKLLoss, simcc_kl

from ..helpers.upstream import needs_dwposes_losses


def logits(seed, batch=2, keypoints=3):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, keypoints, bins, generator=generator) for bins in (6, 8))


def test_a_value_computed_by_hand():
    student = (torch.zeros(1, 1, 2),)  # (1/2, 1/2)
    teacher = (torch.tensor([[[math.log(3.0), 0.0]]]),)  # (3/4, 1/4)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert simcc_kl(student, teacher).item() == pytest.approx(expected, rel=1e-6)
    assert simcc_kl(student * 2, teacher * 2).item() == pytest.approx(2 * expected, rel=1e-6)


@needs_dwposes_losses
def test_it_can_be_dwposes_logit_loss():
    stock = MODELS.build(dict(type='KDLoss', name='', use_this=True, weight=0.1))
    ours = SimCCKLLoss(beta=10.0, use_target_weight=False, loss_weight=0.1)
    weight = torch.tensor([[1.0, 0.0, 1.0]] * 2)
    expected = stock(logits(0), logits(1), 10.0, weight)
    torch.testing.assert_close(ours(logits(0), logits(1), weight), expected)


def test_a_masked_keypoint_costs_nothing_and_all_masked_is_0():
    student = tuple(x.requires_grad_() for x in logits(0))
    weight = torch.tensor([[1.0, 0.0, 1.0]] * 2)
    simcc_kl(student, logits(1), weight).backward()
    for x in student:
        assert (x.grad[:, 1] == 0).all() and (x.grad[:, [0, 2]] != 0).all()
    assert simcc_kl(student, logits(1), torch.zeros(2, 3)) == 0


def test_it_is_zero_at_equality_and_finite_for_huge_logits():
    assert simcc_kl(logits(0), logits(0)).abs() < 1e-7
    student = tuple((1e4 * x).half().requires_grad_() for x in logits(0))
    loss = simcc_kl(student, tuple(1e4 * x for x in logits(1)), beta=10.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(x.grad).all() for x in student)


def test_beta_is_the_students_unless_given():
    class Head(nn.Module):
        loss_module = SimCCKLLoss(beta=4.0)

    loss, fixed = SimCCKLLoss(), SimCCKLLoss(beta=2.0)
    with pytest.raises(ValueError, match=r'SimCCKLLoss.beta=None'):
        loss(logits(0), logits(1))
    with pytest.raises(ValueError, match=r'SimCCKLLoss.beta=None'):
        SimCCKLLoss().bind(nn.Module())
    for one in (loss, fixed):
        one.bind(Head())
    assert (loss.beta, fixed.beta) == (4.0, 2.0)
    torch.testing.assert_close(
        loss(logits(0), logits(1)), simcc_kl(logits(0), logits(1), beta=4.0)
    )


@pytest.mark.parametrize('setting', [dict(beta=0), dict(loss_weight=-1)])
def test_a_wrong_setting_is_named(setting):
    with pytest.raises(ValueError, match=rf'SimCCKLLoss.{next(iter(setting))}='):
        SimCCKLLoss(**setting)
