"""Branches: how they start, how they may differ, and computing them twice to save memory."""

import copy

import pytest
import torch
from mmpose.models.necks import FeatureMapProcessor
from mmpose.registry import MODELS

from ..helpers.models import (
    BACKBONES,
    HOURGLASS,
    HRNET,
    RESNET,
    SPLITS,
    build,
    head_config,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
    total,
)
from ..helpers.okdhp import OFF, share_weights, train_losses


def test_branches_start_different_also_from_the_same_pretrained_weights(tmp_path):
    stock = randomize(build(HRNET), seed=3)
    torch.save({'state_dict': stock.state_dict()}, tmp_path / 'pretrained.pth')
    backbone = dict(
        HRNET, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'pretrained.pth'))
    )
    branches = build(okdhp_config(backbone, 'stage3')).head.branches
    for name, value in branches[0].backbone.state_dict().items():
        assert torch.equal(value, stock.state_dict()[name])
        assert torch.equal(value, branches[1].backbone.state_dict()[name])
    heads = [b.head.final_layer.weight for b in branches]
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[1], heads[2])
    assert 0.0005 < heads[0].std() < 0.002  # HeatmapHead's own initialisation


@pytest.mark.slow
@pytest.mark.parametrize('where', ['deepest', 'everywhere'])
def test_equal_branches_see_the_same_input(where):
    """No branch changes the shared state in place before the next one reads it."""
    for name, backbone in BACKBONES.items():
        splits = SPLITS[name][:-2]
        for split in splits if where == 'everywhere' else splits[-1:]:
            model = build(okdhp_config(backbone, split, num_branches=2), init=False)
            randomize(model).eval()
            first, second = model.head.branches
            second.load_state_dict(first.state_dict())
            one, two = model.head.forward_branches(model.extract_feat(images()))
            assert torch.equal(one, two), (name, split)


@pytest.mark.parametrize(
    ('backbone', 'split'),
    [
        pytest.param(HRNET, 'stage2', marks=pytest.mark.slow),
        pytest.param(HOURGLASS, 'stack1', marks=pytest.mark.slow),
        (dict(HOURGLASS, num_stacks=1), 'stem'),
    ],
    ids=['HRNet', 'Hourglass', 'with layers that are never run'],
)
def test_computing_branches_twice_changes_nothing_but_memory(backbone, split):
    """Losses, gradients and BatchNorm's statistics are the same to the last bit."""
    models = [
        randomize(build(okdhp_config(backbone, split, with_cp=with_cp)))
        for with_cp in (False, True)
    ]
    kept = [0, 0]
    for i, model in enumerate(models):

        def count(tensor, i=i):
            kept[i] += tensor.numel()
            return tensor

        model.train()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            losses = model.loss(images(), samples())
        total(losses).backward()
    assert kept[1] < 0.7 * kept[0]
    plain, ours = models
    for (name, p), (_, q) in zip(plain.named_parameters(), ours.named_parameters()):
        assert (p.grad is None and q.grad is None) or torch.equal(p.grad, q.grad), name
    for (name, p), (_, q) in zip(plain.named_buffers(), ours.named_buffers()):
        assert torch.equal(p, q), name
    assert any('num_batches_tracked' in name and int(b) == 1 for name, b in ours.named_buffers())


def test_branches_are_not_computed_twice_by_a_torch_that_cannot(monkeypatch):
    from mmpose_kd.okdhp import branch

    def of_torch_2_0(function, *args, use_reentrant=True, **kwargs):
        """The signature that torch 2.0's checkpoint has."""

    monkeypatch.setattr(branch, 'checkpoint', of_torch_2_0)
    with pytest.raises(ValueError, match=r'head.with_cp=True: it needs torch 2.1.*found'):
        build(okdhp_config(with_cp=True), init=False)


def test_branches_may_differ_in_their_tails():
    config = okdhp_config(RESNET, 'stage2', num_branches=2)
    config['head']['branches'] = [{}, dict(backbone=dict(frozen_stages=3))]
    model = build(config)
    assert all(p.requires_grad for p in model.head.branches[0].backbone.layer3.parameters())
    assert not any(p.requires_grad for p in model.head.branches[1].backbone.layer3.parameters())


def test_branches_may_differ_in_their_heads():
    config = okdhp_config(num_branches=2)
    wider = dict(deconv_out_channels=(16, 16, 16))
    config['head']['branches'] = [dict(), dict(head=wider)]
    model = build(config)
    sizes = [sum(p.numel() for p in b.parameters()) for b in model.head.branches]
    assert sizes[1] > sizes[0]
    assert torch.isfinite(total(train_losses(model)))


def test_a_neck_per_branch_works():
    extra = dict(HRNET['extra'], stage4=dict(HRNET['extra']['stage4'], multiscale_output=True))
    backbone = dict(HRNET, extra=extra)
    head = dict(head_config(HRNET), in_channels=4 + 8 + 16 + 32)
    neck = dict(type='FeatureMapProcessor', concat=True)
    plain = dict(plain_config(backbone), neck=neck, head=head)
    ours = okdhp_config(backbone, 'stage3', neck=neck, num_branches=1, **OFF)
    ours['head']['head'] = head
    ours, plain = randomize(build(ours)), build(plain)
    share_weights(plain, ours)
    assert torch.equal(total(train_losses(plain)), total(train_losses(ours)))


def test_building_the_head_leaves_its_config_as_it_is():
    config = okdhp_config(num_branches=2)
    own = dict(config['head']['head'], deconv_out_channels=(16, 16, 16), _delete_=True)
    config['head']['branches'] = [dict(), dict(head=own)]
    before = copy.deepcopy(config)
    MODELS.build(config['head'])
    assert config == before


@pytest.mark.parametrize('more', [{}, dict(_delete_=True)])
def test_a_branch_may_have_a_neck_where_the_others_have_none(more):
    config = okdhp_config(num_branches=2)
    neck = dict(type='FeatureMapProcessor', **more)
    config['head']['branches'] = [dict(), dict(neck=neck)]
    plain, necked = build(config).head.branches
    assert not hasattr(plain, 'neck') and isinstance(necked.neck, FeatureMapProcessor)


@pytest.mark.parametrize('common', [None, dict(type='FeatureMapProcessor')])
def test_a_neck_of_a_branch_is_named_with_the_branch(common):
    config = okdhp_config(num_branches=2, neck=common)
    config['head']['branches'] = [dict(), dict(neck=dict(type='FeatureMapProcessor', many=2))]
    with pytest.raises(ValueError, match=r'^head\.branches\.1\.neck\.type='):
        MODELS.build(config['head'])
