"""HHDLoss as released: the values of the release, and its steps written out."""

import math

import pytest
import torch
from mmpose.registry import MODELS

from mmpose_kd.hhd.loss import HHDLoss

from ..helpers.hhd import gaussian, random_maps

RELEASE = dict(
    type='HHDLoss',
    mode='released',
    loss_weight=0.5,
    crop_size=(8, 8),
    norm_student='l2',
    norm_teacher='l2',
    use_target_weight=False,
)


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


@pytest.mark.parametrize('norm', ['l2', 'l1', 'softmax', 'none'])
def test_zero_at_equality_in_released_mode(norm):
    same = random_maps(0)
    loss = HHDLoss('released', norm_student=norm, norm_teacher=norm)
    assert float(loss(same, same.clone())) == pytest.approx(0, abs=1e-15)
