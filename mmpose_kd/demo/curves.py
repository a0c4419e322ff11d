"""Accuracy and loss over the time of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.whole_files import write_whole
from ..gain.files import read_json
from ..gain.progress import read_progress
from ..records import logged_records

METRIC = 'coco/AP'
COLOURS = ('0.6', '#0072b2', '#d55e00')


@dataclass(frozen=True)
class Curve:
    """What was logged of a training.

    Attributes:
        name: Of the model, for the reader.
        clock: Seconds of training at the end of each epoch (E + 1,), from 0.
        accuracy: AP by finished epochs.
        losses: By name, mean of each epoch (E,).
    """

    name: str
    clock: np.ndarray
    accuracy: dict[int, float]
    losses: dict[str, np.ndarray]

    @classmethod
    def of(cls, name: str, folder: Path) -> Curve:
        """Read from the folder of a finished run."""
        clock = np.cumsum([0.0, *read_progress(folder / 'progress.json')['seconds']])
        curve = read_json(folder / 'result.json')['curve']
        accuracy = {int(epoch): found[METRIC] for epoch, found in curve.items() if METRIC in found}
        return cls(name, clock, accuracy, _losses(folder / 'work', len(clock) - 1))


def _losses(work: Path, epochs: int) -> dict[str, np.ndarray]:
    """Mean of each loss over each epoch, NaN where nothing was logged."""
    logged: dict[str, list] = {}
    for record in logged_records(work):
        if 'loss' not in record or record.get('epoch') not in range(1, epochs + 1):
            continue
        for key in (key for key in record if 'loss' in key):
            rows = logged.setdefault(key, [[] for _ in range(epochs)])
            rows[record['epoch'] - 1].append(record[key])
    return {
        key: np.array([np.mean(values) if values else np.nan for values in rows])
        for key, rows in logged.items()
    }


def common_loss(curves: list[Curve]) -> str:
    """A loss that all trainings have, the sum only if there is no other."""
    common = set.intersection(*(set(curve.losses) for curve in curves))
    return min(common, key=lambda key: (key == 'loss', len(key), key))


def draw_curves(curves: list[Curve], file: Path) -> None:
    """Two panels: accuracy on the persons kept aside, and the loss on the labels in training."""
    figure = Figure(figsize=(10, 3.9), layout='constrained')
    accuracy, loss = figure.subplots(1, 2)
    key = common_loss(curves)
    for curve, colour in zip(curves, COLOURS):
        epochs = sorted(curve.accuracy)
        values = [curve.accuracy[epoch] for epoch in epochs]
        style = dict(color=colour, label=curve.name, linewidth=2)
        accuracy.plot(curve.clock[epochs], values, marker='o', markersize=4, **style)
        loss.plot(curve.clock[1:], curve.losses[key], **style)
    accuracy.set(title='OKS AP of persons kept aside', ylabel='AP')
    accuracy.set_ylim(bottom=0)
    title = 'sum of all losses' if key == 'loss' else f'{key}, which all of them have'
    loss.set(title=f'training loss: {title}', ylabel=key, yscale='log')
    for axis in (accuracy, loss):
        axis.set_xlabel('seconds of training')
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3, which='both')
    accuracy.legend()
    write_whole(file, lambda path: figure.savefig(path, dpi=100))
