"""HHDLoss: the release's values, the recovered place of a bump, and the promises of a loss."""

import math

import pytest
import torch
from mmpose.models.heads import IntegralRegressionHead
from mmpose.registry import MODELS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmpose_kd.models.heads import UnbiasedIntegralHead
from mmpose_kd.models.losses import HHDLoss
from mmpose_kd.models.losses.hhd import CHOICES
from mmpose_kd.models.losses.unbiased_centre import (
    background,
    bump_excess,
    cut_windows,
    peak_position,
    softmax_maps,
    unbiased_centre,
)

RELEASE = dict(
    type='HHDLoss',
    mode='released',
    loss_weight=0.5,
    crop_size=(8, 8),
    norm_student='l2',
    norm_teacher='l2',
    use_target_weight=False,
)
MODES = [dict(mode='released'), dict(beta=10.0), dict(beta=10.0, window='bilinear')]
NAMES = ['released', 'aligned', 'bilinear']


def gaussian(x, y, size=(64, 64), sigma=2.0, dtype=torch.float64):
    """Bumps of height 1 at x, y (...); maps (..., H, W)."""
    width, height = size
    columns = torch.arange(width, dtype=torch.float64)
    rows = torch.arange(height, dtype=torch.float64)[:, None]
    x, y = (torch.as_tensor(v, dtype=torch.float64)[..., None, None] for v in (x, y))
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).to(dtype)


def soft_argmax(logits):
    """x and y (...) of maps (..., H, W)."""
    prob = logits.double().flatten(-2).softmax(-1).view(logits.shape)
    height, width = logits.shape[-2:]
    columns, rows = (torch.arange(n, dtype=torch.float64) for n in (width, height))
    return (prob.sum(-2) * columns).sum(-1), (prob.sum(-1) * rows).sum(-1)


def random_maps(seed, shape=(2, 3, 16, 12), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


# -------------------------------------------------------------------------- the release


@pytest.mark.parametrize(
    ('offset', 'loss', 'gradient'),
    [(0, 2.203521553331253, 6.743732963950208), (-2, 7.704547086588088, 0.04709249698524621)],
)
def test_released_mode_gives_the_release_s_values(offset, loss, gradient):
    x = torch.tensor([[0, 63, 0, 30, 2, 62, 32, 5]])
    y = torch.tensor([[0, 63, 63, 17, 60, 1, 32, 5]])
    student = (0.3 * gaussian(x - 2, y + 1) + offset).requires_grad_()
    found = MODELS.build(RELEASE)(student, gaussian(x, y), torch.zeros(1, 8))
    found.backward()
    assert float(found.detach()) == pytest.approx(loss, abs=1e-9)
    assert float(student.grad.norm()) == pytest.approx(gradient, abs=1e-9)


def read_as_released(table, centre, h):
    """The window of a list around a centre, mirrored where it crosses an end."""
    low, high = max(0, h // 2 - centre), max(0, centre + h // 2 - len(table))
    order = [h - 1 - i if i < low or i >= h - high else i for i in range(h)]
    return [table[centre - h // 2 + i] for i in order]


def released_by_loops(student, teacher, crop_size, norm_student, norm_teacher):
    """The release's four steps in plain Python floats."""

    def normalised(table, norm):
        values = [v for row in table for v in row]
        if norm == 'softmax':
            total = sum(math.exp(v) for v in values)
            return [[math.exp(v) / total for v in row] for row in table]
        divisor = {
            'l2': math.sqrt(sum(v * v for v in values)),
            'l1': sum(abs(v) for v in values),
            'none': 1.0,
        }[norm]
        return [[v / divisor for v in row] for row in table]

    def window(table, x, y):
        rows = [read_as_released(row, x, crop_size[1]) for row in read_as_released(table, y, h)]
        return [v for row in rows for v in row]

    h = crop_size[0]
    total = 0.0
    for b in range(len(student)):
        for k in range(student.shape[1]):
            s, t = student[b, k].tolist(), teacher[b, k].tolist()
            width = len(t[0])
            values = [v for row in t for v in row]
            t_y, t_x = divmod(values.index(max(values)), width)
            c = sum(math.exp(v) for row in s for v in row)
            s_x, s_y = (math.trunc(c / (c - 1) * (v - 1 / (2 * c))) for v in (t_x, t_y))
            s_x, s_y = min(max(s_x, 0), width - 1), min(max(s_y, 0), len(t) - 1)
            s_window = window(normalised(s, norm_student), s_x, s_y)
            t_window = window(normalised(t, norm_teacher), t_x, t_y)
            total += sum((p - q) ** 2 for p, q in zip(s_window, t_window))
    return 0.5 * total / len(student)


@pytest.mark.parametrize('shape', [(16, 16), (16, 12), (8, 14)])
@pytest.mark.parametrize('crop_size', [(8, 8), (4, 6), (2, 10)])
@pytest.mark.parametrize('offset', [0.0, -2.5, -4.0, -7.0])  # c of 400 to 0.4: 4 is below W
@pytest.mark.parametrize(
    'norms', [('l2', 'l2'), ('l1', 'l2'), ('softmax', 'softmax'), ('softmax', 'none')]
)
def test_released_mode_equals_its_steps_written_out(shape, crop_size, offset, norms):
    student, teacher = random_maps(0, (2, 4, *shape)) + offset, random_maps(1, (2, 4, *shape))
    loss = HHDLoss('released', None, crop_size, *norms)
    expected = released_by_loops(student, teacher, crop_size, *norms)
    assert float(loss(student, teacher)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('y', [0, 1, 5, 14, 15])
@pytest.mark.parametrize('x', [0, 1, 6, 10, 11])
def test_released_mode_equals_its_steps_on_every_border_and_corner(x, y):
    student, teacher = random_maps(0, (1, 1, 16, 12)), random_maps(1, (1, 1, 16, 12))
    teacher[0, 0, y, x] = 2
    expected = released_by_loops(student, teacher, (8, 8), 'l2', 'l2')
    assert float(HHDLoss('released')(student, teacher)) == pytest.approx(expected, abs=1e-9)


# ------------------------------------------------------------------------------ windows


@pytest.mark.parametrize(
    ('centre', 'padding', 'columns'),
    [
        (1, 'released', [4, 3, 2, 0, 1, 2, 3, 4]),
        (62, 'released', [58, 59, 60, 61, 62, 63, 59, 58]),
        (1, 'reflect', [3, 2, 1, 0, 1, 2, 3, 4]),
        (62, 'reflect', [58, 59, 60, 61, 62, 63, 62, 61]),
        (1, 'mirror', [5, 4, 3, 0, 1, 2, 3, 4]),
        (62, 'mirror', [58, 59, 60, 61, 62, 63, 60, 59]),
        (1, 'zero', [0, 0, 0, 0, 1, 2, 3, 4]),
        (62, 'zero', [58, 59, 60, 61, 62, 63, 0, 0]),
        (30, 'reflect', [26, 27, 28, 29, 30, 31, 32, 33]),
        (0, 'reflect', [4, 3, 2, 1, 0, 1, 2, 3]),
        (2.5, 'reflect', [1.5, 0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]),
        (30.25, 'mirror', [26.25, 27.25, 28.25, 29.25, 30.25, 31.25, 32.25, 33.25]),
        (1.5, 'mirror', [5.5, 4.5, 3.5, 0.5, 1.5, 2.5, 3.5, 4.5]),
        (62.5, 'zero', [58.5, 59.5, 60.5, 61.5, 62.5, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize('axis', ['x', 'y'])
def test_a_window_reads_the_positions_it_says(centre, padding, columns, axis):
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    centre, middle = torch.tensor([[centre]]), torch.tensor([[32]]).to(torch.tensor(centre).dtype)
    if axis == 'y':
        window = cut_windows(ramp.mT, middle, centre, (8, 2), padding)[0, 0, :, 0]
    else:
        window = cut_windows(ramp, centre, middle, (2, 8), padding)[0, 0, 0]
    assert window.tolist() == columns


def test_windows_as_large_as_the_map_are_read_within_it():
    ramp = torch.arange(4.0 * 6).view(1, 1, 4, 6)
    for padding in ('reflect', 'mirror', 'zero', 'released'):
        for x in range(6):
            for y in range(4):
                window = cut_windows(
                    ramp, torch.tensor([[x]]), torch.tensor([[y]]), (4, 6), padding
                )
                assert window.shape == (1, 1, 4, 6)
                assert set(window.flatten().tolist()) <= set(ramp.flatten().tolist())


def test_an_odd_window_has_its_centre_in_the_middle():
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    at = torch.tensor([[10]])
    assert cut_windows(ramp, at, at, (1, 3))[0, 0, 0].tolist() == [9, 10, 11]


# ------------------------------------------------------------------------- the geometry


@pytest.mark.parametrize('beta', [1.0, 3.0, 10.0])
@pytest.mark.parametrize('level', [0.0, -2.0, 0.1, 7.0])
@pytest.mark.parametrize('size', [(64, 64), (48, 64), (72, 96)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_bump_s_place_is_recovered_to_a_twentieth_of_a_pixel(beta, level, size, dtype):
    generator = torch.Generator().manual_seed(0)
    inside = torch.tensor(size, dtype=torch.float64) - 1 - 12  # 3 sigma from every border
    x, y = (6 + inside * torch.rand(200, 2, generator=generator, dtype=torch.float64)).T
    student = (gaussian(x, y, size) + level).to(dtype)[None]
    e_x, e_y = soft_argmax(beta * student)
    excess = bump_excess(softmax_maps(student, beta))
    # the position by way of a teacher's map, as in the loss
    t_x, t_y = peak_position(gaussian(e_x, e_y, size, dtype=dtype))[2:4]
    found = unbiased_centre(t_x, t_y, excess, size)
    assert (found[0] - x).abs().max() < 0.05
    assert (found[1] - y).abs().max() < 0.05
    assert torch.hypot(e_x - x, e_y - y).max() > 1  # what the teacher's centre would miss


@pytest.mark.parametrize('beta', [1.0, 3.0, 10.0])
@pytest.mark.parametrize('distance', [0.0, 0.5, 1.0, 2.0])
def test_near_a_border_the_place_is_nearer_than_the_teacher_s(beta, distance):
    x, y = torch.full((30,), 2 * distance), torch.linspace(2 * distance, 50, 30)
    student = gaussian(x, y)[None]
    e = soft_argmax(beta * student)
    found = unbiased_centre(*e, bump_excess(softmax_maps(student, beta)), (64, 64))
    error, without = (torch.hypot(p[0] - x, p[1] - y) for p in (found, e))
    assert (error < without).all()
    assert error.max() < {0.0: 1.7, 0.5: 1.0, 1.0: 0.5, 2.0: 0.08}[distance]


def test_the_closed_form_by_hand():
    # 64 columns, E = 31.65 of a bump at 50 with Cbar = 1.0081: 31.5 + 0.15 * 1.0081 / 0.0081
    student = gaussian(50.0, 31.5)[None, None]
    e_x, e_y = soft_argmax(student)
    assert float(e_x) == pytest.approx(31.65, abs=0.005)
    excess = bump_excess(softmax_maps(student, 1.0))
    assert float(excess) == pytest.approx(0.0081, abs=5e-5)
    assert float(unbiased_centre(e_x, e_y, excess, (64, 64))[0]) == pytest.approx(50, abs=0.005)
    by_hand = unbiased_centre(*torch.tensor([40.0, 31.5]), torch.tensor(0.5), (64, 64))
    assert by_hand[0] == 40 + 8.5 / 0.5
    assert by_hand[1] == 31.5


@pytest.mark.parametrize('excess', [0.0, 5e-4, -0.5, 0.01])
def test_a_map_without_a_sufficient_bump_leaves_the_teacher_s_centre(excess):
    found = unbiased_centre(*torch.tensor([50.0, 12.0]), torch.tensor(excess), (64, 64))
    assert found == (50, 12)


def test_a_flat_map_leaves_the_teacher_s_centre_near_the_middle_too():
    at = torch.tensor([31.51, 31.5])
    assert unbiased_centre(*at, torch.tensor(5e-4), (64, 64)) == tuple(at)
    assert unbiased_centre(*at, torch.tensor(2e-3), (64, 64))[0] > 36


def test_the_centre_stays_in_the_map_and_does_not_jump():
    excess = torch.logspace(-3, 3, 5000, dtype=torch.float64)[None]
    x, y = unbiased_centre(torch.tensor(50.0), torch.tensor(25.0), excess, (64, 64))
    assert x.min() >= 50 and x.max() <= 63 and y.min() >= 0 and y.max() <= 25
    assert x.max() > 59  # it does go towards the border
    assert x.diff().abs().max() < 0.2


def test_a_flat_map_has_no_excess():
    for dtype in (torch.float32, torch.float64):
        excess = bump_excess(softmax_maps(torch.full((1, 1, 64, 64), 3.0, dtype=dtype), 10.0))
        assert abs(float(excess)) < 1e-5


def test_the_background_is_exact_beside_bumps():
    maps = gaussian([10.0, 32, 5], [10.0, 32, 60])[None] * 5 - 2
    assert torch.allclose(background(maps), torch.full((1, 3), -2.0).double(), atol=1e-6)


@pytest.mark.parametrize('size', [(8, 8), (5, 9), (1, 1), (3, 40)])
def test_small_and_narrow_maps_have_a_background(size):
    assert background(torch.full((2, 3, *size), 1.5)).tolist() == [[1.5] * 3] * 2


def test_a_peak_s_position_is_sub_pixel_and_whole_on_the_border():
    x, y = [20.3, 31.5, 0.0, 63.0, 40.0], [17.8, 5.49, 30.0, 0.0, 63.0]
    column, row, sub_x, sub_y, top = peak_position(gaussian(x, y)[None])
    assert torch.allclose(sub_x, torch.tensor([x]).double(), atol=1e-6)
    assert torch.allclose(sub_y, torch.tensor([y]).double(), atol=1e-6)
    assert column[0].tolist()[2:] == [0, 63, 40] and row[0].tolist()[3:] == [0, 63]
    assert ((top > 0.9) & (top <= 1)).all()


@pytest.mark.parametrize('value', [0.0, -1.0, 5.0])
def test_a_map_without_a_peak_has_a_position(value):
    column, row, x, y, _ = peak_position(torch.full((1, 2, 9, 7), value))
    assert torch.equal(x, column.float()) and torch.equal(y, row.float())


def test_equal_values_give_the_first_position():
    maps = torch.zeros(1, 1, 6, 6)
    maps[0, 0, 2, 4] = maps[0, 0, 2, 1] = maps[0, 0, 4, 0] = 1
    column, row, *_ = peak_position(maps)
    assert (int(column), int(row)) == (1, 2)


# ------------------------------------------------------------------------- aligned mode


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


@pytest.mark.parametrize('norm', ['l2', 'l1', 'softmax', 'none'])
def test_zero_at_equality_in_released_mode(norm):
    same = random_maps(0)
    loss = HHDLoss('released', norm_student=norm, norm_teacher=norm)
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


# ----------------------------------------------------------------------------- gradient


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


# ------------------------------------------------------------------------------ weights


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


def test_loss_weight_multiplies():
    maps = random_maps(0), random_maps(1)
    one, three = (float(HHDLoss(beta=1.0, loss_weight=w)(*maps)) for w in (1.0, 3.0))
    assert three == pytest.approx(3 * one)
    assert float(HHDLoss(beta=1.0, loss_weight=0.0)(*maps)) == 0


# -------------------------------------------------------------------------- hard inputs


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


# --------------------------------------------------------------------- the student's head


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


def test_bind_to_a_head_without_beta_names_the_key():
    with pytest.raises(ValueError, match=r'HHDLoss.beta=None: Linear has no beta'):
        HHDLoss().bind(nn.Linear(1, 1))


def test_released_mode_needs_neither_beta_nor_head():
    loss = HHDLoss('released')
    maps = random_maps(0), random_maps(1)
    before = float(loss(*maps))
    loss.bind(nn.Linear(1, 1))
    assert float(loss(*maps)) == before


# ------------------------------------------------------------------------------- errors


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
        (dict(loss_weight=-1), 'loss_weight=-1'),
        (dict(loss_weight=float('nan')), 'loss_weight=nan'),
    ],
)
def test_bad_settings_name_the_key(settings, message):
    with pytest.raises(ValueError, match=f'HHDLoss.{message}'):
        HHDLoss(**settings)


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
