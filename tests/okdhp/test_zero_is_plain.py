"""OKDHP with all weights 0 is plain training, to the last bit."""

import pytest
import torch

from ..helpers.models import (
    BACKBONES,
    HOURGLASS,
    HRNET,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
)
from ..helpers.okdhp import OFF, deployed_gradients, share_weights, train_losses

# the last split of each backbone, and with the slow tests the others
PAIRS = [
    pytest.param(name, split, marks=[pytest.mark.slow] * (split not in ('stack2', 'end')))
    for name in BACKBONES
    for split in (('stem', 'stack2') if 'Hourglass' in name else ('stem', 'stage2', 'end'))
]


@pytest.mark.parametrize(('name', 'split'), PAIRS)
def test_one_branch_with_weights_zero_is_the_plain_model_to_the_last_bit(name, split):
    backbone = BACKBONES[name]
    ours = randomize(build(okdhp_config(backbone, split, num_branches=1, **OFF)))
    plain = build(plain_config(backbone))
    share_weights(plain, ours)
    expected, found = train_losses(plain), train_losses(ours)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    gradients = deployed_gradients(ours)
    for name, p in plain.named_parameters():
        assert torch.equal(p.grad, gradients[name]), name
        assert p.grad.abs().max() > 0, name


def test_with_weights_zero_each_tail_learns_as_a_plain_one_and_the_trunk_gets_the_sum():
    ours = randomize(build(okdhp_config(HRNET, 'stage2', num_branches=3, **OFF)).double())
    train_losses(ours, torch.float64)
    summed = {}
    for t in range(3):
        plain = build(plain_config(HRNET)).double()
        share_weights(plain, ours, t)
        train_losses(plain, torch.float64)
        gradients = deployed_gradients(ours, t)
        for name, p in plain.named_parameters():
            if 'backbone.' + name.partition('.')[2] in ours.state_dict():
                summed[name] = summed.get(name, 0) + p.grad
            else:
                assert torch.equal(p.grad, gradients[name]), name
    assert summed
    for name, grad in summed.items():
        torch.testing.assert_close(grad, ours.get_parameter(name).grad, rtol=1e-6, atol=1e-12)


def test_with_weights_zero_the_fau_is_out_of_training():
    ours = build(okdhp_config(num_branches=2, **OFF))
    losses = train_losses(ours)
    assert not any(p.requires_grad for p in ours.head.fau.parameters())
    assert 'loss_kd' not in losses


def test_with_weights_zero_each_hourglass_branch_learns_as_a_plain_one():
    """Shared stacks have their own loss, once: tails equal to the bit, the trunk is the sum."""
    ours = randomize(build(okdhp_config(HOURGLASS, 'stack1', num_branches=2, **OFF)).double())
    train_losses(ours, torch.float64)
    summed = {}
    for t in range(2):
        plain = build(plain_config(HOURGLASS)).double()
        share_weights(plain, ours, t)
        plain.train()
        maps = plain.head(plain.extract_feat(images(dtype=torch.float64)))
        sample_list = samples(dtype=torch.float64)
        target = torch.stack([s.gt_fields.heatmaps for s in sample_list])
        weight = torch.cat([s.gt_instance_labels.keypoint_weights for s in sample_list])
        own = maps if t == 0 else maps[1:]
        sum(plain.head.loss_module(m, target, weight) for m in own).backward()
        gradients = deployed_gradients(ours, t)
        shared = [f'backbone.{n}' for n, _ in ours.backbone.named_parameters()]
        for name, p in plain.named_parameters():
            if name in shared:
                summed[name] = summed.get(name, 0) + p.grad
            elif p.grad is not None:
                assert torch.equal(p.grad, gradients[name]), name
    assert summed
    for name, grad in summed.items():
        torch.testing.assert_close(grad, ours.get_parameter(name).grad, rtol=1e-6, atol=1e-12)
