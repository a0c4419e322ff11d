"""PKD's loss: the correlation of each channel, and what it does not see."""

import pytest
import torch
from mmpose.registry import MODELS

from mmpose_kd.pkd import pearson_distance

from ..helpers.distillers import distiller, gradients
from ..helpers.models import images, samples


def features(seed=0):
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))


def test_it_is_one_minus_the_mean_correlation_of_the_channels():
    one, two = features(), features(1)
    r = [torch.corrcoef(torch.stack([one[:, c].flatten(), two[:, c].flatten()]))[0, 1]
         for c in range(4)]  # fmt: skip
    expected = 1 - torch.stack(r).mean()
    torch.testing.assert_close(pearson_distance(one, two), expected, rtol=1e-5, atol=1e-5)


def test_size_and_offset_of_a_channel_do_not_count():
    scale, shift = torch.tensor([1.0, 2.0, 30.0, 0.1]), torch.tensor([0.0, -5.0, 3.0, 9.0])
    other = features() * scale[:, None, None] + shift[:, None, None]
    assert pearson_distance(features(), other) < 1e-5
    torch.testing.assert_close(pearson_distance(features(), -other), torch.tensor(2.0))


def test_a_constant_channel_is_finite_with_its_gradient():
    flat = torch.ones(2, 3, 4, 4, requires_grad=True)
    loss = pearson_distance(flat, features()[:2, :3, :4, :4])
    loss.backward()
    assert loss.isfinite() and flat.grad.isfinite().all()


def test_in_a_distiller_it_teaches_the_student_through_the_named_feature():
    entry = dict(loss=dict(type='PearsonFeatureLoss', loss_weight=2.0))
    entry.update(student='head.deconv_layers', teacher='backbone[-1]', resize='corners')
    entry['adapter'] = dict(type='Conv2d', in_channels=8, out_channels=4, kernel_size=1)
    model = distiller(entry)
    losses = model.loss(images(), samples())
    grads = gradients(model, {'loss': losses['loss_distill0']})
    assert 0 < losses['loss_distill0'] < 4
    assert grads['student.backbone.conv1.weight'].abs().sum() > 0
    assert grads['student.head.final_layer.weight'] is None  # behind the feature


def test_a_wrong_weight_is_refused_by_its_key():
    with pytest.raises(ValueError, match=r'PearsonFeatureLoss.loss_weight=-1: give a number, 0'):
        MODELS.build(dict(type='PearsonFeatureLoss', loss_weight=-1))
