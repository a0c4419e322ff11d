"""Sheets: every panel has its place, and keypoints lie where they are."""

import cv2
import numpy as np
import torch

from mmpose_kd.core.contact_sheet import as_picture, contact_sheet, write_sheet
from mmpose_kd.core.panels import Panel

PICTURE = np.full((64, 48, 3), 128, np.uint8)
PLACES = torch.tensor([[[0.25, 0.5], [0.75, 0.125]]])


def maps():
    found = torch.zeros(1, 2, 16, 12)
    found[0, 0, 8, 3] = 0.5
    return found


def sheet(*panels, names=('nose', 'left_eye')):
    return contact_sheet(panels, PICTURE, 0, 'sample 0', names)


def test_a_panel_each_with_its_title_and_the_tables_below():
    figure = sheet(
        Panel('ground truth', places=PLACES, shown=torch.tensor([[True, False]])),
        Panel('student', maps=maps(), places=PLACES),
        Panel('weights', table=torch.rand(1, 3, 2), rows=['a', 'b', 'c']),
        Panel('teacher', note='it needs its view'),
    )
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ['ground truth', 'student  (peak 0.5)', 'teacher', 'weights']
    assert figure.axes[2].get_xlabel() == 'it needs its view'
    assert [t.get_text() for t in figure.axes[3].get_yticklabels()] == ['a', 'b', 'c']
    dots = [axis.collections[0].get_offsets() for axis in figure.axes[:2]]
    assert dots[0].tolist() == [[12, 32]] and dots[1].tolist() == [[12, 32], [36, 8]]


def test_windows_are_rectangles_of_the_clearest_keypoints():
    windows = torch.tensor([[[0.0, 0.25, 0.5, 0.75], [0.5, 0.0, 1.0, 0.25]]])
    many = torch.arange(9.0)[None, :, None, None].expand(1, 9, 16, 12)
    figure = sheet(
        Panel('a', maps=maps(), windows=windows, places=PLACES),
        Panel('b', maps=many, windows=windows[:, :1].expand(1, 9, 4)),
    )
    first = figure.axes[0].patches[0]
    assert (first.get_xy(), first.get_width(), first.get_height()) == ((0, 16), 24, 32)
    assert [len(axis.patches) for axis in figure.axes] == [2, 6]


def test_it_is_drawn_and_written_whole(tmp_path):
    figure = sheet(Panel('student', maps=maps(), places=PLACES), names=())
    pixels = as_picture(figure)
    assert pixels.ndim == 3 and pixels.dtype == np.uint8 and pixels.std() > 5
    write_sheet(figure, tmp_path / 'a' / 'sheet.png')
    assert cv2.imread(str(tmp_path / 'a' / 'sheet.png')).shape == pixels.shape
    assert [p.name for p in (tmp_path / 'a').iterdir()] == ['sheet.png']


def test_hundreds_of_keypoints_have_neither_legend_nor_numbers():
    names = [f'point{k}' for k in range(133)]
    figure = contact_sheet(
        [
            Panel('student', places=torch.rand(1, 133, 2)),
            Panel('weights', table=torch.rand(1, 2, 133), rows=['a', 'b']),
        ],
        PICTURE, 0, 'a', names,
    )  # fmt: skip
    assert not figure.legends and not figure.axes[1].texts
