"""TCD's entries: a mistake names its key, what was found and what to give."""

import pytest

from ..helpers.models import HRNET, build, images, plain_config
from ..helpers.ocd import HEATMAP_CODEC, REGRESSION, UDP, batch_of, codec_of, plain_of, samples
from ..helpers.tcd import ADAPTER, CROSS, TASK, cross, distiller, tcd_of, teacher


def with_decoder(decoder):
    changed = plain_config(HRNET)
    changed['head']['decoder'] = decoder
    return [teacher(changed)]


@pytest.mark.parametrize(
    ('entry', 'settings', 'message'),
    [
        (dict(type='Through'), {}, r"distill\[0\].type='Through'.*ThroughTeacherHead"),
        (dict(student=('backbone', 'backbone')), {}, r'distill\[0\].student=.*one feature map'),
        (dict(from_teachers=[0, 1]), dict(teachers=[teacher()] * 2), r'from_teachers.*own entry'),
        (dict(teacher='head'), {}, r"distill\[0\].*'teacher'"),
        (dict(balance='yes'), {}, r"distill\[0\].balance='yes'"),
        (dict(balance=1, weight=0), {}, r'distill\[0\].balance=1'),
        (dict(loss='KeypointMSELoss'), {}, r"distill\[0\].loss='KeypointMSELoss': give a config"),
        (dict(loss={}), {}, r'distill\[0\].loss=\{\}: give a config'),
        (dict(loss=dict(type='MSE')), {}, r"distill\[0\].loss.type='MSE'"),
        (dict(student=3), {}, r'distill\[0\].student=3'),
        (dict(resize='up'), {}, r"distill\[0\].resize='up'"),
        (dict(from_teachers=0), {}, r'distill\[0\].from_teachers=0'),
        (dict(weight=float('nan')), {}, r'distill\[0\].weight=nan'),
        (dict(schedule='up'), {}, r"distill\[0\].schedule='up'"),
        (dict(balance=dict(step=1)), {}, r'distill\[0\].balance=.*step'),
        (
            dict(adapter={**ADAPTER, 'out_channels': 5}),
            {},
            r'adapter.out_channels=5: the head of model.teachers\[0\] expects 4',
        ),
        (
            {},
            dict(teachers=[teacher(plain_of('rtmcc'))]),
            r'teachers\[0\].config: the head is a RTMCCHead',
        ),
        ({}, dict(teachers=with_decoder(None)), r'teachers\[0\].config: head.decoder=None'),
        (
            {},
            dict(teachers=with_decoder({**UDP, 'heatmap_type': 'combined'})),
            r'teachers\[0\].config: head.decoder is a UDPHeatmap \(combined\)',
        ),
    ],
)
def test_a_wrong_entry_through_the_head_is_told_when_the_model_is_built(entry, settings, message):
    with pytest.raises(ValueError, match=message):
        build(tcd_of({**TASK, **entry}, **settings), init=False)


@pytest.mark.parametrize(
    ('entry', 'settings', 'message'),
    [
        (dict(resize='areas'), {}, r'distill\[0\].resize.*CrossCoordinateLoss.*leave it out'),
        (dict(from_teachers=[0, 1]), dict(teachers=[teacher()] * 2), r'from_teachers.*own entry'),
        (dict(teacher=('head', 'head')), {}, r'distill\[0\].teacher.*one teacher'),
        (dict(loss=dict(type='CrossSimCCLoss')), {}, 'give CrossCoordinateLoss'),
        ({}, dict(teachers=[teacher(plain_of('rtmcc'))]), r'decoder is a SimCCLabel'),
        ({}, dict(teachers=with_decoder(None)), 'heatmap_codec=None'),
    ],
)
def test_a_wrong_cross_entry_is_told_when_the_model_is_built(entry, settings, message):
    with pytest.raises(ValueError, match=message):
        build(tcd_of({**CROSS, **entry}, **settings), init=False)


def test_labels_without_heatmaps_are_told_with_what_to_put_there():
    with pytest.raises(ValueError, match=r'distill\[0\].*GenerateTarget.*CrossRepresentation'):
        distiller(TASK).loss(images(), batch_of(REGRESSION))


def test_heatmaps_of_another_codec_are_told():
    other = {**codec_of('regression'), 'heatmap': {**HEATMAP_CODEC, 'heatmap_size': (16, 32)}}
    with pytest.raises(
        ValueError, match=r'\(2, 5, 32, 16\).*\(2, 5, 16, 8\).*heatmap_size=\(8, 16\)'
    ):
        distiller(TASK).loss(images(), batch_of(other))


def test_a_feature_that_does_not_fit_the_head_is_told_with_both_sides():
    plain = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    with pytest.raises(
        ValueError,
        match=r"student='backbone' has \(2, 64, 2, 1\).*\(2, 4, 2, 1\).*teachers\[0\] expects "
        r'\(B, 4, 16, 8\).*distill\[0\].resize',
    ):
        distiller({**TASK, 'adapter': plain}).loss(images(), samples())
    with pytest.raises(ValueError, match=r'adapter.in_channels=32.*\(2, 64, 2, 1\), give 64'):
        distiller({**TASK, 'adapter': {**ADAPTER, 'in_channels': 32}}).loss(images(), samples())
    with pytest.raises(ValueError, match=r"student='neck' has \(2, 64\)"):
        distiller({**TASK, 'student': 'neck', 'adapter': None}).loss(images(), samples())


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        ('regression', 'head.fc'),
        ('regression', 'backbone'),
        ('integral', 'head.simplebaseline_head.final_layer'),
        ('simcc', 'head[0]'),
    ],
)
def test_a_student_output_of_another_kind_is_told_with_both_sides(kind, names):
    entry = {**cross(kind), 'student': names}
    with pytest.raises(ValueError, match=r'distill\[0\].student=.*\(2, .*teachers\[0\] \(2, 5'):
        distiller(entry, kind=kind).loss(images(), samples(kind))


def test_a_teacher_output_that_is_no_heatmap_is_told():
    model = distiller({**CROSS, 'teacher': 'backbone.conv1'})
    with pytest.raises(
        ValueError, match=r"distill\[0\].teacher='backbone.conv1'.*\(B, K, 16, 8\)"
    ):
        model.loss(images(), samples())
