"""OKDHP's loss: the formula written out, the presets, and how strongly the KL pulls."""

import math

import pytest
import torch
from mmengine.logging import MessageHub

from ..helpers.models import HRNET, K, build, images, okdhp_config, randomize, samples, total
from ..helpers.okdhp import CONSTANT, train_losses


def by_hand(head, heatmaps, attention, sample_list, alpha, beta, ramp, loss_form):
    """Total loss of the paper in plain loops over samples, keypoints and branches."""
    target = torch.stack([s.gt_fields.heatmaps for s in sample_list])
    weight = torch.cat([s.gt_instance_labels.keypoint_weights for s in sample_list])
    batch, _, height, width = target.shape
    ensemble = torch.zeros_like(target)
    for t, maps in enumerate(heatmaps):
        for b in range(batch):
            for k in range(K):
                ensemble[b, k] += attention[b, t, k] * maps[b, k]

    def mse(maps):
        sum_ = 0.0
        for b in range(batch):
            for k in range(K):
                w = float(weight[b, k])
                error = ((maps[b, k] - target[b, k]) ** 2).sum()
                sum_ += float(0.5 * w * w * error if loss_form == 'released' else w * error)
        return sum_ / (batch * K * height * width)

    def kl(maps):
        tau = head.kd_loss.temperature
        sum_ = 0.0
        for b in range(batch):
            for k in range(K):
                s = (maps[b, k] / tau).exp() / (maps[b, k] / tau).exp().sum()
                m = (ensemble[b, k] / tau).exp() / (ensemble[b, k] / tau).exp().sum()
                sum_ += float(weight[b, k] * (m * (m.log() - s.log())).sum())
        count = batch * height * width
        return tau**2 * sum_ / (count if head.kd_loss.divisor == 'positions' else count * K)

    return (
        sum(mse(maps) for maps in heatmaps)
        + alpha * mse(ensemble)
        + beta * ramp * sum(kl(maps) for maps in heatmaps)
    )


@pytest.mark.parametrize('form', ['light', 'released', 'paper'])
@pytest.mark.parametrize('preset', ['default', 'released'])
def test_total_loss_equals_the_formula_written_out(form, preset):
    config = okdhp_config(HRNET, 'stage3', preset=preset, fau=dict(type='FAU', form=form))
    config['head'].update(ensemble_weight=0.7, kd_loss=dict(loss_weight=2.5))
    if preset == 'released':
        config['head']['head']['loss'] = dict(type='JointsMSELoss')
    model = randomize(build(config).double()).train()
    x, batch = images(dtype=torch.float64), samples(dtype=torch.float64)
    found = total(model.loss(x, batch))
    feats = model.extract_feat(x)
    with torch.no_grad():
        heatmaps = [branch(feats) for branch in model.head.branches]
        attention = model.head.fau.attention(feats.steps['stem'])
        epochs = 90 if preset == 'released' else 0.6  # outside a Runner: epoch 0 of 1
        assert model.head.kd_schedule.epochs == epochs
        expected = by_hand(model.head, heatmaps, attention, batch, 0.7, 2.5, math.exp(-5), preset)
    assert float(found.detach()) == pytest.approx(expected, abs=1e-10)


def test_released_preset_has_the_numbers_of_the_release():
    head = build(okdhp_config(preset='released')).head
    assert head.ensemble_weight == 1 and head.kd_loss.loss_weight == 2
    assert head.kd_loss.temperature == 1 and head.kd_loss.divisor == 'positions'
    assert not head.detach_ensemble
    assert head.kd_schedule.factor(45, 150) == pytest.approx(math.exp(-5 * 0.25))


def test_a_detached_ensemble_is_a_constant_in_the_kl():
    def kd_gradient(detach):
        model = build(okdhp_config(detach_ensemble=detach, kd_schedule=CONSTANT))
        randomize(model).train()
        model.loss(images(), samples())['loss_kd'].backward()
        return model.head.fau.attend.weight.grad

    assert kd_gradient(True) is None
    assert kd_gradient(False).abs().max() > 0


def kl_share(preset, k):
    """The KL's gradient at the heatmaps over the task loss's, for one made-up situation."""
    head = build(okdhp_config(HRNET, 'stage3', preset=preset), init=False).head
    target = torch.stack([s.gt_fields.heatmaps for s in samples(k=k)])
    # a branch that is a bit off, and an ensemble that is nearly right
    maps = (0.6 * target.roll(1, -1)).requires_grad_()
    weight = torch.ones(2, k)
    losses = (
        head.branches[0].head.loss_module(maps, target, weight),
        head.kd_loss(maps, 0.8 * target, weight),
    )
    task, kd = (torch.autograd.grad(loss, maps)[0].norm() for loss in losses)
    return float(kd / task)


def test_the_default_kl_distils_far_more_than_the_released_one():
    assert kl_share('default', 17) > 10 * kl_share('released', 17)
    assert kl_share('default', 17) > 0.1


def test_the_kl_pulls_equally_whatever_the_number_of_keypoints():
    assert kl_share('default', 133) == pytest.approx(kl_share('default', 17), rel=0.1)


def test_ramp_up_follows_the_epoch_of_the_run():
    model = randomize(build(okdhp_config(kd_schedule=dict(type='ramp_up', epochs=10)))).train()
    hub = MessageHub.get_current_instance()

    def kd(epoch):
        hub.update_info('max_epochs', 20)
        hub.update_info('epoch', epoch)
        return float(model.loss(images(), samples())['loss_kd'].detach())

    try:
        start, middle, end = kd(0), kd(5), kd(10)
    finally:
        hub.runtime_info.pop('epoch')
        hub.runtime_info.pop('max_epochs')
    assert start / end == pytest.approx(math.exp(-5), rel=1e-4)
    assert middle / end == pytest.approx(math.exp(-1.25), rel=1e-4)


def test_a_schedule_without_a_type_keeps_the_ramp():
    head = build(okdhp_config(kd_schedule=dict(epochs=90)), init=False).head
    assert head.kd_schedule.factor(0, 150) == pytest.approx(math.exp(-5))
    assert head.kd_schedule.factor(90, 150) == 1


def test_mean_ensemble_without_fau():
    model = randomize(build(okdhp_config(fau=None))).eval()
    feats = model.extract_feat(images())
    heatmaps = model.head.forward_branches(feats)
    ensemble, attention = model.head.forward_ensemble(feats, heatmaps)
    torch.testing.assert_close(ensemble, sum(heatmaps) / 3)
    assert attention.unique().tolist() == pytest.approx([1 / 3])


def test_fau_can_read_a_later_step():
    model = randomize(build(okdhp_config(HRNET, 'stage3', fau_input='stage2')))
    assert model.head.fau.kernels[0][0].in_channels == 4
    assert torch.isfinite(total(train_losses(model)))
