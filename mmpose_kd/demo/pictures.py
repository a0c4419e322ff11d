"""The same pictures under each model, with the joints that it found and those it missed."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..core.whole_files import write_whole
from ..gain.pck import box_lengths, distances, torso_joints, torso_lengths
from ..gain.results import Result
from .data import Data

COLUMNS = 8
#: how near is right: in yardsticks of PCK
NEAR = {'torso': 0.2, 'bbox': 0.1}
WORDS = {'torso': 'torso lengths', 'bbox': 'box lengths'}
LABEL, RIGHT, WRONG, LIMB = '#ffffff', '#00c853', '#ff1744', '#40c4ff'


@dataclass(frozen=True)
class Shown:
    """A model's predictions.

    Attributes:
        name: For the reader.
        persons: Arrays of ``persons.npz``.
        result: What they score.
    """

    name: str
    persons: dict[str, np.ndarray]
    result: Result


def draw_pictures(models: list[Shown], data: Data, file: Path) -> None:
    """A row for the labels and one for each model, a column for each person.

    Persons are taken evenly from the first tested one to the last.
    """
    first, yardstick = models[0].persons, models[0].result.yardstick
    number = len(first['ids'])
    chosen = np.linspace(0, number - 1, min(COLUMNS, number)).round().astype(int)
    limbs = data.meta()['skeleton_links']
    content = json.loads(data.annotations['val'].read_bytes())
    names = {image['id']: image['file_name'] for image in content['images']}
    files = {one['id']: names[one['image_id']] for one in content['annotations']}
    length = box_lengths(first['boxes'])
    if yardstick == 'torso':
        length = torso_lengths(
            first['target'], first['visible'], torso_joints(first['names'].tolist())
        )
    figure = Figure(figsize=(1.35 * len(chosen) + 1.3, 1.42 * (len(models) + 1) + 0.4))
    axes = figure.subplots(len(models) + 1, len(chosen), squeeze=False)
    thr = NEAR[yardstick]
    titles = ['label', *(f'{m.name}\nPCK@{thr} {m.result.pck(thr):.1f} %' for m in models)]
    for column, person in enumerate(chosen):
        picture = cv2.imread(str(data.images['val'] / files[int(first['ids'][person])]))
        visible, target = first['visible'][person], first['target'][person]
        window = _window(first['boxes'][person], target[visible])
        for row, title in enumerate(titles):
            axis = axes[row, column]
            axis.imshow(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), interpolation='bilinear')
            points = target if row == 0 else models[row - 1].persons['keypoints'][person]
            right = visible
            if row and length[person] > 0:
                right = visible & (distances(points, target) < thr * length[person])
            _draw(axis, points, target, visible, right, limbs)
            axis.set(xlim=window[:2], ylim=window[:1:-1], xticks=[], yticks=[])
            axis.set_facecolor('0.5')
            if column == 0:
                lines = [part for line in title.split('\n') for part in textwrap.wrap(line, 17)]
                axis.set_ylabel('\n'.join(lines), rotation=0, ha='right', va='center', fontsize=9)
    marker = dict(linestyle='', markeredgewidth=1.5)
    figure.legend(
        handles=[
            Line2D([], [], color=RIGHT, marker='o', label=f'right: within {thr} '
                   f'{WORDS[yardstick]} of its label', **marker),
            Line2D([], [], color=WRONG, marker='x', linewidth=1.2, markeredgewidth=1.5,
                   label='wrong, with a line to where the joint is'),
            Line2D([], [], color=LIMB, linewidth=1.2, label='predicted limbs'),
        ],
        loc='lower center', ncols=3, frameon=False, fontsize=9,
    )  # fmt: skip
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=1.25 / width, right=1 - 0.05 / width, top=1 - 0.05 / height, bottom=0.32 / height,
        wspace=0.04, hspace=0.04,
    )  # fmt: skip
    write_whole(file, lambda path: figure.savefig(path, dpi=100))


def _window(box: np.ndarray, points: np.ndarray) -> tuple:
    """Left, right, top, bottom of a square about a person."""
    low = np.minimum(box[:2], points.min(0))
    high = np.maximum(box[2:], points.max(0))
    half = 0.58 * max(high - low)
    (x, y) = (low + high) / 2
    return x - half, x + half, y - half, y + half


def _draw(axis, points, target, visible, right, limbs) -> None:
    drawn = [points[[a, b]] for a, b in limbs if visible[a] and visible[b]]
    axis.add_collection(LineCollection(drawn, colors=LIMB, linewidths=1.2))
    wrong = visible & ~right
    axis.add_collection(
        LineCollection(np.stack([points, target], 1)[wrong], colors=WRONG, linewidths=0.9)
    )
    dot = 9 if len(points) <= 30 else 3
    axis.scatter(*points[right].T, s=dot, color=RIGHT, zorder=3)
    cross = dict(s=1.8 * dot, color=WRONG, marker='x', linewidths=1.3, zorder=4)
    axis.scatter(*points[wrong].T, **cross)
