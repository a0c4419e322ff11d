"""Where a student's bump has to lie: recovered places, peaks, backgrounds."""

import pytest
import torch

from mmpose_kd.hhd.centre import (
    background,
    bump_excess,
    peak_position,
    softmax_maps,
    unbiased_centre,
)

from ..helpers.hhd import gaussian, soft_argmax


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


@pytest.mark.parametrize('size', [(8, 64), (64, 8), (16, 128), (128, 16), (8, 8)])
def test_the_background_is_read_at_eight_positions_of_the_shorter_axis_too(size):
    """A bar across the map covers less than half of the positions that are read."""
    for axis in (0, 1):
        for at in range(size[axis] * 5 // 8 + 1):
            maps = torch.zeros(1, 1, *size)
            maps.narrow(2 + axis, at, 3 * size[axis] // 8).fill_(5)
            assert float(background(maps)) == 0, (axis, at)


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
