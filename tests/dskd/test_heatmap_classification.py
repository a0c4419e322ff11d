"""Heatmaps as classification, in its four forms."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from mmpose_kd.dskd.guidance import peak_bits, peak_distribution
from mmpose_kd.dskd.losses import (
    HeatmapClassificationLoss,
    balanced,
    heatmap_bce,
    heatmap_cross_entropy,
)

FORMS = ['bce', 'focal', 'softmax', 'distribution']


def maps(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 4, 5, generator=generator).to(dtype)


def target(form):
    if form == 'distribution':
        return peak_distribution(maps(1))
    return peak_bits(maps(1)) if form == 'softmax' else (maps(1) > 0.7).float()


def gaussian(sigma, height=64, width=48):
    x, y = torch.arange(width), torch.arange(height)[:, None]
    return torch.exp(-((x - 20.3) ** 2 + (y - 30.6) ** 2) / (2 * sigma**2))[None, None]


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_the_binary_form_by_hand():
    student, bits = torch.tensor([[[[1.0, 0.2]]]]), torch.tensor([[[[1.0, 0.0]]]])
    right, wrong = sigmoid(10 * 0.5), sigmoid(10 * -0.3)
    expected = -(3 * math.log(right) + math.log(1 - wrong)) / 2
    assert heatmap_bce(student, bits, pos_weight=3.0).item() == pytest.approx(expected, rel=1e-5)


def test_the_binary_form_is_torchs_with_weighted_positives():
    student, bits = maps(), target('bce')
    expected = F.binary_cross_entropy_with_logits(
        10 * (student - 0.5), bits, pos_weight=torch.tensor(7.0)
    )
    torch.testing.assert_close(heatmap_bce(student, bits, pos_weight=7.0), expected)


def test_the_focal_form_by_hand():
    student, bits = torch.tensor([[[[0.8, 0.3]]]]), torch.tensor([[[[1.0, 0.0]]]])
    p, q = sigmoid(3.0), sigmoid(-2.0)
    expected = -((1 - p) ** 2 * math.log(p) + q**2 * math.log(1 - q)) / 2
    found = heatmap_bce(student, bits, pos_weight=1.0, focus=2.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_softmax_form_by_hand():
    student, place = torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([[[[1.0, 0.0]]]])
    expected = math.log(1 + math.exp(-5))
    assert heatmap_cross_entropy(student, place).item() == pytest.approx(expected, rel=1e-5)


def test_positives_weigh_as_much_as_negatives_by_default():
    bits = torch.zeros(1, 2, 64, 48)
    bits[0, 0, 10, :21] = 1
    weight = balanced(bits, None)
    assert weight[0, 0].item() == pytest.approx((3072 - 21) / 21)
    # undecided everywhere: both halves cost the same
    student = torch.full((1, 2, 64, 48), 0.5)
    found = heatmap_bce(student, bits)[None]
    by_hand = math.log(2) * (2 * 3051 + 3072) / (2 * 3072)
    torch.testing.assert_close(found, torch.tensor([by_hand]))


def test_the_distribution_form_asks_for_no_other_heatmap_than_the_ground_truths():
    """The form against the peak alone does: it would spoil the shape that gives sub-pixels."""
    pulls = {}
    for form, places in (('softmax', peak_bits), ('distribution', peak_distribution)):
        student = gaussian(2.0).requires_grad_()
        HeatmapClassificationLoss(form)(student, places(gaussian(2.0))).backward()
        pulls[form] = student.grad.abs().max().item()
    assert pulls['distribution'] < 1e-5 and pulls['softmax'] > 1


@pytest.mark.parametrize('form', FORMS[:3])
def test_a_student_that_is_right_costs_nothing(form):
    student = 20 * target(form) - 10
    assert HeatmapClassificationLoss(form)(student, target(form)).item() == pytest.approx(0)
    assert HeatmapClassificationLoss(form)(-student, target(form)) > 1


@pytest.mark.parametrize('form', FORMS)
def test_invisible_keypoints_cost_nothing(form):
    loss = HeatmapClassificationLoss(form)
    student = maps().requires_grad_()
    weight = torch.tensor([[1.0, 0, 1], [1, 1, 0]])
    loss(student, target(form), weight).backward()
    assert (student.grad[weight == 0] == 0).all() and (student.grad[weight == 1] != 0).any()
    zero = loss(maps(), target(form), torch.zeros(2, 3))
    assert zero == 0 and torch.isfinite(zero)
    free = HeatmapClassificationLoss(form, use_target_weight=False)
    assert free(maps(), target(form), torch.zeros(2, 3)) > 0


@pytest.mark.parametrize('form', FORMS)
def test_a_target_without_any_bits_is_finite(form):
    student = maps().requires_grad_()
    loss = HeatmapClassificationLoss(form)(student, torch.zeros(2, 3, 4, 5))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()
    assert (loss == 0) == (form in ('softmax', 'distribution'))


@pytest.mark.parametrize('form', FORMS)
def test_the_gradient_reaches_the_student_and_not_the_target(form):
    student, bits = maps().requires_grad_(), target(form).requires_grad_()
    HeatmapClassificationLoss(form)(student, bits).backward()
    assert student.grad.abs().sum() > 0 and bits.grad is None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('form', FORMS)
def test_half_precision_is_finite(form, dtype):
    student = (1000 * maps(dtype=dtype)).requires_grad_()
    loss = HeatmapClassificationLoss(form)(student, target(form))
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize('form', FORMS)
def test_the_loss_weight_is_a_factor(form):
    one, three = (HeatmapClassificationLoss(form, loss_weight=w) for w in (1.0, 3.0))
    torch.testing.assert_close(three(maps(), target(form)), 3 * one(maps(), target(form)))


@pytest.mark.parametrize(
    'settings',
    [
        dict(form='hinge'), dict(kappa=0), dict(pos_weight=0), dict(loss_weight=-1),
        dict(form='softmax', pos_weight=2.0), dict(pos_weight=2.0), dict(focus=2.0),
        dict(form='focal', focus=0), dict(form=None), dict(form=['bce']), dict(kappa='1'),
        dict(kappa=True), dict(kappa=None), dict(kappa=math.inf), dict(form='bce', pos_weight='1'),
        dict(form='bce', pos_weight=math.nan), dict(form='focal', focus=[2]),
        dict(use_target_weight='no'), dict(use_target_weight=1), dict(loss_weight=None),
        dict(loss_weight=math.inf), dict(loss_weight='1'),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named(settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ValueError, match=re.escape(f'here.{name}={value!r}: ')):
        HeatmapClassificationLoss(**settings, key='here')


@pytest.mark.parametrize(
    ('settings', 'same'),
    [
        (dict(form='bce'), dict(focus=0.0)),
        (dict(form='bce', pos_weight=3.0, kappa=4.0), dict(pos_weight=3.0, kappa=4.0)),
        (dict(form='focal'), dict(focus=2.0)),
        (dict(form='focal', focus=0.5, pos_weight=3.0), dict(focus=0.5, pos_weight=3.0)),
    ],
)
def test_the_settings_of_a_form_reach_the_formula(settings, same):
    weight = torch.tensor([[1.0, 0.5, 0.0]] * 2)
    found = HeatmapClassificationLoss(**settings)(maps(), target('bce'), weight)
    assert found == heatmap_bce(maps(), target('bce'), weight, **same)


@pytest.mark.parametrize('form', ['softmax', 'distribution'])
def test_over_positions_kappa_is_the_only_setting_of_the_formula(form):
    weight = torch.tensor([[1.0, 0.5, 0.0]] * 2)
    found = HeatmapClassificationLoss(form, kappa=4.0)(maps(), target(form), weight)
    assert found == heatmap_cross_entropy(maps(), target(form), weight, kappa=4.0)
    assert found != heatmap_cross_entropy(maps(), target(form), weight)
