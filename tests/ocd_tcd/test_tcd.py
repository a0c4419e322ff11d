"""TCD: a heatmap teacher teaches coordinates and bins, and a task loss through its frozen head."""

import copy

import pytest
import torch

from mmpose_kd.ocd_tcd.losses import cross_coordinates
from mmpose_kd.ocd_tcd.reading import pixel_size

from ..helpers.distillers import gradients
from ..helpers.models import build, images
from ..helpers.ocd import HEADS, REGRESSION, batch_of, plain_of, samples
from ..helpers.tcd import CROSS, OUTPUT, TASK, cross, distiller, tcd_of

every_kind = pytest.mark.parametrize('kind', HEADS)


# ------------------------------------------------------------------ all stock heads


@every_kind
def test_both_losses_reach_the_student_and_never_the_teacher(kind):
    model = distiller(kind=kind)
    frozen = model.teachers[0].model
    losses = model.loss(images(), samples(kind))
    for name, parts in (
        ('loss_task', ('distill.0.adapter.', 'student.backbone.')),
        ('loss_cross', ('student.head.', 'student.backbone.')),
    ):
        assert torch.isfinite(losses[name]) and losses[name] > 0
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert all(any(n.startswith(part) for n in moved) for part in parts)
    assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())


@every_kind
def test_with_all_weights_0_losses_and_gradients_are_those_of_plain_training(kind):
    plain = build(plain_of(kind)).train()
    entries = [{**entry, 'weight': 0.0} for entry in (TASK, cross(kind))]
    model = build(tcd_of(*entries, kind=kind)).train()
    torch.manual_seed(1)
    expected = plain.loss(images(), samples(kind))
    torch.manual_seed(1)
    losses = model.loss(images(), samples(kind))
    assert losses['loss_task'] == losses['loss_cross'] == 0
    assert all(torch.equal(losses[key], expected[key]) for key in expected)
    one, two = gradients(plain, expected), gradients(model, losses)
    for name, grad in one.items():
        torch.testing.assert_close(two[f'student.{name}'], grad, rtol=0, atol=0)
    state = model.state_dict()
    assert all(torch.equal(v, state[f'student.{k}']) for k, v in plain.state_dict().items())


@every_kind
def test_the_students_own_losses_are_untouched(kind):
    plain = build(plain_of(kind)).train()
    model = distiller(kind=kind)
    plain.load_state_dict(model.student.state_dict())
    expected = plain.loss(images(), batch_of(HEADS[kind]['head']['decoder']))
    losses = model.loss(images(), samples(kind))
    assert all(torch.equal(losses[key], expected[key]) for key in expected)


# ------------------------------------------------------------------ across representations


def test_the_cross_loss_is_that_of_the_teachers_heatmaps_and_the_heads_coordinates():
    model = distiller({**CROSS, 'weight': 3.0})
    twin, batch = copy.deepcopy(model.student), samples()
    loss = model.loss(images(), batch)['loss_cross']
    head = model.teachers[0].model.head
    with torch.no_grad():
        maps = model.teachers[0].model(images(), None, mode='tensor')
    weight = torch.cat([sample.gt_instance_labels.keypoint_weights for sample in batch])
    expected = cross_coordinates(
        twin(images(), None, mode='tensor'), maps, torch.tensor(pixel_size(head.decoder)), weight
    )
    torch.testing.assert_close(loss, 3.0 * expected)


def test_the_cross_loss_alone_needs_no_heatmaps_of_the_labels():
    batch = batch_of(REGRESSION)
    assert distiller(CROSS).loss(images(), batch)['loss_cross'] > 0


def test_a_simcc_head_may_be_named_by_its_last_layers():
    one, two = (
        distiller({**cross('rtmcc'), 'student': names}, kind='rtmcc')
        for names in (OUTPUT['rtmcc'], ('head.cls_x', 'head.cls_y'))
    )
    batch = samples('rtmcc')
    losses = [m.loss(images(), batch)['loss_cross'] for m in (one, two)]
    assert torch.equal(*losses)


def test_the_second_form_teaches_as_well():
    entry = {**CROSS, 'loss': dict(type='CrossHeatmapLoss')}
    losses = distiller(entry).loss(images(), samples())
    assert torch.isfinite(losses['loss_cross']) and losses['loss_cross'] > 0
