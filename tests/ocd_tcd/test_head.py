"""OCDHead in training: a heatmap head teaches a light one; weights of zero mean plain."""

import pytest
import torch
from mmengine.logging import MessageHub

from ..helpers.models import build, images, randomize, total
from ..helpers.ocd import HEADS, PLAIN, K, backward, each_kind, ocd_of, plain_of, samples

two_kinds = pytest.mark.parametrize('kind', ['regression', 'simcc'])


def names(model):
    """Parameters of the deployed part by their names in the plain model."""
    found = dict(model.named_parameters())
    return model.head.deployed().state_dict(found)


# ------------------------------------------------------------------------ zero means plain


@each_kind
def test_with_weights_of_zero_it_is_the_plain_model_bit_for_bit(kind):
    plain, ocd = build(plain_of(kind)), build(ocd_of(kind, **PLAIN))
    batch = samples(kind)
    expected, found = backward(plain, batch), backward(ocd, batch)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    ours = names(ocd)
    for name, p in plain.named_parameters():
        assert torch.equal(ours[name], p)
        if p.requires_grad:
            assert torch.equal(ours[name].grad, p.grad), name
    for name, value in plain.named_buffers():
        assert torch.equal(dict(ocd.named_buffers())[_inside(name)], value)


def _inside(name):
    return f'head.deploy.{name}' if name.startswith(('head.', 'neck.')) else name


@each_kind
def test_whatever_is_added_the_deployed_part_starts_as_the_plain_model(kind):
    plain = build(plain_of(kind))
    after = torch.rand(3)
    ocd = build(ocd_of(kind, assistant=HEADS[kind]['head']))
    assert torch.equal(torch.rand(3), after)  # and so do the run's random numbers
    ours = ocd.head.deployed().state_dict(ocd.state_dict())
    assert ours.keys() == plain.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in plain.state_dict().items())


def test_heads_that_are_not_run_want_no_gradient():
    """Else processes that train together would wait for them."""
    ocd = build(ocd_of('simcc', **PLAIN, assistant=HEADS['simcc']['head'], assistant_weight=0))
    backward(ocd, samples('simcc'))
    assert all(p.grad is not None for p in ocd.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in ocd.head.heatmap.parameters())
    assert not any(p.requires_grad for p in ocd.head.assistant.parameters())


# -------------------------------------------------------------------------------- training


@each_kind
def test_one_step_trains_every_parameter_and_lowers_the_loss(kind):
    ocd = randomize(build(ocd_of(kind)))
    batch = samples(kind)
    optimizer = torch.optim.SGD((p for p in ocd.parameters() if p.requires_grad), 1e-3)
    losses = backward(ocd, batch)
    assert {'loss_kpt', 'acc_pose', 'loss_heatmap', 'loss_cross', 'heatmap_factor'} == set(losses)
    trained = [p for p in ocd.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    factor = losses['heatmap_factor']  # a constant of the step: it is another one at the next

    def lowered(found):
        heatmap = found['loss_heatmap'] / found['heatmap_factor']
        return float(found['loss_kpt'] + factor * heatmap + found['loss_cross'])

    assert lowered(losses) == pytest.approx(float(total(losses)))
    assert lowered(ocd.loss(images(2), batch)) < lowered(losses)


@each_kind
def test_the_deployed_heads_own_loss_is_the_plain_one(kind):
    plain, ocd = build(plain_of(kind)), build(ocd_of(kind))
    batch = samples(kind)
    expected, found = plain.loss(images(2), batch), ocd.loss(images(2), batch)
    assert torch.equal(found['loss_kpt'], expected['loss_kpt'])
    assert torch.equal(found['acc_pose'], expected['acc_pose'])


@each_kind
def test_the_deployed_head_is_run_once_a_step(kind):
    ocd = build(ocd_of(kind))
    calls = []
    head = ocd.head.deploy['head']
    kinds = (torch.nn.Linear, torch.nn.ConvTranspose2d, torch.nn.Conv2d)
    layer = head.fc if kind == 'rle' else next(m for m in head.modules() if isinstance(m, kinds))
    layer.register_forward_hook(lambda *_: calls.append(1))
    ocd.loss(images(2), samples(kind))
    assert len(calls) == 1


def test_the_heatmap_heads_loss_is_the_stock_one_times_its_factor():
    ocd = build(ocd_of('regression', heatmap_weight=2.5, balance=False, cross_weight=0))
    batch = samples('regression')
    losses = ocd.loss(images(2), batch)
    maps = ocd.head.heatmap(ocd.extract_feat(images(2)))
    target = torch.cat([s.gt_instance_labels.cross_heatmaps for s in batch])
    weight = torch.cat([s.gt_instance_labels.cross_weights for s in batch])
    expected = 2.5 * ((maps - target).square() * weight[..., None, None]).mean()
    assert torch.allclose(losses['loss_heatmap'], expected)
    assert float(losses['heatmap_factor']) == 2.5 and float(losses['loss_cross']) == 0


def test_with_a_detached_feature_the_backbone_learns_from_the_deployed_head_alone():
    ocd = build(ocd_of('regression', detach_feature=True, cross_weight=0.0))
    plain = build(plain_of('regression'))
    batch = samples('regression')
    backward(plain, batch)
    losses = backward(ocd, batch)
    ours = names(ocd)
    assert all(torch.equal(ours[k].grad, p.grad) for k, p in plain.named_parameters())
    assert all(p.grad is not None for p in ocd.head.heatmap.parameters())
    assert float(losses['heatmap_factor']) == 1.0 and ocd.head.balance is None


@each_kind
@pytest.mark.parametrize('weight', [1.0, 0.5])
def test_the_balance_makes_both_losses_pull_equally_at_the_feature(kind, weight):
    ocd = build(ocd_of(kind, heatmap_weight=weight, cross_weight=0))
    feats = tuple(f.detach().requires_grad_() for f in ocd.extract_feat(images(4)))
    losses = ocd.head.loss(feats, samples(kind, 4))
    task, heatmap = (
        torch.autograd.grad(losses[name], feats[-1], retain_graph=True)[0].norm()
        for name in ('loss_kpt', 'loss_heatmap')
    )
    assert task > 0
    assert torch.allclose(heatmap, weight * task, rtol=1e-3)


@two_kinds
def test_of_several_outputs_the_balance_is_measured_at_the_one_that_heads_read(kind):
    """Also where backward passes are run through the backbone with torch's checkpoint."""
    found = []
    for changes in ({}, dict(out_indices=(0, 1, 2, 3)), dict(out_indices=(1, 3), with_cp=True)):
        config = ocd_of(kind)
        config['backbone'].update(changes)
        ocd = build(config)
        losses = backward(ocd, samples(kind, 4))
        found.append([float(losses['heatmap_factor']), ocd.head.balance.norms.tolist()])
    assert found[0][0] != 1 and found[1] == found[0] and found[2] == found[0]


@two_kinds
def test_the_cross_loss_teaches_the_deployed_head_and_not_the_heatmap_head(kind):
    ocd = build(ocd_of(kind, heatmap_weight=1.0))
    losses = ocd.loss(images(2), samples(kind))
    losses['loss_cross'].backward()
    assert all(p.grad is None for p in ocd.head.heatmap.parameters())
    assert sum(float(p.grad.abs().sum()) for p in ocd.head.deploy.parameters()) > 0
    assert sum(float(p.grad.abs().sum()) for p in ocd.backbone.parameters()) > 0


def test_of_rle_the_cross_loss_teaches_mu_alone():
    ocd = build(ocd_of('rle'))
    ocd.loss(images(2), samples('rle'))['loss_cross'].backward()
    grad = ocd.head.deploy['head'].fc.bias.grad.view(K, 4)
    assert (grad[:, :2] != 0).any() and (grad[:, 2:] == 0).all()
    assert all(
        p.grad is None for p in ocd.head.deploy['head'].loss_module.parameters()
    )  # of the flow


@each_kind
def test_an_unlabelled_keypoint_costs_nothing(kind):
    ocd = build(ocd_of(kind, balance=False))
    one, two = samples(kind, hidden=(1, 3)), samples(kind, hidden=(1, 3))
    for sample in two:  # another place for what has no label
        labels = sample.gt_instance_labels
        for name in labels.keys():  # noqa: SIM118 (no dict)
            if 'weights' not in name:
                labels[name][:, 1] += 0.3
    first, second = ocd.loss(images(2), one), ocd.loss(images(2), two)
    for name in ('loss_kpt', 'loss_heatmap', 'loss_cross'):
        assert torch.equal(first[name], second[name])


@two_kinds
def test_a_batch_without_any_label_is_finite(kind):
    ocd = build(ocd_of(kind, assistant=HEADS[kind]['head']))
    losses = backward(ocd, samples(kind, hidden=range(K)))
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert float(losses['loss_cross']) == 0 == float(losses['loss_heatmap'])


@pytest.mark.parametrize('epoch', [0, 2, 3, 5])
def test_the_cross_loss_follows_its_schedule(epoch):
    schedule = dict(type='linear_decay', start=2)
    ocd = build(ocd_of('regression', cross_schedule=schedule))
    batch = samples('regression')
    hub = MessageHub.get_current_instance()
    hub.update_info('max_epochs', 6)
    hub.update_info('epoch', 2)
    full = ocd.loss(images(2), batch)['loss_cross']
    hub.update_info('epoch', epoch)
    found = ocd.loss(images(2), batch)['loss_cross']
    share = 0 if epoch < 2 else 1 - (epoch - 2) / 4
    assert float(full) > 0
    assert torch.allclose(found, share * full)


def test_the_rendered_form_is_a_setting():
    ocd = build(ocd_of('regression', cross=dict(type='CrossHeatmapLoss', loss_weight=2.0)))
    assert float(ocd.loss(images(2), samples('regression'))['loss_cross']) > 0


@each_kind
def test_half_precision_and_accumulated_gradients(kind):
    ocd = build(ocd_of(kind, balance=dict(interval=1), assistant=HEADS[kind]['head']))
    batch = samples(kind)
    for _ in range(2):
        with torch.autocast('cpu', torch.float16):
            losses = ocd.loss(images(2), batch)
        assert all(torch.isfinite(value) for value in losses.values())
        (total(losses) / 2).backward()
    assert all(torch.isfinite(p.grad).all() for p in ocd.parameters() if p.requires_grad)


@each_kind
def test_by_default_the_cross_loss_weighs_what_was_measured_for_its_kind(kind):
    head = build(ocd_of(kind)).head
    assert head.cross_weight == dict(coordinates=10, bins=1)[head.kind]
