"""Many pictures of a data set on one: what the data looks like, for the demo and the README."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from .drawn_people import annotation_file

BACKGROUND = (255, 255, 255)

GAP = 4  # pixels between the cells and round them

LEFT, RIGHT, MIDDLE = (0, 255, 0), (0, 128, 255), (255, 153, 51)  # BGR, as MMPose draws COCO

SUBPIXEL = 4  # fractional bits of the skeleton's corners


def contact_sheet(
    folder: str | Path,
    split: str,
    rows: int,
    cols: int,
    skeleton: bool = False,
    cell: tuple = (176, 176),
) -> np.ndarray:
    """Puts the first pictures of a data set in COCO's layout into equal cells.

    A picture fills its cell: it is cropped about its people to the cell's proportions. Cells for
    which there is no picture stay white.

    Args:
        folder: The data set, as `draw_dataset` writes it.
        split: 'train' or 'val'.
        rows: Number of cells from top to bottom.
        cols: Number of cells from left to right.
        skeleton: Whether to draw the annotated limbs: the person's left green, the right orange,
            limbs between the two blue. A joint that is hidden is a ring, others are dots.
        cell: Width and height of a cell, in pixels.

    Returns:
        np.ndarray: (rows * (height + 4) + 4, cols * (width + 4) + 4, 3), BGR uint8.

    Raises:
        ValueError: `rows` or `cols` is not positive.
        FileNotFoundError: There is no such data set, or one of its pictures cannot be read.
    """
    if rows < 1 or cols < 1:
        raise ValueError(f'rows is {rows} and cols is {cols}; give at least 1 of each')
    folder, (width, height) = Path(folder), cell
    file = annotation_file(folder, split)
    if not file.is_file():
        raise FileNotFoundError(
            f'{file} is missing; give a folder that draw_dataset made, and train or val as split'
        )
    content = json.loads(file.read_bytes())
    people = {}
    for annotation in content['annotations']:
        people.setdefault(annotation['image_id'], []).append(annotation)
    shape = (rows * (height + GAP) + GAP, cols * (width + GAP) + GAP, 3)
    sheet = np.full(shape, BACKGROUND, np.uint8)
    for i, image in enumerate(content['images'][: rows * cols]):
        path = folder / f'{split}2017' / image['file_name']
        picture = cv2.imread(str(path))
        if picture is None:
            raise FileNotFoundError(f'{path} is missing or no picture; draw the data set again')
        shown = people.get(image['id'], [])
        fitted, zoom, shift = _fit(picture, [p['bbox'] for p in shown], width, height)
        for person in shown if skeleton else ():
            points = np.reshape(np.array(person['keypoints'], float), (-1, 3))
            points[:, :2] = points[:, :2] * zoom + shift
            _draw_skeleton(fitted, points, content['categories'][0])
        row, col = divmod(i, cols)
        y, x = GAP + row * (height + GAP), GAP + col * (width + GAP)
        sheet[y : y + height, x : x + width] = fitted
    return sheet


def _fit(picture: np.ndarray, boxes: list, width: int, height: int) -> tuple:
    """Crops a picture to a cell's proportions about its people and scales it to the cell.

    Args:
        picture: (h, w, 3).
        boxes: COCO boxes (x, y, w, h), in pixels.
        width: Of the cell.
        height: Of the cell.

    Returns:
        tuple: The cell (height, width, 3); factor and shift (2,) that take a picture's pixel
        coordinates to the cell's.
    """
    size, cell = np.array(picture.shape[1::-1], float), np.array([width, height])
    zoom = (cell / size).max()
    window = cell / zoom
    middle = size / 2
    if boxes:
        x, y, w, h = np.array(boxes, float).T
        middle = np.array([x.min() + (x + w).max(), y.min() + (y + h).max()]) / 2
    start = np.clip(middle - window / 2, 0, size - window)
    x0, y0 = np.rint(start).astype(int)
    x1, y1 = np.rint(start + window).astype(int)
    fitted = cv2.resize(picture[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA)
    # OpenCV's pixel centres have whole coordinates, so half a pixel goes along.
    return fitted, zoom, (0.5 - np.array([x0, y0])) * zoom - 0.5


def _draw_skeleton(picture: np.ndarray, points: np.ndarray, category: dict) -> None:
    """Draws one person's keypoints (17, 3), (x, y, v) in pixels, into a picture (h, w, 3)."""
    names = category['keypoints']
    corners = np.rint(points[:, :2] * (1 << SUBPIXEL)).astype(int).tolist()
    labelled = points[:, 2] > 0
    for limb in category['skeleton']:
        a, b = (i - 1 for i in limb)  # COCO counts from 1
        if labelled[a] and labelled[b]:
            bgr = _colour(names[a], names[b])
            cv2.line(picture, corners[a], corners[b], bgr, 1, cv2.LINE_AA, SUBPIXEL)
    for i in np.flatnonzero(labelled):
        thickness, bgr = -1 if points[i, 2] == 2 else 1, _colour(names[i])
        cv2.circle(picture, corners[i], 2 << SUBPIXEL, bgr, thickness, cv2.LINE_AA, SUBPIXEL)


def _colour(*names: str) -> tuple:
    """The colour of a joint or of a limb between two; a limb at the nose has one side."""
    sides = {name.split('_')[0] for name in names} & {'left', 'right'}
    return MIDDLE if len(sides) != 1 else LEFT if sides == {'left'} else RIGHT
