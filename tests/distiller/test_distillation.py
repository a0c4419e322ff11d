"""The loss of an entry: outputs, adapters, sizes, keypoints, several teachers."""

import copy

import pytest
import torch
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmengine.logging import MessageHub

from mmpose_kd.distiller.distillation import resized
from mmpose_kd.losses.heatmap_kl import heatmap_kl

from ..helpers.distillers import TWO, batch_of, distiller, gradients, untrained
from ..helpers.models import (
    HRNET,
    RESNET,
    images,
    plain_config,
    samples,
)


def test_the_loss_is_the_named_loss_of_the_named_outputs():
    entry = dict(loss=dict(type='HeatmapKLLoss', temperature=0.5), weight=2.0, name='heatmaps')
    model = distiller(entry)
    twin = copy.deepcopy(model.student)
    losses = model.loss(images(), samples())
    student = twin(images(), None, mode='tensor')
    with torch.no_grad():
        teacher = model.teachers[0].model(images(), None, mode='tensor')
    weight = torch.cat([s.gt_instance_labels.keypoint_weights for s in samples()])
    expected = 2.0 * heatmap_kl(student, teacher, weight, temperature=0.5)
    assert expected > 0
    torch.testing.assert_close(losses['loss_heatmaps'], expected)


def test_a_balanced_loss_pulls_at_the_students_output_weight_times_as_strongly_as_its_own():
    balance = dict(interval=2, warmup=1)
    model = distiller(dict(weight=3.0, balance=balance, name='kd'))
    maps = []
    layer = model.student.head.final_layer
    layer.register_forward_hook(lambda _, __, output: maps.append(output))
    losses = model.loss(images(), samples())
    own, kd = (
        torch.autograd.grad(losses[name], maps[-1], retain_graph=True)[0].norm()
        for name in ('loss_kpt', 'loss_kd')
    )
    torch.testing.assert_close(kd, 3.0 * own)
    plain = distiller(dict(weight=3.0, name='kd')).loss(images(), samples())
    torch.testing.assert_close(losses['loss_kd'], plain['loss_kd'] / 3.0 * losses['kd_factor'])
    assert set(losses) - set(plain) == {'kd_factor'}
    assert 'distill.0.balance.norms' in model.state_dict()


def test_a_balance_before_layers_that_are_run_again_names_what_to_change():
    student = plain_config({**RESNET, 'with_cp': True})
    entry = dict(loss=dict(type='FeatureMSELoss'), student='backbone.layer1', balance=True)
    model = distiller(
        dict(**entry, teacher='backbone.layer1'), student=student, teachers=[untrained(student)]
    )
    give = r'model\.distill\[0\]\.balance: .*give with_cp=False in .*\.balance=False'
    with pytest.raises(ValueError, match=give):
        model.loss(images(), samples())


def test_the_weight_follows_the_schedule_and_an_idle_teacher_is_not_run(monkeypatch):
    model = distiller(
        dict(schedule=dict(type='linear_decay'), weight=2.0), dict(schedule=dict(start=3))
    )
    calls = []
    forward = model.teachers[0].model.forward
    monkeypatch.setattr(
        model.teachers[0].model, 'forward', lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    hub = MessageHub.get_current_instance()
    hub.update_info('max_epochs', 4)
    seen = {}
    for epoch in (0, 2, 3, 4):
        hub.update_info('epoch', epoch)
        with torch.no_grad():
            seen[epoch] = model.loss(images(), samples())
    base = float(seen[0]['loss_distill0'])
    assert base > 0
    assert float(seen[2]['loss_distill0']) == pytest.approx(base / 2)
    assert seen[4]['loss_distill0'] == 0
    assert [float(s['loss_distill1']) > 0 for s in seen.values()] == [False, False, True, True]
    assert len(calls) == 4  # at every epoch one entry is at work, and no more than one pass
    hub.update_info('epoch', 4)
    model.distill[1].weight = 0
    model.loss(images(), samples())
    assert len(calls) == 4


def test_features_are_aligned_by_an_adapter_that_trains_and_is_saved():
    adapter = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    entry = dict(
        loss=dict(type='FeatureMSELoss'),
        student='backbone',
        teacher='backbone',
        adapter=adapter,
        resize='areas',
    )
    model = distiller(entry)
    grads = gradients(model, model.loss(images(), samples()))
    assert grads['distill.0.adapter.weight'].abs().sum() > 0
    assert grads['student.backbone.conv1.weight'].abs().sum() > 0
    assert {'distill.0.adapter.weight', 'distill.0.adapter.bias'} <= model.state_dict().keys()
    # processes that train together: every parameter has a gradient at every step
    model.distill[0].weight = 0.0
    grads = gradients(model, model.loss(images(), samples()))
    assert grads['distill.0.adapter.weight'].abs().sum() == 0


def with_codec(kind):
    found = plain_config(HRNET)
    found['head']['decoder'] = dict(
        type=kind, input_size=(32, 64), heatmap_size=(8, 16), sigma=1.0
    )
    return found


@pytest.mark.parametrize(
    ('kinds', 'said'),
    [
        (('MSRAHeatmap', 'UDPHeatmap'), True),
        (('UDPHeatmap', 'MSRAHeatmap'), True),
        (('UDPHeatmap', 'UDPHeatmap'), False),
        (('MSRAHeatmap', 'MSRAHeatmap'), False),
    ],
)
def test_codecs_whose_pixels_lie_elsewhere_are_told(kinds, said, monkeypatch):
    told = []
    monkeypatch.setattr(
        'mmpose_kd.distiller.distillation.print_log', lambda text, *_: told.append(text)
    )
    student, teacher = map(with_codec, kinds)
    distiller(student=student, teachers=[untrained(teacher)])
    assert bool(told) == said
    if said:
        assert 'i / (W - 1)' in told[0] and 'teachers[0]' in told[0]
    features = dict(loss=dict(type='FeatureMSELoss'), student='backbone', teacher='backbone')
    told.clear()
    distiller(features, student=student, teachers=[untrained(teacher)])
    assert not told


@pytest.mark.parametrize(
    ('kind', 'fitting'), [('MSRAHeatmap', 'origin'), ('UDPHeatmap', 'corners')]
)
@pytest.mark.parametrize('resize', ['corners', 'origin', 'areas'])
def test_a_way_to_resize_that_is_not_the_codecs_is_told(kind, fitting, resize, monkeypatch):
    told = []
    monkeypatch.setattr(
        'mmpose_kd.distiller.distillation.print_log', lambda text, *_: told.append(text)
    )
    codec, smaller = with_codec(kind), with_codec(kind)
    distiller(dict(resize=resize), student=codec, teachers=[untrained(codec)])
    assert not told  # nothing is resized
    smaller['head']['decoder']['heatmap_size'] = (4, 8)
    distiller(dict(resize=resize), student=smaller, teachers=[untrained(codec)])
    if resize == fitting:
        assert not told
    else:
        assert told[0].startswith(f'model.distill[0].resize={resize!r}: ')
        assert told[0].endswith(f'give {fitting!r}')


def test_maps_of_another_size_need_a_way_to_resize():
    fine = plain_config(HRNET)
    fine['head'].update(deconv_out_channels=(8,), deconv_kernel_sizes=(4,))
    teachers = [untrained(fine)]
    with pytest.raises(
        ValueError, match=r'\(2, 5, 16, 8\).*\(2, 5, 32, 16\).*distill\[0\].resize'
    ):
        distiller(teachers=teachers).loss(images(), samples())
    assert distiller(dict(resize='origin'), teachers=teachers).loss(images(), samples())


@pytest.mark.parametrize(
    ('how', 'place'),
    [
        ('corners', lambda i, new, old: i * (new - 1) / (old - 1)),
        ('origin', lambda i, new, old: i * new / old),
        ('areas', lambda i, new, old: (i + 0.5) * new / old - 0.5),
    ],
)
@pytest.mark.parametrize('new', [(12, 18), (48, 36)])
def test_a_resized_bump_lies_where_its_codec_puts_it(how, place, new):
    old, x, y = (24, 32), 9.0, 14.0
    columns, rows = torch.arange(old[1]), torch.arange(old[0])[:, None]
    bump = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)[None, None]
    out = resized(bump, new, how)[0, 0]
    out = out / out.sum()
    found_x = (out.sum(0) * torch.arange(new[1])).sum()
    found_y = (out.sum(1) * torch.arange(new[0])).sum()
    assert float(found_x) == pytest.approx(place(x, new[1], old[1]), abs=0.05)
    assert float(found_y) == pytest.approx(place(y, new[0], old[0]), abs=0.05)


def test_keypoints_in_another_order_give_the_same_loss_as_in_the_students_order():
    order = [3, 0, 4, 1, 2]
    model = distiller(teachers=[untrained(plain_config(HRNET), keypoints=order)])
    same = distiller()
    layer = same.teachers[0].model.head.final_layer
    layer.weight.data, layer.bias.data = layer.weight.data[order], layer.bias.data[order]
    one = model.loss(images(), samples())['loss_distill0']
    two = same.loss(images(), samples())['loss_distill0']
    torch.testing.assert_close(one, two)
    plain = distiller().loss(images(), samples())['loss_distill0']
    assert abs(float(one - plain)) > 1e-4


def test_a_keypoint_the_teacher_does_not_have_is_not_taught():
    wide = plain_config(HRNET)
    wide['head']['out_channels'] = 7
    model = distiller(teachers=[untrained(wide, keypoints=[6, -1, 0, 1, 2])])
    maps = []
    model.student.head.final_layer.register_forward_hook(
        lambda m, i, o: o.retain_grad() or maps.append(o)
    )
    model.loss(images(), samples())['loss_distill0'].backward()
    taught = maps[0].grad.flatten(2).abs().sum((0, 2)) > 0
    assert taught.tolist() == [True, False, True, True, True]


def test_two_teachers_add_up_with_their_weights():
    both = distiller(dict(from_teachers=[0, 1], teacher_weights=[0.25, 3.0]), teachers=TWO)
    one = distiller(dict(weight=0.25), dict(from_teachers=[1], weight=3.0), teachers=TWO)
    expected = one.loss(images(), samples())
    torch.testing.assert_close(
        both.loss(images(), samples())['loss_distill0'],
        expected['loss_distill0'] + expected['loss_distill1'],
    )


def test_the_more_confident_teacher_of_a_keypoint_teaches_it():
    model = distiller(dict(from_teachers=[0, 1], teacher_weights='confidence'), teachers=TWO)
    entry = model.distill[0]
    flat, sure = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    sure[0, 0, 1, 2] = 1.0  # the second teacher knows keypoint 0 only
    flat[0, 1, 3, 3] = 0.5  # the first keypoint 1 only
    student = torch.rand(1, 2, 4, 4)
    loss = entry(batch_of([student], {0: [flat], 1: [sure]}, torch.ones(1, 2)))
    best = torch.stack([sure[:, 0], flat[:, 1]], 1)
    torch.testing.assert_close(loss, (student - best).square().mean())


def test_confidence_is_finite_where_no_teacher_sees_anything():
    model = distiller(dict(from_teachers=[0, 1], teacher_weights='confidence'), teachers=TWO)
    nothing = {n: [torch.zeros(1, 5, 4, 4)] for n in (0, 1)}
    loss = model.distill[0](batch_of([torch.rand(1, 5, 4, 4)], nothing, torch.ones(1, 5)))
    assert loss == 0


@pytest.mark.parametrize('shape', [(1, 5, 2), (1, 5, 64)], ids=['coordinates', 'bins'])
def test_confidence_is_refused_where_a_teacher_has_no_maps(shape):
    model = distiller(dict(from_teachers=[0, 1], teacher_weights='confidence'), teachers=TWO)
    given = {n: [torch.rand(shape)] for n in (0, 1)}
    message = r"distill\[0\]\.teacher_weights='confidence'.*\(1, 5, .*teacher_weights='labels'"
    with pytest.raises(ValueError, match=message):
        model.distill[0](batch_of([torch.rand(shape)], given, torch.ones(1, 5)))
