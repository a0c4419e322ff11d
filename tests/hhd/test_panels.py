"""The windows that HHD compares, as they are drawn."""

import pytest
import torch

from mmpose_kd.hhd.loss import HHDLoss, hhd_aligned
from mmpose_kd.hhd.panels import windows_panel

from ..helpers.hhd import gaussian


def test_a_window_is_where_it_is_cut():
    maps = torch.zeros(1, 1, 16, 12)
    panel = windows_panel('a', maps, torch.tensor([[6]]), torch.tensor([[8]]), (4, 6))
    assert panel.windows[0, 0].tolist() == [3 / 12, 6 / 16, 9 / 12, 10 / 16]
    assert panel.places[0, 0].tolist() == pytest.approx([6.5 / 12, 8.5 / 16])


def test_the_drawn_centres_are_those_that_are_compared():
    """At a bump of the student's own where its window is drawn, the loss is smallest."""
    teacher = gaussian(20.0, 30.0, (48, 64), dtype=torch.float32)[None, None]
    loss = HHDLoss(beta=6.0)
    student, drawn = loss.drawn(teacher, teacher, '')
    assert (student.title, drawn.title) == ("HHD: student's windows", "HHD: teacher's windows")
    assert torch.allclose(drawn.places[0, 0], torch.tensor([20.5 / 48, 30.5 / 64]))
    x, y = (student.places[0, 0] * torch.tensor([48, 64]) - 0.5).tolist()
    assert (x, y) != (20.0, 30.0)  # the background draws the coordinate to the middle

    def compared(dx, dy):
        maps = gaussian(x + dx, y + dy, (48, 64), dtype=torch.float32)[None, None]
        return float(hhd_aligned(maps, teacher, beta=6.0, **loss.settings))

    assert compared(0, 0) < min(compared(d, 0) for d in (-3, 3))


def test_the_released_mode_draws_its_own():
    maps = gaussian(20.0, 30.0, (48, 64), dtype=torch.float32)[None, None]
    student, teacher = HHDLoss('released').drawn(maps, maps, ' (teacher 1)')
    assert student.title.endswith(' (teacher 1)')
    assert torch.equal(student.windows, teacher.windows)
