"""The panels of one sample on a sheet: maps over its picture, keypoints, windows, numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from .panels import Panel
from .whole_files import write_whole

COLUMNS = 5
WIDTH = 2.3  # inches of a picture
DPI = 110
MOST_NAMES = 34  # keypoints with more get no legend, and no numbers in tables
MOST_WINDOWS = 6  # of the clearest keypoints; more would hide one another


def contact_sheet(
    panels: Sequence[Panel], picture: np.ndarray, number: int, title: str, names: Sequence[str]
) -> Figure:
    """A figure of one sample.

    Args:
        panels: What the parts of a model show, of a batch.
        picture: The sample's input (h, w, 3), RGB, 0 to 255.
        number: Of the sample in the batch.
        title: The sheet's.
        names: Of the keypoints; may be empty.
    """
    pictures = [panel for panel in panels if panel.table is None]
    tables = [panel for panel in panels if panel.table is not None]
    keypoints = max((_count(panel) for panel in panels), default=0)
    colours = colormaps['hsv'](np.linspace(0, 0.92, max(keypoints, 1)))
    columns = max(min(COLUMNS, len(pictures)), 2)
    rows = -(-len(pictures) // columns)
    below = 0.28 if any(panel.note for panel in pictures) else 0.06
    height = WIDTH * picture.shape[0] / picture.shape[1] + below + 0.27
    legend = names if 0 < len(names) <= MOST_NAMES else []
    legend_columns = max(1, int(columns * WIDTH // 1.15))
    legend_height = 0.22 * -(-len(legend) // legend_columns) + 0.1 if legend else 0.0
    table_heights = [0.75 + 0.22 * len(one.rows) for one in tables]
    sizes = [0.35, *[height] * rows, *table_heights, legend_height]
    figure = Figure(figsize=(columns * WIDTH + 0.2, sum(sizes)))
    total = sum(sizes)
    figure.suptitle(title, y=1 - 0.08 / total, va='top', fontsize=10)
    bottom = 1 - sizes[0] / total
    for row in range(rows):
        bottom -= height / total
        for column, panel in enumerate(pictures[row * columns : (row + 1) * columns]):
            place = (
                (column + 0.03) / columns,
                bottom + below / total,
                0.94 / columns,
                (height - below - 0.27) / total,
            )
            _draw(figure.add_axes(place), panel, picture, number, colours)
    for panel, size in zip(tables, table_heights):
        bottom -= size / total
        left = 1.0 / (columns * WIDTH + 0.2)
        place = (left, bottom + 0.38 / total, 0.98 - left, (size - 0.68) / total)
        _draw_table(figure.add_axes(place), panel, number, names)
    if legend:
        figure.legend(
            handles=[
                Line2D([], [], color=colour, marker='o', linestyle='', markersize=4, label=name)
                for name, colour in zip(legend, colours)
            ],
            loc='lower center', ncols=legend_columns, frameon=False, fontsize=7,
            handletextpad=0.1, columnspacing=0.8, labelspacing=0.3, borderpad=0.1,
        )  # fmt: skip
    return figure


def _count(panel: Panel) -> int:
    """K of a panel, 0 if nothing of it has keypoints."""
    tensors = (panel.places, panel.maps, panel.windows)
    return next((x.shape[1] for x in tensors if x is not None), 0)


def _array(tensor, number: int) -> Optional[np.ndarray]:
    return None if tensor is None else tensor[number].detach().float().cpu().numpy()


def _draw(axis, panel: Panel, picture: np.ndarray, number: int, colours: np.ndarray) -> None:
    height, width = picture.shape[:2]
    extent = (0, width, height, 0)
    # pale, so that maps and keypoints stand out
    grey = 110 + 0.55 * picture.mean(-1) if panel.maps is not None else picture
    axis.imshow(grey, extent=extent, cmap='gray', vmin=0, vmax=255, interpolation='bilinear')
    maps, places = _array(panel.maps, number), _array(panel.places, number)
    windows, shown = _array(panel.windows, number), _array(panel.shown, number)
    title = panel.title
    if maps is not None:
        highest = maps.max(0)
        peak, level = float(highest.max()), float(np.median(highest))
        # above the background: a flat map does not glow
        heat = ((highest - level) / max(peak - level, 0.1 * peak, 1e-12)).clip(0, 1)
        axis.imshow(
            heat, extent=extent, cmap='inferno', vmin=0, vmax=1, alpha=0.85 * heat**0.7,
            interpolation='nearest',
        )  # fmt: skip
        title += f'  (peak {peak:.2g})'
    chosen = np.ones(len(colours), bool)
    if windows is not None:
        chosen = _clearest(maps, len(windows))
        for k in np.flatnonzero(chosen):
            left, top, right, bottom = windows[k] * (width, height, width, height)
            axis.add_patch(
                Rectangle(
                    (left, top),
                    right - left,
                    bottom - top,
                    fill=False,
                    edgecolor=colours[k],
                    linewidth=1.3,
                )
            )
    if places is not None:
        visible = np.ones(len(places), bool) if shown is None else shown > 0
        visible &= chosen[: len(places)]
        x, y = (places * (width, height))[visible].T
        axis.scatter(
            x, y, s=15 if len(places) <= MOST_NAMES else 4, color=colours[: len(places)][visible],
            edgecolors='black', linewidths=0.5, zorder=3,
        )  # fmt: skip
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axis.set_title(title, fontsize=7.5, pad=3)
    if panel.note:
        axis.set_xlabel('\n'.join(textwrap.wrap(panel.note, 44)[:2]), fontsize=6, labelpad=2)


def _clearest(maps: Optional[np.ndarray], number: int) -> np.ndarray:
    """Which keypoints' windows are drawn: those of the highest peaks."""
    chosen = np.zeros(number, bool)
    order = np.arange(number) if maps is None else np.argsort(-maps.max((1, 2)), kind='stable')
    chosen[order[:MOST_WINDOWS]] = True
    return chosen


def _draw_table(axis, panel: Panel, number: int, names: Sequence[str]) -> None:
    values = _array(panel.table, number)
    axis.imshow(values, cmap='Blues', vmin=0, vmax=max(float(values.max()), 1e-12), aspect='auto')
    many = values.shape[1] > MOST_NAMES
    if not many:
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            dark = value > 0.6 * values.max()
            axis.text(
                column, row, f'{value:.2f}', ha='center', va='center', fontsize=6,
                color='white' if dark else 'black',
            )  # fmt: skip
    ticks = [] if many else range(values.shape[1])
    labels = [names[k].replace('_', '\n') if k < len(names) else str(k) for k in ticks]
    axis.set_xticks(ticks, labels, fontsize=6)
    axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=7)
    axis.tick_params(length=0)
    axis.set_title(panel.title, fontsize=8, pad=3)


#: what a sheet's file says of itself
SOURCE = 'mmpose-kd inspect'


def as_picture(figure: Figure) -> np.ndarray:
    """A figure as RGB pixels (h, w, 3), 0 to 255."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def write_sheet(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    about = {'Source': SOURCE}
    write_whole(file, lambda path: figure.savefig(path, dpi=DPI, metadata=about))


def is_sheet(file: Path) -> bool:
    """Whether :func:`write_sheet` wrote a file."""
    try:
        with Image.open(file) as picture:
            return picture.info.get('Source') == SOURCE
    except (OSError, ValueError, SyntaxError):
        return False
