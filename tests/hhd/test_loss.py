"""HHDLoss: values by hand, zero at equality, gradients, weights, hard inputs."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmpose_kd.hhd.centre import bump_excess, peak_position, softmax_maps, unbiased_centre
from mmpose_kd.hhd.loss import CHOICES, HHDLoss
from mmpose_kd.hhd.windows import cut_windows

from ..helpers.hhd import MODES, NAMES, gaussian, random_maps, soft_argmax
from ..helpers.upstream import needs_newer_torch


def test_aligned_value_by_hand():
    # student: softmax (1/2, 1/6, 1/6, 1/6), flat but for its peak; teacher: (1, 0, 0, 1) / 2
    student = torch.tensor([math.log(3.0), 0, 0, 0], dtype=torch.float64).view(1, 1, 2, 2) / 5
    teacher = torch.tensor([1.0, -3, -3, 1], dtype=torch.float64).view(1, 1, 2, 2)
    loss = HHDLoss(beta=5.0, crop_size=(1, 1), align='none', loss_weight=2.0)
    assert float(loss(student, teacher)) == pytest.approx(0, abs=1e-15)  # 1/2 and 1/2 at (0, 0)
    loss = HHDLoss(beta=5.0, crop_size=(2, 2), align='none', loss_weight=2.0, padding='zero')
    # the window around (0, 0) holds only that position; around (1, 1) all four
    assert float(loss(student, teacher)) == pytest.approx(0, abs=1e-15)
    teacher = teacher.clone()
    teacher[0, 0, 1, 1] = 3  # (1, 0, 0, 3) / 4, against 1/2 1/6 1/6 1/6
    by_hand = 2 * ((1 / 4) ** 2 + 2 * (1 / 6) ** 2 + (1 / 6 - 3 / 4) ** 2)
    assert float(loss(student, teacher)) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize('norm', CHOICES['norm_student'])
@pytest.mark.parametrize('window', CHOICES['window'])
@pytest.mark.parametrize('padding', CHOICES['padding'])
def test_zero_at_equality_without_a_shift(norm, window, padding):
    same = random_maps(0)
    settings = dict(norm_student=norm, norm_teacher=norm, window=window, padding=padding)
    loss = HHDLoss(beta=1.0, align='none', **settings)
    assert float(loss(same, same.clone())) == pytest.approx(0, abs=1e-15)


def test_a_bump_where_it_has_to_be_costs_less_than_one_at_the_teacher_s_place():
    beta, x, y = 10.0, torch.tensor([[50.0, 12.0]]), torch.tensor([[20.0, 48.0]])
    biased = gaussian(x, y)
    e_x, e_y = soft_argmax(beta * biased)  # 1 to 2 pixels nearer to the middle
    settings = dict(beta=beta, norm_student='none', norm_teacher='none', window='bilinear')
    teacher = gaussian(e_x, e_y)
    assert HHDLoss(**settings)(biased, teacher) < 0.01
    assert HHDLoss(align='none', **settings)(biased, teacher) > 1
    assert HHDLoss(**settings)(teacher, teacher) > 1


def test_an_integer_window_rounds_the_shift():
    # the shift at excess 1 is E - mu: 40.4 - 31.5 = 8.9, and 9 from column 40
    excess = torch.tensor(1.0)
    x, _ = unbiased_centre(*torch.tensor([40.4, 31.5]), excess, (64, 64))
    assert float(x) == pytest.approx(49.3)
    teacher = gaussian(40.4, 31.0)[None, None]
    mass = 64 * 64 * 1.0
    student = torch.zeros_like(teacher)
    student[..., 31, 49] = math.log(1 + mass)  # a single position with an excess of 1
    settings = dict(beta=1.0, crop_size=(1, 1), loss_weight=1.0)
    found = HHDLoss(**settings)(student, teacher)  # row 31: shift -0.5, to 30 or 31
    none = HHDLoss(align='none', **settings)(student, teacher)
    peak = float(teacher.amax() / teacher.sum())
    assert float(none) == pytest.approx((1 / (2 * mass) - peak) ** 2, rel=1e-6)
    assert float(found) == pytest.approx((0.5 - peak) ** 2, rel=1e-3)


@pytest.mark.parametrize('crop_size', [(7, 7), (3, 8), [5, 4]])
def test_odd_windows_work_when_aligned(crop_size):
    assert torch.isfinite(HHDLoss(beta=1.0, crop_size=crop_size)(random_maps(0), random_maps(1)))


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_a_map_s_loss_does_not_depend_on_the_others(settings):
    student, teacher = random_maps(0, (3, 4, 16, 12)), random_maps(1, (3, 4, 16, 12))
    loss = HHDLoss(**settings)
    one_by_one = sum(
        loss(student[b : b + 1, k : k + 1], teacher[b : b + 1, k : k + 1])
        for b in range(3)
        for k in range(4)
    )
    assert float(loss(student, teacher)) == pytest.approx(float(one_by_one) / 3, abs=1e-12)


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_channels_last_maps_give_the_same(settings):
    student, teacher = random_maps(0), random_maps(1)
    loss = HHDLoss(**settings)
    other = [m.to(memory_format=torch.channels_last) for m in (student, teacher)]
    assert float(loss(*other)) == pytest.approx(float(loss(student, teacher)), abs=1e-12)


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_gradient_reaches_the_student_and_not_the_teacher(settings):
    student, teacher = random_maps(0).requires_grad_(), random_maps(1).requires_grad_()
    HHDLoss(**settings)(student, teacher).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@pytest.mark.parametrize('norm', CHOICES['norm_student'])
@pytest.mark.parametrize(
    'settings', [MODES[0], dict(beta=0.5), dict(beta=0.5, window='bilinear')], ids=NAMES
)
def test_gradient_is_right_with_the_centres_as_constants(settings, norm):
    # a student too flat to move its centre, which is a constant for the gradient
    student = (1 + 0.01 * random_maps(0, (1, 2, 8, 6))).requires_grad_()
    teacher = random_maps(1, (1, 2, 8, 6))
    loss = HHDLoss(crop_size=(4, 4), norm_student=norm, **settings)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student, fast_mode=True)


def test_the_centre_is_a_constant_for_the_gradient():
    teacher, beta = gaussian([[40.4]], [[25.0]]), 10.0
    student = gaussian([[40.0]], [[24.0]]).requires_grad_()
    settings = dict(norm_student='none', norm_teacher='none', window='bilinear', loss_weight=1.0)
    (found,) = torch.autograd.grad(HHDLoss(beta=beta, **settings)(student, teacher), student)
    with torch.no_grad():
        x, y = peak_position(teacher)[2:4]
        centre = unbiased_centre(x, y, bump_excess(softmax_maps(student, beta)), (64, 64))
        window = cut_windows(teacher, x, y, (8, 8))
    assert (centre[0] - x).abs() > 0.5
    by_hand = (cut_windows(student, *centre, (8, 8)) - window).square().sum()
    assert torch.allclose(found, torch.autograd.grad(by_hand, student)[0], atol=1e-12)


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_weights_multiply_each_keypoint_s_share(settings):
    student, teacher = random_maps(0, (1, 2, 16, 12)), random_maps(1, (1, 2, 16, 12))
    loss = HHDLoss(**settings)
    shares = [float(loss(student[:, k : k + 1], teacher[:, k : k + 1])) for k in range(2)]
    found = float(loss(student, teacher, torch.tensor([[0.5, 2.0]])))
    assert found == pytest.approx(0.5 * shares[0] + 2 * shares[1], abs=1e-12)


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_a_masked_keypoint_costs_nothing_whatever_its_maps_hold(settings):
    student, teacher = random_maps(0, dtype=torch.float32), random_maps(1, dtype=torch.float32)
    weight = torch.ones(2, 3)
    weight[0, 1] = 0
    loss = HHDLoss(**settings)
    without = loss(student, teacher, weight)
    student[0, 1, 3:5] = 1e30
    student[0, 1, 7:] = -1e30
    teacher[0, 1, 2:6] = 1e20
    student.requires_grad_()
    found = loss(student, teacher, weight)
    found.backward()
    assert float(found.detach()) == pytest.approx(float(without), abs=1e-7)
    assert student.grad[0, 1].abs().max() == 0
    assert student.grad[0, 0].abs().max() > 0
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_zero_with_zero_gradient_when_everything_is_masked(settings):
    student = random_maps(0).requires_grad_()
    loss = HHDLoss(**settings)(student, random_maps(1), torch.zeros(2, 3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_the_weights_can_be_ignored():
    maps = random_maps(0), random_maps(1)
    found = HHDLoss(beta=1.0, use_target_weight=False)(*maps, torch.zeros(2, 3))
    assert float(found) == float(HHDLoss(beta=1.0)(*maps))


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_teacher_confidence_weighs_by_the_height_of_its_peak(settings):
    student, teacher = random_maps(0), random_maps(1)
    height = torch.tensor([[0.25, 1.0, 3.0], [-0.5, 0.0, 0.5]])
    teacher = teacher - teacher.amax((2, 3), keepdim=True) + height[..., None, None]
    found = HHDLoss(teacher_confidence=True, **settings)(student, teacher, torch.ones(2, 3))
    expected = HHDLoss(**settings)(student, teacher, height.clamp(0, 1))
    assert float(found) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_teacher_confidence_goes_together_with_weights_and_without(settings):
    student, teacher = random_maps(0), 0.5 * random_maps(1)
    height, weight = teacher.amax((2, 3)), torch.tensor([[0.5, 0.0, 1.0], [2.0, 1.0, 0.0]])
    sure = HHDLoss(teacher_confidence=True, **settings)
    for given, same in ((weight, weight * height), (None, height)):
        expected = HHDLoss(**settings)(student, teacher, same)
        assert float(sure(student, teacher, given)) == pytest.approx(float(expected), abs=1e-12)
    ignored = HHDLoss(teacher_confidence=True, use_target_weight=False, **settings)
    assert float(ignored(student, teacher, weight)) == float(sure(student, teacher))


def test_loss_weight_multiplies():
    maps = random_maps(0), random_maps(1)
    one, three = (float(HHDLoss(beta=1.0, loss_weight=w)(*maps)) for w in (1.0, 3.0))
    assert three == pytest.approx(3 * one)
    assert float(HHDLoss(beta=1.0, loss_weight=0.0)(*maps)) == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize('kind', ['zero', 'constant', 'negative', 'peak', 'huge', 'very negative'])
@pytest.mark.parametrize(
    'settings',
    [
        *MODES,
        *(dict(mode='released', norm_student=n, norm_teacher=n) for n in ('l1', 'softmax')),
        *(dict(beta=10.0, norm_student=n, norm_teacher=n) for n in ('l1', 'l2', 'sum')),
        dict(beta=10.0, norm_teacher='softmax', padding='mirror'),
    ],
    ids=str,
)
def test_finite_for_extreme_maps_in_every_precision(dtype, kind, settings):
    flat = torch.zeros(2, 3, 16, 12, dtype=dtype)
    extreme = flat.clone()
    if kind in ('constant', 'negative'):
        extreme += 3 if kind == 'constant' else -3
    elif kind == 'peak':
        extreme[..., 1, 2] = 100
    elif kind == 'huge':
        extreme += 1e4
        extreme[..., 1, 2] = 6e4
    elif kind == 'very negative':
        extreme -= 6e4
    for student, teacher in ((extreme, flat), (flat, extreme), (extreme, extreme)):
        student = student.clone().requires_grad_()
        loss = HHDLoss(**settings)(student, teacher)
        loss.backward()
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize('settings', MODES, ids=NAMES)
def test_an_empty_batch_of_keypoints_is_zero(settings):
    student = torch.zeros(2, 0, 16, 12, requires_grad=True)
    assert float(HHDLoss(**settings)(student, torch.zeros(2, 0, 16, 12)).detach()) == 0


class NoCopies(TorchDispatchMode):
    """Refuses to take tensors from one device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            source = args[1] if func.overloadpacket is torch.ops.aten.copy_ else args[0]
            if source.device != out.device:
                raise RuntimeError(f'{func} from {source.device} to {out.device}')
        return out


@needs_newer_torch
@pytest.mark.parametrize(
    'settings',
    [
        *MODES,
        *(dict(beta=1.0, padding=padding) for padding in CHOICES['padding']),
        *(
            dict(beta=1.0, norm_student=norm, norm_teacher=norm)
            for norm in CHOICES['norm_student']
        ),
        dict(beta=1.0, align='none'),
        dict(beta=1.0, teacher_confidence=True),
    ],
    ids=str,
)
def test_no_setting_reads_a_value_on_the_host(settings):
    student = torch.zeros(2, 3, 16, 12, device='meta', requires_grad=True)
    with NoCopies():
        teacher, weight = torch.zeros_like(student), torch.ones(2, 3, device='meta')
        HHDLoss(**settings)(student, teacher, weight).backward()
    assert student.grad.shape == student.shape
