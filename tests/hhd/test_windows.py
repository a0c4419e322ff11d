"""Windows cut out of maps: which positions they read."""

import pytest
import torch

from mmpose_kd.hhd.windows import cut_windows


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


@pytest.mark.parametrize('padding', ['reflect', 'mirror', 'zero', 'released'])
@pytest.mark.parametrize('size', [(8, 8), (7, 9), (4, 6)])
def test_at_whole_pixels_a_bilinear_window_is_the_integer_one_also_in_the_corners(padding, size):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 1, *size, generator=generator)
    for y in range(size[0]):
        for x in range(size[1]):
            column, row = torch.tensor([[x]]), torch.tensor([[y]])
            whole = cut_windows(maps, column, row, (4, 4), padding)
            found = cut_windows(maps, column.float(), row.float(), (4, 4), padding)
            assert torch.equal(found, whole), (x, y)
