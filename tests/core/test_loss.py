"""The protocol of a distillation loss: ours, another package's, a user's own."""

import pytest
import torch
from mmpose.registry import MODELS
from torch import nn

from mmpose_kd.core.loss import (
    DistillationLoss,
    softmax_kl,
    sum_of_losses,
    takes_target_weight,
    upcast,
)

from ..helpers.distillers import distiller, gradients
from ..helpers.models import images, samples


def test_the_divergence_is_the_one_of_the_textbook_and_0_at_equality():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 3.0]]).log1p()
    # q_t = (1, 4) / 5, q_s = (1, 1) / 2
    expected = 0.2 * torch.tensor(0.4).log() + 0.8 * torch.tensor(1.6).log()
    torch.testing.assert_close(softmax_kl(student, teacher), expected[None])
    assert softmax_kl(teacher, teacher) == 0


def test_sums_are_taken_in_float32_at_least():
    assert upcast(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert upcast(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_what_is_summed_is_what_mmengine_trains_on():
    losses = dict(loss_kpt=torch.ones(2), acc_pose=torch.tensor(7.0), kd_loss=torch.tensor(3.0))
    assert sum_of_losses(losses) == 5


@pytest.mark.parametrize('settings', [dict(use_target_weight='no'), dict(loss_weight=-1)])
def test_common_settings_are_checked(settings):
    with pytest.raises(ValueError, match=f'DistillationLoss.{next(iter(settings))}='):
        DistillationLoss(**settings)


def test_weights_are_ignored_where_the_setting_says_so():
    weight = torch.ones(1, 2)
    assert DistillationLoss().used(weight) is weight
    assert DistillationLoss(use_target_weight=False).used(weight) is None


class Foreign(nn.Module):
    """As other packages write them: two arguments, and a third with a default of its own."""

    def forward(self, preds_S, preds_T, reduction='mean'):
        return (preds_S - preds_T).abs().mean()


def test_a_loss_of_another_package_works_as_it_is():
    assert not takes_target_weight(Foreign())
    assert takes_target_weight(MODELS.build(dict(type='KeypointMSELoss')))
    MODELS.register_module(name='ForeignLoss', module=Foreign)
    try:
        model = distiller(dict(loss=dict(type='ForeignLoss')))
        losses = model.loss(images(), samples())
        assert losses['loss_distill0'] > 0
        grads = gradients(model, {'loss': losses['loss_distill0']})
        assert grads['student.backbone.conv1.weight'].abs().sum() > 0
    finally:
        MODELS.module_dict.pop('ForeignLoss')
