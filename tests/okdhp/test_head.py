"""OKDHPHead in training: names of its losses, gradients, accuracy, copies."""

import copy
import pickle

import numpy as np
import torch

from ..helpers.models import (
    HRNET,
    MOBILENET,
    build,
    images,
    okdhp_config,
    randomize,
    samples,
    total,
)


def test_accuracy_is_computed_once_and_for_the_deployed_branch(monkeypatch):
    from mmpose_kd.okdhp import head as okdhp_head

    calls = []
    original = okdhp_head.pose_pck_accuracy

    def counted(**kwargs):
        calls.append(kwargs['output'])
        return original(**kwargs)

    monkeypatch.setattr(okdhp_head, 'pose_pck_accuracy', counted)
    model = randomize(build(okdhp_config(deploy_branch=1))).eval()
    losses = model.loss(images(), samples())
    with torch.no_grad():
        maps = model.head.branches[1](model.extract_feat(images()))
    assert len(calls) == 1
    np.testing.assert_array_equal(calls[0], maps.numpy())
    assert 'acc_pose' in losses
    assert 'acc_pose' not in model.head.loss(
        model.extract_feat(images()), samples(), train_cfg=dict(compute_acc=False)
    )


def test_losses_have_stock_names_for_the_deployed_branch():
    losses = build(okdhp_config(deploy_branch=2)).train().loss(images(), samples())
    assert list(losses) == [
        'loss_kpt_branch0', 'loss_kpt_branch1', 'loss_kpt', 'loss_ensemble', 'loss_kd', 'acc_pose'
    ]  # fmt: skip


def test_every_parameter_gets_a_gradient_in_every_step():
    """DDP without find_unused_parameters waits for all of them."""
    model = build(okdhp_config(HRNET, 'stage3')).train()
    total(model.loss(images(), samples())).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_one_branch_trains_on_its_task_loss_alone():
    losses = build(okdhp_config(num_branches=1)).train().loss(images(), samples())
    assert list(losses) == ['loss_kpt', 'acc_pose']


def test_a_model_can_be_pickled():
    model = randomize(build(okdhp_config(HRNET, 'stage2'))).eval()
    with torch.no_grad():
        again = pickle.loads(pickle.dumps(model))
        expected = model(images(), None, mode='tensor')
        assert torch.equal(again(images(), None, mode='tensor'), expected)


def test_half_precision_training_stays_finite():
    model = build(okdhp_config(MOBILENET, 'stage3')).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(4):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            loss = total(model.loss(images(seed=step), samples(seed=step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_model_can_be_deep_copied_for_ema():
    model = randomize(build(okdhp_config())).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(images(), None, mode='tensor')
        randomize(model, seed=1)
        assert torch.equal(other(images(), None, mode='tensor'), expected)
        assert not torch.equal(model(images(), None, mode='tensor'), expected)
