"""joints_mse: the release's heatmap loss."""

import pytest
import torch
from mmpose.models.losses import KeypointMSELoss

from mmpose_kd.losses.joints_mse import JointsMSELoss, joints_mse


def maps(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)


def test_value_by_hand():
    output = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
    # weight 2: half the mean of (2 * 1)^2 and (2 * 3)^2
    assert float(joints_mse(output, torch.zeros_like(output), torch.tensor([[2.0]]))) == 10


def test_zero_at_equality_and_when_everything_is_masked():
    assert float(joints_mse(maps(0), maps(0))) == 0
    assert float(joints_mse(maps(0), maps(1), torch.zeros(2, 3))) == 0


def test_half_of_mmposes_loss_for_weights_of_zero_and_one():
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    stock = KeypointMSELoss(use_target_weight=True)(maps(0), maps(1), weight)
    assert float(joints_mse(maps(0), maps(1), weight)) == pytest.approx(
        float(stock) / 2, abs=1e-15
    )


def test_the_stock_loss_of_an_export_has_the_same_value():
    ours = JointsMSELoss(loss_weight=3.0)
    config = JointsMSELoss.plain(dict(type='JointsMSELoss', loss_weight=3.0))
    config.pop('type')
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    found = KeypointMSELoss(**config)(maps(0), maps(1), weight)
    assert float(found) == pytest.approx(float(ours(maps(0), maps(1), weight)), abs=1e-15)


def test_an_unlabelled_keypoint_gets_no_gradient():
    output = maps(0).requires_grad_()
    weight = torch.ones(2, 3)
    weight[1, 2] = 0
    joints_mse(output, maps(1), weight).backward()
    assert output.grad[1, 2].abs().max() == 0
    assert output.grad[0, 0].abs().max() > 0


def test_of_an_export_only_this_loss_is_changed_and_all_its_settings_are_kept():
    plain = JointsMSELoss.plain
    stock = dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.5)
    assert plain(dict(type='JointsMSELoss')) == plain(dict(type='mmpose.JointsMSELoss')) == stock
    settings = dict(use_target_weight=False, loss_weight=4.0)
    assert plain(dict(type='JointsMSELoss', **settings)) == dict(
        type='KeypointMSELoss', use_target_weight=False, loss_weight=2.0
    )
    other = dict(type='KeypointOHKMMSELoss', topk=8)
    assert plain(other) is other
    assert plain((dict(type='JointsMSELoss'), other)) == [stock, other]
