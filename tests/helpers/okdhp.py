"""What tests of OKDHP share: weights handed to the plain model, losses, predictions."""

import torch

from .models import HOURGLASS, images, okdhp_config, samples, total

OFF = dict(ensemble_weight=0, kd_loss=dict(loss_weight=0))

CONSTANT = dict(type='constant')


def share_weights(plain, ours, branch=0):
    """Give the plain model the weights of the trunk and one branch."""
    deployed = ours.head.deployed(branch)
    plain.load_state_dict(deployed.state_dict(ours.state_dict()), strict=True)


def deployed_gradients(ours, branch=0):
    """Gradients of trunk and one branch under their plain names."""
    grads = {name: p.grad for name, p in ours.named_parameters()}
    return ours.head.deployed(branch).state_dict(grads)


def train_losses(model, dtype=torch.float32, **kwargs):
    model.train()
    losses = model.loss(images(dtype=dtype), samples(dtype=dtype, **kwargs))
    total(losses).backward()
    return losses


def unbalanced(stacks=(3, 4, 5), **head):
    """Two shared stacks, then 1, 2 and 3 more."""
    branches = [dict(backbone=dict(num_stacks=n), head=dict(num_stages=n)) for n in stacks]
    return okdhp_config(HOURGLASS, 'stack2', branches=branches, **head)


def predictions(model, flip_test=True, batch=None, **test_cfg):
    batch = batch or samples()
    model.test_cfg = dict(model.test_cfg, flip_test=flip_test, **test_cfg)
    with torch.no_grad():
        return model.eval().predict(images(), batch)
