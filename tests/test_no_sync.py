"""The loss path never waits for the device: no value of a tensor is read on the host.

On meta tensors, which have no values, reading one is an error, and so is everything that has to
read one: ``.item()``, ``float``, ``if tensor``, ``nonzero``, indexing with a mask, ``.cpu()``.
Copies from the host, which a GPU waits for too, are caught by watching the operations.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmpose_kd.losses.heatmap_kl import DIVISOR, NORMALIZE
from mmpose_kd.okdhp.fau import FORMS

from .helpers.models import HOURGLASS, HRNET, RESNET, build, images, okdhp_config, samples, total
from .helpers.ocd import HEADS as LIGHT_HEADS
from .helpers.ocd import ocd_of
from .helpers.ocd import samples as samples_of_two

RELEASED = dict(preset='released', fau=dict(type='FAU', form='released'))
MODELS = {
    'hourglass': (HOURGLASS, 'stack1'),
    'hrnet': (HRNET, 'stage3'),
    'resnet': (RESNET, 'end'),
}


class NoCopies(TorchDispatchMode):
    """Refuses to take tensors from one device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        copies = (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if func.overloadpacket in copies:
            source = args[1] if func.overloadpacket is torch.ops.aten.copy_ else args[0]
            if source.device != out.device:
                raise RuntimeError(f'{func} from {source.device} to {out.device}')
        return out


def train_without_values(config, watch=False, accuracy=False):
    """Losses and gradients of a batch that has shapes but no values."""
    model = build(config).to('meta').train()
    model.head.watch = watch
    batch = samples()
    for sample in batch:
        sample.gt_fields.heatmaps = sample.gt_fields.heatmaps.to('meta')
        labels = sample.gt_instance_labels
        labels.keypoint_weights = labels.keypoint_weights.to('meta')
    inputs = images().to('meta')
    with NoCopies():
        losses = model.head.loss(model.extract_feat(inputs), batch, dict(compute_acc=accuracy))
        total(losses).backward()
    return model, losses


@pytest.mark.parametrize(
    'head', [{}, pytest.param(RELEASED, marks=pytest.mark.slow)], ids=['default', 'released']
)
@pytest.mark.parametrize('name', MODELS)
def test_a_training_step_reads_no_value(name, head):
    model, losses = train_without_values(okdhp_config(*MODELS[name], **head))
    assert {'loss_kpt', 'loss_kpt_branch1', 'loss_ensemble', 'loss_kd'} <= losses.keys()
    assert all(p.grad is not None for p in model.head.fau.parameters())


@pytest.mark.parametrize('weigh_maps', [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize('divisor', DIVISOR)
@pytest.mark.parametrize('normalize', NORMALIZE)
def test_no_setting_of_the_kl_reads_a_value(normalize, divisor, weigh_maps):
    kl = dict(normalize=normalize, divisor=divisor, weigh_maps=weigh_maps)
    train_without_values(okdhp_config(RESNET, 'end', kd_loss=kl))


@pytest.mark.parametrize('form', FORMS)
def test_no_form_of_the_fau_reads_a_value(form):
    train_without_values(okdhp_config(RESNET, 'end', fau=dict(type='FAU', form=form)))


@pytest.mark.parametrize(
    'head',
    [dict(fau=None), dict(detach_ensemble=False), dict(with_cp=True)],
    ids=['no FAU', 'ensemble not detached', 'checkpointing'],
)
def test_no_setting_of_the_head_reads_a_value(head):
    train_without_values(okdhp_config(RESNET, 'end', **head))


def test_the_losses_of_the_release_read_no_value():
    config = okdhp_config(RESNET, 'end', **RELEASED)
    config['head']['head']['loss'] = dict(type='JointsMSELoss')
    train_without_values(config)


def test_the_statistics_read_no_value():
    model, _ = train_without_values(okdhp_config(RESNET, 'end'), watch=True)
    assert model.head.watched


@pytest.mark.parametrize('assistant', [False, True], ids=['alone', 'assistant'])
@pytest.mark.parametrize('kind', LIGHT_HEADS)
def test_what_ocd_adds_reads_no_value(kind, assistant):
    """The stock losses of light heads do: they measure the accuracy of every batch."""
    bigger = LIGHT_HEADS[kind]['head'] if assistant else None
    model = build(ocd_of(kind, assistant=bigger)).to('meta').train()
    head = model.head
    head.balance._step = 0  # which is read once in a run, from the checkpoint
    for light in [head.deploy['head'], *([head.assistant] if assistant else [])]:
        light.loss = lambda feats, samples, cfg, light=light: {'loss_kpt': summed(light(feats))}
    feats = model.extract_feat(images().to('meta'))
    batch = [sample.to('meta') for sample in samples_of_two(kind)]
    with NoCopies():
        losses = head.loss(feats, batch)
        total(losses).backward()
    assert {'loss_heatmap', 'loss_cross', 'heatmap_factor'} <= losses.keys()
    assert all(p.grad is not None for p in head.heatmap.parameters())


def summed(output):
    return sum(x.sum() for x in (output if isinstance(output, tuple) else [output]))


# ------------------------------------------------------- the check itself finds what it should


@pytest.mark.parametrize(
    'read',
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: x + torch.ones(x.shape).to(x.device),
        lambda x: x + torch.tensor(0.5).to(x.device),
    ],
    ids=[
        'item',
        'float',
        'bool',
        'mask',
        'nonzero',
        'to the host',
        'from the host',
        'number to device',
    ],
)
def test_the_check_finds(read):
    with NoCopies(), pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.ones(3, device='meta'))


def test_the_training_accuracy_is_what_reads_values():
    with pytest.raises((RuntimeError, NotImplementedError)):
        train_without_values(okdhp_config(RESNET, 'end'), accuracy=True)
