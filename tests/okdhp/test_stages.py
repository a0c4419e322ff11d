"""OKDHP on a stacked hourglass, whose every stack predicts."""

import numpy as np
import pytest
import torch
from mmpose.models.necks import FeatureMapProcessor  # noqa: F401
from mmpose.registry import MODELS

from ..helpers.models import (
    HOURGLASS,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
    total,
)
from ..helpers.okdhp import CONSTANT, OFF, predictions, share_weights, train_losses, unbalanced


def test_every_stage_is_supervised_and_distilled():
    """The total written out: the last maps make the ensemble, all of them learn from it."""
    model = randomize(build(unbalanced(kd_schedule=CONSTANT)).double()).eval()
    head, sample_list = model.head, samples(dtype=torch.float64)
    with torch.no_grad():
        losses = model.loss(images(dtype=torch.float64), sample_list)
        feats = model.extract_feat(images(dtype=torch.float64))
        nets = [build(plain_config(dict(HOURGLASS, num_stacks=n))).double() for n in (3, 4, 5)]
        for t, net in enumerate(nets):
            net.load_state_dict(head.deployed(t).state_dict(model.state_dict()), strict=True)
        maps = [net.eval().head(net.extract_feat(images(dtype=torch.float64))) for net in nets]
        assert [len(m) for m in maps] == [3, 4, 5]
        attention = head.fau.attention(feats.steps['stem'])
        ensemble = sum(attention[:, t, :, None, None] * maps[t][-1] for t in range(3))
        target = torch.stack([s.gt_fields.heatmaps for s in sample_list])
        weight = torch.cat([s.gt_instance_labels.keypoint_weights for s in sample_list])
        outputs = [*maps[0][:2], *(m for net_maps in maps for m in net_maps[2:])]
        assert len(outputs) == 2 + 1 + 2 + 3
        task = nets[0].head.loss_module
        expected = (
            sum(task(m, target, weight) for m in outputs)
            + task(ensemble, target, weight)
            + sum(head.kd_loss(m, ensemble, weight) for m in outputs)
        )
    torch.testing.assert_close(total(losses), expected, rtol=1e-12, atol=0)
    stock = nets[0].loss(images(dtype=torch.float64), sample_list)['loss_kpt']
    assert torch.equal(losses['loss_kpt'], stock.detach())


def test_shared_stacks_final_layers_live_once():
    names = [n for n, _ in build(unbalanced()).named_parameters()]
    finals = [n for n in names if 'multi_final_layers' in n and 'weight' in n]
    assert finals == [
        'head.branches.0.head.multi_final_layers.2.weight',
        *(f'head.branches.1.head.multi_final_layers.{i}.weight' for i in (2, 3)),
        *(f'head.branches.2.head.multi_final_layers.{i}.weight' for i in (2, 3, 4)),
        *(f'head.shared.multi_final_layers.{i}.weight' for i in (0, 1)),
    ]


def test_every_hourglass_parameter_gets_a_gradient():
    model = build(unbalanced()).train()
    total(model.loss(images(), samples())).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_a_loss_per_stage_is_taken_stage_by_stage():
    losses = [dict(type='KeypointMSELoss', loss_weight=w) for w in (1.0, 10.0, 100.0)]
    config = okdhp_config(HOURGLASS, 'stack1', num_branches=1, **OFF)
    config['head']['head']['loss'] = losses
    plain = plain_config(HOURGLASS)
    plain['head']['loss'] = losses
    ours, plain = randomize(build(config)), build(plain)
    share_weights(plain, ours)
    assert torch.equal(total(train_losses(ours)), total(train_losses(plain)))


def test_another_branch_takes_the_losses_of_its_own_stages():
    losses = [dict(type='KeypointMSELoss', loss_weight=w) for w in (1.0, 10.0, 100.0)]
    config = okdhp_config(HOURGLASS, 'stack1', num_branches=2, **OFF)
    config['head']['head']['loss'] = losses
    model = randomize(build(config)).eval()
    with torch.no_grad():
        found = model.loss(images(), samples())
        own = model.head.branches[1].forward_stages(model.extract_feat(images()))
        target = torch.stack([s.gt_fields.heatmaps for s in samples()])
        weight = torch.cat([s.gt_instance_labels.keypoint_weights for s in samples()])
        expected = [
            MODELS.build(loss)(maps, target, weight) for loss, maps in zip(losses[1:], own)
        ]
    assert len(own) == 2  # the first stage is shared, and counts with the deployed branch
    torch.testing.assert_close(found['loss_kpt_branch1'], sum(expected))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(split='end'), r"head.split='end'.*all 3 stages.*split earlier"),
        (dict(head=dict(num_stages=4)), r'head.head.num_stages=4.*3 outputs'),
        (
            dict(branches=[{}, {}, dict(head=dict(final_layer=dict(kernel_size=3)))]),
            r'head.branches.2.head changes the layers of the first 2 stages',
        ),
        (dict(neck=dict(type='FeatureMapProcessor')), r'head.neck.*stages that are shared'),
    ],
    ids=str,
)
def test_bad_settings_of_stages_name_the_key(settings, message):
    config = okdhp_config(HOURGLASS, 'stack2')
    head = {**config['head']['head'], **settings.pop('head', {})}
    config['head'].update(settings, head=head)
    with pytest.raises(ValueError, match=message):
        MODELS.build(config['head'])


@pytest.mark.parametrize('flip_test', [False, True])
def test_an_hourglass_branch_predicts_what_its_plain_model_predicts(flip_test):
    ours = randomize(build(unbalanced()))
    plain = build(plain_config(dict(HOURGLASS, num_stacks=4)))
    share_weights(plain, ours, 1)
    expected = predictions(plain, flip_test, output_heatmaps=True)
    found = predictions(ours, flip_test, branch=1, output_heatmaps=True)
    for a, b in zip(expected, found):
        np.testing.assert_array_equal(a.pred_instances.keypoints, b.pred_instances.keypoints)
        assert torch.equal(a.pred_fields.heatmaps, b.pred_fields.heatmaps)
