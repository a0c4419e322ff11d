"""OKDHPHead: the loss of the paper, the plain model at zero, predictions of every output."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from build import (
    BACKBONES,
    CODEC,
    HOURGLASS,
    HRNET,
    MOBILENET,
    RESNET,
    SPLITS,
    K,
    build,
    head_config,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
    total,
)
from mmengine.logging import MessageHub
from mmpose.models.necks import FeatureMapProcessor  # noqa: F401
from mmpose.registry import MODELS

OFF = dict(ensemble_weight=0, kd_loss=dict(loss_weight=0))
CONSTANT = dict(type='constant')
SMALLER = dict(deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4))  # half the heatmap


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


# ------------------------------------------------------------------ zero means plain


PAIRS = [
    (name, split)
    for name in BACKBONES
    for split in (('stem', 'stack2') if name == 'HourglassNet' else ('stem', 'stage2', 'end'))
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


# ------------------------------------------------------------- the loss, by hand


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


def test_accuracy_is_computed_once_and_for_the_deployed_branch(monkeypatch):
    from mmpose_kd.models.heads import okdhp_head

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


def test_equal_branches_see_the_same_input():
    """No branch changes the shared state in place before the next one reads it."""
    for name, backbone in BACKBONES.items():
        for split in SPLITS[name][:-2]:
            model = randomize(build(okdhp_config(backbone, split, num_branches=2))).eval()
            first, second = model.head.branches
            second.load_state_dict(first.state_dict())
            one, two = model.head.forward_branches(model.extract_feat(images()))
            assert torch.equal(one, two), (name, split)


# ------------------------------------------------------------- stages: stacked hourglass


def unbalanced(stacks=(3, 4, 5), **head):
    """Two shared stacks, then 1, 2 and 3 more."""
    branches = [dict(backbone=dict(num_stacks=n), head=dict(num_stages=n)) for n in stacks]
    return okdhp_config(HOURGLASS, 'stack2', branches=branches, **head)


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


# ------------------------------------------------------------ less memory, same training


@pytest.mark.parametrize(
    ('backbone', 'split'),
    [(HRNET, 'stage2'), (HOURGLASS, 'stack1'), (dict(HOURGLASS, num_stacks=1), 'stem')],
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
    from mmpose_kd.models.heads import branch

    def of_torch_2_0(function, *args, use_reentrant=True, **kwargs):
        """The signature that torch 2.0's checkpoint has."""

    monkeypatch.setattr(branch, 'checkpoint', of_torch_2_0)
    with pytest.raises(ValueError, match=r'head.with_cp=True needs torch 2.1.*found'):
        build(okdhp_config(with_cp=True), init=False)


# ------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(split='stage7'), r"split='stage7'.*'stage1'"),
        (dict(num_branches=0), r'head.num_branches=0.*1 or more'),
        (dict(num_branches=True), r'head.num_branches=True'),
        (dict(deploy_branch=3), r'head.deploy_branch=3.*0 to 2'),
        (dict(ensemble_weight=-1), r'head.ensemble_weight=-1.*0'),
        (dict(kd_loss=dict(loss_weight=-0.5)), r'head.kd_loss.loss_weight=-0.5'),
        (dict(kd_schedule=dict(type='cosine')), r"head.kd_schedule.type='cosine'.*ramp_up"),
        (dict(kd_schedule=dict(epochs=-2)), r'head.kd_schedule.epochs=-2'),
        (dict(kd_schedule=dict(epoch=5)), r'head.kd_schedule=.*epoch'),
        (dict(kd_schedule=dict(CONSTANT, epochs=5)), r'head.kd_schedule.epochs=5.*constant'),
        (dict(branches=[{}, {}, dict(haed={})]), r"head.branches.2 has \['haed'\].*'head'"),
        (
            dict(branches=[{}, {}, dict(backbone=dict(stem_channels=16))]),
            r'head.branches.2.backbone changes the shared part',
        ),
        (
            dict(branches=[{}, dict(head=dict(decoder=dict(sigma=3))), {}]),
            r'head.branches.1.head.decoder differs from that of branch 0',
        ),
        (dict(preset='paper'), r"head.preset='paper'.*released"),
        (dict(branches=[dict()]), r'head.branches has 1 entries, head.num_branches=3'),
        (dict(fau_input='stage4'), r"head.fau_input='stage4'.*stem.*stage2"),
        (dict(ensemble_weight=0), r'head.ensemble_weight=0.*detach_ensemble'),
        (
            dict(branches=[{}, {}, dict(head=dict(out_channels=6))]),
            r'head.branches: heatmaps of \(K, H, W\).*\(5, 16, 8\).*\(6, 16, 8\)',
        ),
        (
            dict(branches=[{}, {}, dict(head=SMALLER)]),
            r'branch 2 makes heatmaps of \(4, 8\).*heatmap_size is \(8, 16\)',
        ),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_name_the_key(settings, message):
    config = okdhp_config()
    config['head'].update(settings)
    with pytest.raises(ValueError, match=message):
        MODELS.build(config['head'])


def test_branches_of_different_heatmap_size_are_refused_without_a_codec_too():
    config = okdhp_config(num_branches=2)
    config['head']['head'].pop('decoder')
    config['head']['branches'] = [{}, dict(head=SMALLER)]
    with pytest.raises(ValueError, match=r'head.branches: heatmaps of .* one heatmap size'):
        MODELS.build(config['head'])


def test_a_head_that_is_no_heatmap_head_is_refused():
    config = okdhp_config()
    config['head']['head'] = dict(type='RegressionHead', in_channels=64, num_joints=K)
    with pytest.raises(TypeError, match=r'head.head.type=RegressionHead.*HeatmapHead'):
        MODELS.build(config['head'])


def test_heads_with_other_outputs_than_one_map_per_keypoint_are_refused():
    config = okdhp_config()
    config['head']['head'].update(type='AssociativeEmbeddingHead', num_keypoints=K)
    config['head']['head'].pop('out_channels')
    config['head']['head'].pop('loss')
    with pytest.raises(TypeError, match=r'head.head.type=AssociativeEmbeddingHead.*one output'):
        MODELS.build(config['head'])
    config = okdhp_config()
    config['head']['head']['decoder'] = dict(
        type='UDPHeatmap', input_size=(32, 64), heatmap_size=(8, 16), heatmap_type='combined'
    )
    with pytest.raises(TypeError, match=r"head.head.decoder.heatmap_type='combined'"):
        MODELS.build(config['head'])


def test_a_schedule_without_a_type_keeps_the_ramp():
    head = build(okdhp_config(kd_schedule=dict(epochs=90)), init=False).head
    assert head.kd_schedule.factor(0, 150) == pytest.approx(math.exp(-5))
    assert head.kd_schedule.factor(90, 150) == 1


def test_one_branch_trains_on_its_task_loss_alone():
    losses = build(okdhp_config(num_branches=1)).train().loss(images(), samples())
    assert list(losses) == ['loss_kpt', 'acc_pose']


def test_a_model_can_be_pickled():
    model = randomize(build(okdhp_config(HRNET, 'stage2'))).eval()
    with torch.no_grad():
        again = pickle.loads(pickle.dumps(model))
        expected = model(images(), None, mode='tensor')
        assert torch.equal(again(images(), None, mode='tensor'), expected)


def test_branches_may_differ_in_their_tails():
    config = okdhp_config(RESNET, 'stage2', num_branches=2)
    config['head']['branches'] = [{}, dict(backbone=dict(frozen_stages=3))]
    model = build(config)
    assert all(p.requires_grad for p in model.head.branches[0].backbone.layer3.parameters())
    assert not any(p.requires_grad for p in model.head.branches[1].backbone.layer3.parameters())


def test_a_trunk_cut_elsewhere_is_refused():
    config = okdhp_config(split='stage2')
    config['backbone']['split'] = 'stage3'
    model = build(config)
    with pytest.raises(ValueError, match=r"(?s)cut differently.*split='stage3'.*split='stage2'"):
        model.loss(images(), samples())


def test_a_plain_backbone_is_refused():
    model = build(dict(okdhp_config(), backbone=RESNET))
    with pytest.raises(TypeError, match=r'model.backbone.*SharedTrunk'):
        model.loss(images(), samples())


def test_a_neck_between_trunk_and_head_is_refused():
    model = build(dict(okdhp_config(), neck=dict(type='FeatureMapProcessor', concat=True)))
    with pytest.raises(TypeError, match=r'model\.head\.neck'):
        model.loss(images(), samples())


@pytest.mark.parametrize('branch', [3, -1, 'best', True])
def test_bad_branch_in_test_cfg_is_refused_when_the_model_is_built(branch):
    config = okdhp_config()
    config['test_cfg']['branch'] = branch
    with pytest.raises(ValueError, match=r'test_cfg.branch=.*0 to 2'):
        build(config, init=False)


# ----------------------------------------------------------------- other structures


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


# --------------------------------------------------------------------- prediction


def predictions(model, flip_test=True, batch=None, **test_cfg):
    batch = batch or samples()
    model.test_cfg = dict(model.test_cfg, flip_test=flip_test, **test_cfg)
    with torch.no_grad():
        return model.eval().predict(images(), batch)


@pytest.mark.parametrize('flip_test', [False, True])
@pytest.mark.parametrize('branch', [0, 2])
def test_a_branch_predicts_what_its_plain_model_predicts(flip_test, branch):
    ours = randomize(build(okdhp_config()))
    plain = build(plain_config())
    share_weights(plain, ours, branch)
    expected = predictions(plain, flip_test, output_heatmaps=True)
    found = predictions(ours, flip_test, branch=branch, output_heatmaps=True)
    for a, b in zip(expected, found):
        np.testing.assert_array_equal(a.pred_instances.keypoints, b.pred_instances.keypoints)
        np.testing.assert_array_equal(
            a.pred_instances.keypoint_scores, b.pred_instances.keypoint_scores
        )
        assert torch.equal(a.pred_fields.heatmaps, b.pred_fields.heatmaps)


@pytest.mark.parametrize('flip_test', [False, True])
def test_all_outputs_in_one_pass_equal_each_one_alone(flip_test):
    model = randomize(build(okdhp_config(deploy_branch=1)))
    together = predictions(model, flip_test, branch='all')
    for output in (0, 1, 2, 'ensemble'):
        alone = predictions(model, flip_test, branch=output)
        name = output if output == 'ensemble' else f'branch{output}'
        for a, b in zip(alone, together):
            beside = b.get(f'pred_{name}')
            np.testing.assert_array_equal(a.pred_instances.keypoints, beside.keypoints)
            np.testing.assert_array_equal(a.pred_instances.keypoint_scores, beside.keypoint_scores)
            assert 'bboxes' in beside
            if output == 1:  # the deployed one is the model's own prediction
                np.testing.assert_array_equal(
                    b.pred_instances.keypoints, a.pred_instances.keypoints
                )


def test_flip_test_of_the_ensemble_by_hand():
    """The ensemble of the mirrored picture, with its own attention, mirrored back."""
    model = randomize(build(okdhp_config())).eval()
    batch = samples()
    flip = [1, 0, 2, 4, 3]
    for sample in batch:
        sample.set_metainfo(dict(flip_indices=flip))

    def ensemble(x):
        feats = model.extract_feat(x)
        heatmaps = model.head.forward_branches(feats)
        attention = model.head.fau.attention(feats.steps['stem'])
        return sum(attention[:, t, :, None, None] * heatmaps[t] for t in range(3))

    model.test_cfg = dict(
        flip_test=True, shift_heatmap=False, branch='ensemble', output_heatmaps=True
    )
    with torch.no_grad():
        expected = 0.5 * (ensemble(images()) + ensemble(images().flip(-1)).flip(-1)[:, flip])
        found = model.predict(images(), batch)
    for sample, maps in zip(found, expected):
        torch.testing.assert_close(sample.pred_fields.heatmaps, maps)


def test_output_keypoint_indices_are_respected_in_every_output():
    model = randomize(build(okdhp_config()))
    found = predictions(model, branch='all', output_keypoint_indices=[1, 3])
    full = predictions(model, branch='all', output_keypoint_indices=None)
    for a, b in zip(found, full):
        for name in ('pred_instances', 'pred_branch2', 'pred_ensemble'):
            np.testing.assert_array_equal(a.get(name).keypoints, b.get(name).keypoints[:, [1, 3]])


def test_tensor_mode_returns_the_deployed_branchs_heatmaps():
    model = randomize(build(okdhp_config(deploy_branch=1))).eval()
    with torch.no_grad():
        maps = model(images(), None, mode='tensor')
        assert torch.equal(maps, model.head.branches[1](model.extract_feat(images())))
    assert maps.shape == (2, K, CODEC['heatmap_size'][1], CODEC['heatmap_size'][0])


# ------------------------------------------------------------------- many steps


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
