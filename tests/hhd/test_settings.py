"""What HHDLoss takes from the student's head, and settings that are refused."""

import json
import re
import sys

import pytest
import torch
from mmpose.models.heads import HeatmapHead, IntegralRegressionHead
from torch import nn

from mmpose_kd.core.deployed import predicting_head
from mmpose_kd.hhd.integral_head import UnbiasedIntegralHead
from mmpose_kd.hhd.loss import HHDLoss

from ..helpers.distillers import distiller_config
from ..helpers.hhd import random_maps
from ..helpers.models import build, okdhp_config
from ..helpers.ocd import ocd_of, plain_of


def integral_head(cls, **settings):
    shape = dict(in_channels=3, in_featuremap_size=(12, 16), num_joints=3)
    return cls(deconv_out_channels=None, deconv_kernel_sizes=None, **shape, **settings)


def test_bind_takes_the_head_s_beta():
    maps = random_maps(0), random_maps(1)
    loss = HHDLoss()
    loss.bind(integral_head(IntegralRegressionHead, beta=4.0))
    assert float(loss(*maps)) == float(HHDLoss(beta=4.0)(*maps))


def test_bind_leaves_a_given_beta():
    loss = HHDLoss(beta=2.0)
    loss.bind(integral_head(IntegralRegressionHead, beta=4.0))
    assert loss.beta == 2


def test_bind_to_an_unbiased_head_keeps_the_teacher_s_position():
    maps = random_maps(0), random_maps(1)
    loss = HHDLoss()
    loss.bind(integral_head(UnbiasedIntegralHead, beta=4.0))
    assert float(loss(*maps)) == float(HHDLoss(beta=4.0, align='none')(*maps))


@pytest.mark.parametrize(
    'settings', [{}, dict(beta=10.0), dict(mode='released')], ids=['aligned', 'beta', 'released']
)
@pytest.mark.parametrize(
    ('head', 'name'),
    [
        (lambda: nn.Linear(1, 1), 'Linear'),
        (lambda: HeatmapHead(3, 3, deconv_out_channels=None), 'HeatmapHead'),
        (lambda: None, 'NoneType'),
        (lambda: build(okdhp_config(), init=False).head, 'HeatmapHead'),
        (lambda: build(ocd_of('simcc'), init=False).head, 'SimCCHead'),
    ],
    ids=['Linear', 'HeatmapHead', 'no head', 'OKDHPHead', 'OCDHead'],
)
def test_a_student_without_a_soft_argmax_is_refused_in_every_mode(head, name, settings):
    with pytest.raises(ValueError, match=f'HHDLoss: student.head.type={name!r}: .*soft-argmax'):
        HHDLoss(**settings).bind(head())


@pytest.mark.parametrize('mode', ['aligned', 'released'])
@pytest.mark.parametrize('kind', ['integral', 'dsnt'])
def test_a_soft_argmax_inside_a_head_of_two_is_found(kind, mode):
    head, loss = build(ocd_of(kind), init=False).head, HHDLoss(mode)
    predicting_head(head).beta = 3.0
    loss.bind(head)
    assert loss.beta == (3.0 if mode == 'aligned' else None)


def test_another_head_says_by_its_beta_that_it_has_a_soft_argmax():
    head, loss = nn.Linear(1, 1), HHDLoss()
    head.beta = 3.0
    loss.bind(head)
    assert loss.beta == 3


@pytest.mark.parametrize('beta', [0, -1.0, float('nan'), 'ten', True])
def test_bind_to_a_head_whose_beta_is_no_number_names_the_key(beta):
    head = integral_head(IntegralRegressionHead)
    head.beta = beta
    with pytest.raises(ValueError, match=f'IntegralRegressionHead.beta={beta!r}: .*above 0'):
        HHDLoss().bind(head)


def test_bind_to_an_unbiased_head_refuses_full_alignment():
    with pytest.raises(ValueError, match=r"HHDLoss.align='full': UnbiasedIntegralHead holds its"):
        HHDLoss(align='full').bind(integral_head(UnbiasedIntegralHead))


def test_bind_has_the_signature_of_every_loss():
    loss = HHDLoss()
    loss.bind(integral_head(IntegralRegressionHead, beta=4.0), None, 'teachers[0].config')
    assert loss.beta == 4


def test_released_mode_needs_no_beta():
    loss = HHDLoss('released')
    maps = random_maps(0), random_maps(1)
    before = float(loss(*maps))
    loss.bind(integral_head(IntegralRegressionHead, beta=4.0))
    assert float(loss(*maps)) == before


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(mode='paper'), "mode='paper'.*aligned"),
        (dict(mode=None), 'mode=None.*aligned'),
        (dict(beta=0), 'beta=0:'),
        (dict(beta=float('inf')), 'beta=inf'),
        (dict(crop_size=8), 'crop_size=8:.*height'),
        (dict(crop_size=(8, 0)), r'crop_size=\(8, 0\)'),
        (dict(crop_size=(8.0, 8)), r'crop_size=\(8.0, 8\)'),
        (dict(mode='released', crop_size=(8, 7)), r'crop_size=\(8, 7\).*even'),
        (dict(norm_student='max'), "norm_student='max'.*softmax"),
        (dict(norm_teacher='max'), "norm_teacher='max'.*softmax"),
        (dict(window='round'), "window='round'.*bilinear"),
        (dict(padding='wrap'), "padding='wrap'.*reflect"),
        (dict(align='half'), "align='half'.*full"),
        (dict(mode='released', window='integer'), "window='integer'.*leave it out"),
        (dict(mode='released', padding='zero'), "padding='zero'.*leave it out"),
        (dict(mode='released', align='none'), "align='none'.*leave it out"),
        (dict(mode='released', beta=10), "beta=10: leave it out with mode='released'"),
        (dict(loss_weight=-1), 'loss_weight=-1'),
        (dict(loss_weight=float('nan')), 'loss_weight=nan'),
        *((dict(loss_weight=v), 'loss_weight=') for v in ('1', None, True, float('inf'), [1])),
        *((dict(mode=v), 'mode=') for v in (1, True, ['aligned'])),
        *((dict(beta=v), 'beta=') for v in ('1', True, float('nan'), -1, [1])),
        *((dict(crop_size=v), 'crop_size=') for v in (None, '88', (8,), (True, 8), (8, 8, 8))),
        *((dict(norm_student=v), 'norm_student=') for v in (2, True, ['l2'])),
        *((dict(norm_teacher=v), 'norm_teacher=') for v in (2, True, ['l2'])),
        *((dict(window=v), 'window=') for v in (0, False, [])),
        *((dict(padding=v), 'padding=') for v in (0, False, ['zero'])),
        *((dict(align=v), 'align=') for v in (0, False, True)),
        *((dict(use_target_weight=v), 'use_target_weight=') for v in ('no', None, 1, [])),
        *((dict(teacher_confidence=v), 'teacher_confidence=') for v in ('no', None, 0, [])),
    ],
)
def test_bad_settings_name_the_key(settings, message):
    with pytest.raises(ValueError, match=f'HHDLoss.{message}'):
        HHDLoss(**settings)


def entry_at(student, **head):
    """A distiller around an integral student whose maps are taken at a place."""
    plain = plain_of('integral')
    plain['head'].update(head)
    entry = dict(loss=dict(type='HHDLoss', mode='released'), student=student)
    return build(distiller_config(entry, student=plain), init=False)


@pytest.mark.parametrize('path', ['head[1]', 'head[-1]', 'head', 'head[0]'])
@pytest.mark.parametrize(
    ('head', 'layer'),
    [
        ({}, 'head.simplebaseline_head.final_layer'),
        (dict(deconv_out_channels=None), 'head.final_layer'),
        (dict(type='UnbiasedIntegralHead'), 'head.simplebaseline_head.final_layer'),
        (dict(type='DSNTHead'), 'head.simplebaseline_head.final_layer'),
    ],
    ids=['deconvolutions', 'none', 'unbiased', 'DSNT'],
)
def test_maps_behind_the_students_softmax_are_refused(path, head, layer):
    message = rf'distill\[0\]\.student={re.escape(repr(path))}: .*softmax.*: give {layer!r}$'
    with pytest.raises(ValueError, match=message):
        entry_at(path, **head)
    assert entry_at(layer, **head).distill[0].student_paths[0].name == layer


def test_a_head_without_a_layer_of_its_own_is_told_to_get_one():
    with pytest.raises(
        ValueError, match=r'give head\.final_layer=dict\(kernel_size=1\), and here'
    ):
        entry_at('head[1]', deconv_out_channels=None, final_layer=None)


def test_the_maps_of_the_inner_head_are_before_the_softmax():
    model = entry_at('head.simplebaseline_head')
    assert model.distill[0].student_paths[0].name == 'head.simplebaseline_head'


MAPS = (2, 3, 16, 12)


@pytest.mark.parametrize(
    ('settings', 'shapes', 'message'),
    [
        (dict(), [MAPS, MAPS], r'HHDLoss.beta=None.*bind\(head\)'),
        (dict(beta=1.0, crop_size=(20, 8)), [MAPS, MAPS], r'crop_size=\(20, 8\).*\(16, 12\)'),
        (dict(mode='released', crop_size=(8, 14)), [MAPS, MAPS], r'HHDLoss.crop_size=\(8, 14\)'),
        (dict(beta=1.0), [MAPS, (2, 3, 32, 24)], r'\(2, 3, 16, 12\) and \(2, 3, 32'),
        (dict(beta=1.0), [MAPS[1:]] * 2, r'\(B, K, H, W\)'),
        (dict(beta=1.0), [MAPS, MAPS, (2, 3, 1)], r'target_weight \(2, 3, 1\)'),
    ],
)
def test_bad_inputs_say_what_was_found(settings, shapes, message):
    with pytest.raises(ValueError, match=message):
        HHDLoss(**settings)(*[torch.ones(shape) for shape in shapes])


def test_settings_may_be_texts_that_were_read_from_somewhere():
    """Equal ones, not the very ones that stand in the code."""
    maps = random_maps(0), random_maps(1)
    for text in (
        '{"beta": 3.0, "window": "integer", "padding": "zero", "align": "none"}',
        '{"mode": "released", "norm_student": "l1", "norm_teacher": "softmax"}',
        '{"beta": 3.0, "norm_student": "sum", "window": "bilinear", "padding": "reflect"}',
    ):
        settings = json.loads(text)
        known = {k: sys.intern(v) if isinstance(v, str) else v for k, v in settings.items()}
        assert float(HHDLoss(**settings)(*maps)) == float(HHDLoss(**known)(*maps))


@pytest.mark.parametrize('cls', [IntegralRegressionHead, UnbiasedIntegralHead])
def test_the_released_loss_takes_nothing_from_the_head(cls):
    maps = random_maps(0), random_maps(1)
    loss = HHDLoss(mode='released')
    before, settings = float(loss(*maps)), dict(loss.settings)
    loss.bind(integral_head(cls, beta=4.0))
    assert (float(loss(*maps)), loss.beta, loss.settings) == (before, None, settings)
