"""Feature loss: by hand, against MMPose's DWPose loss, one-sided."""

import pytest
import torch
from mmpose.registry import MODELS

import mmpose_kd  # noqa: F401  (registers everything)
from mmpose_kd.losses.feature_mse import FeatureMSELoss, feature_mse

from ..helpers.upstream import needs_dwposes_losses


def test_a_value_computed_by_hand():
    student = torch.tensor([[[[1.0, 2.0]]], [[[0.0, -1.0]]]])  # (2, 1, 1, 2)
    teacher = torch.tensor([[[[0.0, 4.0]]], [[[3.0, -1.0]]]])  # squares 1, 4, 9, 0
    assert feature_mse(student, teacher) == 14 / 4
    assert feature_mse(student, teacher, 'batch') == 14 / 2
    assert FeatureMSELoss(loss_weight=2.0)(student, teacher) == 7


@needs_dwposes_losses
def test_it_can_be_dwposes_feature_loss():
    stock = MODELS.build(
        dict(type='FeaLoss', name='', use_this=True, student_channels=8, teacher_channels=8)
    )
    student, teacher = torch.rand(3, 8, 4, 5), torch.rand(3, 8, 4, 5)
    ours = FeatureMSELoss(divisor='batch', loss_weight=0.00007)
    torch.testing.assert_close(ours(student, teacher), stock(student, teacher))


def test_it_is_zero_at_equality_and_its_gradient_reaches_the_student():
    same = torch.rand(2, 3, 4, 4)
    assert feature_mse(same, same.clone()) == 0
    student = torch.rand(2, 3, 4, 4, requires_grad=True)
    feature_mse(student, same).backward()
    torch.testing.assert_close(student.grad, 2 * (student.detach() - same) / same.numel())


@pytest.mark.parametrize('setting', [dict(divisor='sum'), dict(loss_weight=-1)])
def test_a_wrong_setting_is_named(setting):
    with pytest.raises(ValueError, match=rf'FeatureMSELoss.{next(iter(setting))}='):
        FeatureMSELoss(**setting)
