"""What a guide costs a student: of the scale of the head's own loss."""

import functools

import pytest
import torch
from mmpose.models.losses import (
    AdaptiveWingLoss,
    KeypointMSELoss,
    KLDiscretLoss,
    RLELoss,
    SmoothL1Loss,
    WingLoss,
)
from torch import nn

from mmpose_kd.dskd.losses import bins_kl, own_loss, residual_smooth_l1, weighted_mse

WEIGHT = torch.tensor([[1.0, 0.0, 1.0], [0.5, 1.0, 1.0]])
BINS = (16, 32)


class Head(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss_module = loss


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bins(seed=0):
    return [rand(2, 3, n, seed=seed) for n in BINS]


def gradients(loss, *outputs):
    return torch.autograd.grad(loss, outputs)


MSE = functools.partial(KeypointMSELoss, use_target_weight=True)


@pytest.mark.parametrize('loss_weight', [1.0, 500.0, 0.5])
def test_a_guides_heatmaps_cost_what_the_heads_own_loss_takes_for_them_as_labels(loss_weight):
    student, guide = rand(2, 3, 4, 5), rand(2, 3, 4, 5, seed=1)
    module = MSE(loss_weight=loss_weight)
    found = own_loss('heatmap', Head(module))([student], [guide], WEIGHT)
    torch.testing.assert_close(found, module(student, guide, WEIGHT))


@pytest.mark.parametrize(
    'module',
    [MSE(), MSE(loss_weight=1), MSE(loss_weight=0.0), AdaptiveWingLoss(loss_weight=7.0), None],
)
def test_heatmaps_cost_a_plain_mse_to_the_last_bit_unless_a_weight_is_known(module):
    student = rand(2, 3, 4, 5).requires_grad_()
    guide = rand(2, 3, 4, 5, seed=1)
    found = own_loss('heatmap', Head(module))([student], [guide], WEIGHT)
    expected = weighted_mse(student, guide, WEIGHT)
    assert torch.equal(found, expected)
    assert torch.equal(*gradients(found, student), *gradients(expected, student))


def test_of_stages_the_weight_is_that_of_the_last_which_is_guided():
    student, guide = rand(2, 3, 4, 5), rand(2, 3, 4, 5, seed=1)
    stages = nn.ModuleList([MSE(loss_weight=2.0), MSE(loss_weight=3.0)])
    found = own_loss('heatmap', Head(stages))([student], [guide], WEIGHT)
    assert torch.equal(found, 3.0 * weighted_mse(student, guide, WEIGHT))


def test_bins_by_hand():
    student, guide = torch.zeros(1, 1, 2), torch.tensor([[[0.0, 1.0]]])
    p = guide.softmax(-1)[0, 0]
    expected = (p * (p / 0.5).log()).sum() / 2  # the mean over 2 bins
    found = bins_kl([student], [guide], torch.ones(1, 1))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    # pictures are summed, keypoints averaged, as in KLDiscretLoss
    assert bins_kl([student.repeat(4, 3, 1)], [guide.repeat(4, 3, 1)]).item() == pytest.approx(
        4 * expected.item(), rel=1e-5
    )


@pytest.mark.parametrize('beta', [1.0, 10.0])
@pytest.mark.parametrize('mask', [{}, dict(mask=[1, 2], mask_weight=0.3)])
def test_a_guides_bins_cost_what_the_heads_own_loss_takes_for_them_as_labels(beta, mask):
    module = KLDiscretLoss(beta=beta, use_target_weight=True, **mask)
    student, guide = bins(), bins(1)
    labels = [(x * beta).softmax(-1) for x in guide]
    found = own_loss('bins', Head(module))(student, guide, WEIGHT)
    torch.testing.assert_close(found, module(student, labels, WEIGHT), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('module', [SmoothL1Loss, WingLoss])
def test_a_guides_coordinates_cost_what_the_heads_own_loss_takes_for_them_as_labels(module):
    student, guide = rand(2, 3, 2), rand(2, 3, 2, seed=1)
    module = module(use_target_weight=True, loss_weight=2.0)
    found = own_loss('coordinates', Head(module))([student], [guide], WEIGHT)
    torch.testing.assert_close(found, module(student, guide, WEIGHT[..., None]))


@pytest.mark.parametrize('module', [SmoothL1Loss, WingLoss])
def test_a_loss_that_ignores_the_weights_does_not_teach_unlabelled_keypoints(module):
    student = rand(2, 3, 2).requires_grad_()
    guidance = own_loss('coordinates', Head(module(use_target_weight=False)))
    loss = guidance([student], [rand(2, 3, 2, seed=1)], WEIGHT)
    (gradient,) = gradients(loss, student)
    assert gradient[0, 1].abs().sum() == 0 and gradient[0, 0].abs().sum() > 0


def test_the_coordinates_of_dsnt_cost_what_the_first_of_its_losses_takes():
    from mmpose.models.losses import MultipleLossWrapper

    both = [dict(type='WingLoss', use_target_weight=True), dict(type='JSDiscretLoss')]
    student, guide = rand(2, 3, 2), rand(2, 3, 2, seed=1)
    found = own_loss('coordinates', Head(MultipleLossWrapper(both)))([student], [guide], WEIGHT)
    expected = WingLoss(use_target_weight=True)(student, guide, WEIGHT[..., None])
    torch.testing.assert_close(found, expected)


def test_a_loss_that_is_not_mmposes_gives_smooth_l1():
    student, guide, weight = rand(2, 3, 2), rand(2, 3, 2, seed=1), (WEIGHT > 0).float()
    found = own_loss('coordinates', Head(nn.Identity()))([student], [guide], weight)
    expected = SmoothL1Loss(use_target_weight=True)(student, guide, weight)
    torch.testing.assert_close(found, expected)


def test_far_from_its_guide_an_rle_student_feels_the_slope_of_its_own_loss():
    returned = torch.cat([torch.zeros(2, 3, 2), torch.full((2, 3, 2), -3.0)], -1)
    returned.requires_grad_()
    head = Head(RLELoss(use_target_weight=True))
    guide = torch.full((2, 3, 2), 0.5)  # ten sigmas away
    loss = own_loss('coordinates', head, returned)([returned[..., :2]], [guide], torch.ones(2, 3))
    (gradient,) = gradients(loss, returned)
    sigma = torch.tensor(-3.0).sigmoid()
    assert gradient[..., 2:].abs().sum() == 0  # sigma is not taught
    torch.testing.assert_close(gradient[..., :2], -torch.ones(2, 3, 2) / sigma / 2)  # 2 pictures
    assert all(p.grad is None for p in head.parameters())


def test_the_residual_by_hand():
    student, guide, sigma = (torch.full((1, 2, 2), x) for x in (0.2, 0.1, 0.2))
    assert residual_smooth_l1(student, guide, sigma).item() == pytest.approx(4 * 0.5 * 0.5**2)
    weight = torch.tensor([[1.0, 0.0]])
    assert residual_smooth_l1(student, guide, sigma, weight).item() == pytest.approx(0.25)


HEADS = {
    'bins': ('bins', KLDiscretLoss(), bins),
    'SmoothL1': ('coordinates', SmoothL1Loss(), lambda seed=0: [rand(2, 3, 2, seed=seed)]),
    'RLE': ('coordinates', RLELoss(), lambda seed=0: [rand(2, 3, 2, seed=seed)]),
}
heads = pytest.mark.parametrize('name', HEADS)


def guidance_of(name):
    kind, module, make = HEADS[name]
    returned = torch.zeros(2, 3, 4) if name == 'RLE' else None
    return own_loss(kind, Head(module), returned), make


@heads
def test_equal_outputs_cost_nothing_and_no_labels_neither(name):
    guidance, make = guidance_of(name)
    assert guidance(make(), make(), WEIGHT).abs() < 1e-7
    assert guidance(make(), make(1), WEIGHT) > 0
    assert guidance(make(), make(1), torch.zeros(2, 3)) == 0


@heads
def test_half_precision_is_finite(name):
    guidance, make = guidance_of(name)
    student, guide = ([100 * x.half() for x in make(seed)] for seed in (0, 1))
    student = [x.requires_grad_() for x in student]
    loss = guidance(student, guide, WEIGHT.half())
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in gradients(loss, *student))


@pytest.mark.parametrize('batch', [1, 32])
@pytest.mark.parametrize('count', [16, 512])
def test_bins_pull_as_the_task_does_whatever_batch_and_number_of_bins(batch, count):
    """For a guide as far from the student as the labels are."""
    module = KLDiscretLoss(beta=10.0, label_softmax=True, label_beta=10.0)
    student = torch.zeros(batch, 3, count, requires_grad=True)
    guide = torch.zeros(batch, 3, count)
    guide[..., 3] = 1
    labels = torch.zeros_like(guide)
    labels[..., 8] = 1
    weight = torch.ones(batch, 3)
    guided = own_loss('bins', Head(module))([student], [guide], weight)
    (pull,) = gradients(guided, student)
    (task,) = gradients(module([student], [labels], weight), student)
    assert (pull.norm() / task.norm()).item() == pytest.approx(1, rel=1e-3)
