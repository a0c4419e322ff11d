"""ThroughTeacherHead: the task loss of a teacher's frozen head on the student's feature."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmpose.models.heads import HeatmapHead

from mmpose_kd.ocd_tcd.entry import head_input_size

from ..helpers.distillers import gradients
from ..helpers.models import HRNET, RESNET, K, images, plain_config, total
from ..helpers.ocd import samples
from ..helpers.tcd import CROSS, TASK, distiller, task_loss, teacher


def test_the_task_loss_is_the_heatmap_loss_of_the_frozen_head():
    model = distiller({**TASK, 'weight': 2.0})
    twin, batch = copy.deepcopy(model), samples()
    loss = model.loss(images(), batch)['loss_task']
    (feature,) = twin.student.backbone(images())
    maps = model.teachers[0].model.head((twin.distill[0].adapter(feature),))
    labels = [sample.gt_instance_labels for sample in batch]
    target = torch.cat([label.cross_heatmaps for label in labels])
    weight = torch.cat([label.cross_weights for label in labels])
    assert weight.min() == 0
    expected = ((maps - target).square() * weight[..., None, None]).mean()
    torch.testing.assert_close(loss, 2.0 * expected)


def test_the_loss_is_0_where_the_head_makes_the_labels_and_where_all_is_masked():
    model = distiller(TASK)
    same, masked = samples(), samples()
    with torch.no_grad():
        feature = torch.rand(2, 64, 2, 1)
        maps = model.teachers[0].through_head(model.distill[0].adapter(feature))
    for one, other, made in zip(same, masked, maps):
        one.gt_instance_labels.cross_heatmaps = made[None]
        other.gt_instance_labels.cross_weights.zero_()
    assert task_loss(model, feature, same) == 0
    assert task_loss(model, feature, masked) == 0


def test_the_teachers_backbone_does_not_run_for_its_head_alone():
    model = distiller(TASK)
    calls = []
    model.teachers[0].model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model.loss(images(), samples())
    assert not calls
    distiller_of_both = distiller()
    distiller_of_both.teachers[0].model.backbone.register_forward_hook(lambda *_: calls.append(1))
    distiller_of_both.loss(images(), samples())
    assert len(calls) == 1


def test_a_teacher_with_deconvolutions_stays_bit_for_bit_as_it_is():
    same = dict(type='Conv2d', in_channels=64, out_channels=64, kernel_size=1)
    model = distiller({**TASK, 'adapter': same}, CROSS, teachers=[teacher(plain_config(RESNET))])
    frozen = model.teachers[0].model
    norms = [m for m in frozen.head.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 3
    assert head_input_size(frozen.head, 'teachers[0].config') == (2, 1)
    before = copy.deepcopy(frozen.state_dict())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    adapter = model.distill[0].adapter.weight.detach().clone()
    for mode in (True, False, True):
        model.train(mode)
        wrapper.update_params(total(model.loss(images(), samples())))
    assert not torch.equal(model.distill[0].adapter.weight, adapter)
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    assert not any(m.training for m in frozen.modules())
    assert not any(p.requires_grad or p.grad is not None for p in frozen.parameters())
    assert all(k.startswith(('student.', 'distill.0.adapter.')) for k in model.state_dict())


class Enlarging(HeatmapHead):
    """Makes its maps by interpolation."""

    def forward(self, feats):
        return F.interpolate(super().forward(feats), scale_factor=4, mode='bilinear')


def test_the_size_that_a_head_reads_is_found_by_running_it():
    shuffle, enlarging = plain_config(RESNET), plain_config(RESNET)
    head = dict(in_channels=64, out_channels=K, decoder=shuffle['head']['decoder'])
    layers = dict(deconv_out_channels=None, deconv_kernel_sizes=None)
    shuffle['head'] = dict(type='PixelShuffleHead', mid_channels=16, **head)
    enlarging['head'] = dict(type=Enlarging, **head, **layers)
    same = dict(type='Conv2d', in_channels=64, out_channels=64, kernel_size=1)
    for config, size in ((shuffle, (2, 1)), (enlarging, (4, 2))):
        entry = {**TASK, 'adapter': same, 'resize': None if size == (2, 1) else 'areas'}
        model = distiller(entry, teachers=[teacher(config)])
        assert head_input_size(model.teachers[0].model.head, 'teachers[0].config') == size
        assert model.loss(images(), samples())['loss_task'] > 0


def test_a_head_whose_size_is_not_found_is_refused_when_the_model_is_built():
    config = plain_config(RESNET)
    config['head']['decoder']['heatmap_size'] = (10, 20)  # its layers make multiples of 8
    message = r'teachers\[0\]\.config: head\.type=HeatmapHead: .*\(20, 10\).*heatmap_size'
    with pytest.raises(ValueError, match=message):
        distiller(TASK, teachers=[teacher(config)])


@pytest.mark.parametrize('how', ['corners', 'areas', 'origin'])
def test_a_feature_of_another_size_is_resized(how):
    plain = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    losses = distiller({**TASK, 'adapter': plain, 'resize': how}).loss(images(), samples())
    assert torch.isfinite(losses['loss_task']) and losses['loss_task'] > 0


def test_a_balanced_loss_pulls_at_the_feature_as_the_students_own():
    model = distiller({**TASK, 'balance': True, 'weight': 0.5})
    features = []
    model.student.backbone.register_forward_hook(lambda m, i, o: features.append(o[-1]))
    losses = model.loss(images(), samples())
    own, task = (
        torch.autograd.grad(losses[k], features, retain_graph=True)[0].norm()
        for k in ('loss_kpt', 'loss_task')
    )
    torch.testing.assert_close(task, 0.5 * own)
    assert 'distill.0.balance.norms' in model.state_dict()


def test_keypoints_in_another_order_give_the_same_losses():
    order = [3, 0, 4, 1, 2]
    moved, same = distiller(teachers=[teacher(keypoints=order)]), distiller()
    layer = same.teachers[0].model.head.final_layer
    layer.weight.data, layer.bias.data = layer.weight.data[order], layer.bias.data[order]
    one, two, other = (m.loss(images(), samples()) for m in (moved, same, distiller()))
    for name in ('loss_task', 'loss_cross'):
        torch.testing.assert_close(one[name], two[name])
        assert (one[name] - other[name]).detach().abs() > 1e-5


def test_a_keypoint_the_teacher_does_not_have_is_not_taught():
    wide = plain_config(HRNET)
    wide['head']['out_channels'] = 7
    model = distiller(teachers=[teacher(wide, keypoints=[6, -1, 0, 1, 2])])
    outputs = []
    model.student.head.fc.register_forward_hook(
        lambda m, i, o: o.retain_grad() or outputs.append(o)
    )
    batch = samples()
    for sample in batch:
        sample.gt_instance_labels.keypoint_weights.fill_(1)
        sample.gt_instance_labels.cross_weights.fill_(1)
    model.teachers[0].model.head.final_layer.bias.data += 1  # so that every map has a peak
    losses = model.loss(images(), batch)
    losses['loss_cross'].backward()
    taught = outputs[0].grad.reshape(2, K, 2).abs().sum((0, 2)) > 0
    assert taught.tolist() == [True, False, True, True, True]
    feature = torch.rand(2, 64, 2, 1)
    before = task_loss(model, feature, batch)
    for sample in batch:
        sample.gt_instance_labels.cross_heatmaps[:, 1] += 1
    assert task_loss(model, feature, batch) == before
    for sample in batch:
        sample.gt_instance_labels.cross_heatmaps[:, 0] += 1
    assert task_loss(model, feature, batch) != before


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
def test_a_head_has_its_own_precision_inside_mixed_precision(dtype):
    model = distiller(TASK, CROSS, teachers=[teacher(dtype=dtype)])
    with torch.autocast('cpu', dtype=torch.float16):
        losses = model.loss(images(), samples())
    assert losses['loss_task'].dtype == torch.float32
    grads = gradients(model, losses)
    assert all(g is None or torch.isfinite(g).all() for g in grads.values())
    assert grads['distill.0.adapter.upsample_conv.weight'].any()
