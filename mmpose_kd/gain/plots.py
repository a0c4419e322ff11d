"""The report's two pictures."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np

from .files import write_whole
from .results import THRESHOLDS, Result

#: title, then name and results of each model
Panel = tuple[str, list[tuple[str, list[Result]]]]


def save_plots(out: Path, panels: list[Panel]) -> None:
    """Write ``accuracy.png`` and ``curves.png``; nothing without results."""
    panels = [(title, [row for row in rows if row[1]]) for title, rows in panels]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return
    _save(out / 'accuracy.png', panels, _accuracy)
    _save(out / 'curves.png', panels, _curves)


def _save(path: Path, panels: list[Panel], draw) -> None:
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1 + 4.2 * len(panels), 4), squeeze=False, layout='constrained'
    )
    for axis, (title, rows) in zip(axes[0], panels):
        axis.set_title(title, fontsize=9)
        draw(axis, rows)
        axis.grid(alpha=0.3)
    write_whole(path, lambda unfinished: figure.savefig(unfinished, dpi=120))
    plt.close(figure)


def _accuracy(axis, rows: list[tuple[str, list[Result]]]) -> None:
    """Each seed as a dot, mean and standard deviation beside it."""
    thr = THRESHOLDS[0]
    for i, (_, results) in enumerate(rows):
        values = [r.pck(thr) for r in results]
        axis.plot([i - 0.12] * len(values), values, 'o', color=f'C{i}', alpha=0.5, markersize=5)
        axis.errorbar(i + 0.12, np.mean(values), _std(values), fmt='s', color=f'C{i}', capsize=4)
    names = [name for name, _ in rows]
    wrapped = [textwrap.fill(name.replace('_', '_ '), 18).replace('_ ', '_') for name in names]
    axis.set_xticks(range(len(rows)), wrapped, fontsize=7)
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.set_ylabel(f'PCK@{thr} [%]')


def _curves(axis, rows: list[tuple[str, list[Result]]]) -> None:
    """A validation metric over the epochs: mean of the seeds, and their range."""
    metric = _curve_metric([r for _, results in rows for r in results])
    if metric is None:
        axis.text(0.5, 0.5, 'no validation records', ha='center', transform=axis.transAxes)
        return
    for i, (name, results) in enumerate(rows):
        curves = [
            {int(e): m[metric] for e, m in r.about['curve'].items() if metric in m}
            for r in results
        ]
        curves = [curve for curve in curves if curve]
        epochs = sorted(set.intersection(*map(set, curves))) if curves else []
        if not epochs:
            continue
        values = np.array([[curve[e] for e in epochs] for curve in curves])  # (S, E)
        axis.plot(epochs, values.mean(0), '.-', color=f'C{i}', label=name)
        axis.fill_between(epochs, values.min(0), values.max(0), color=f'C{i}', alpha=0.2, lw=0)
    axis.set_xlabel('epoch')
    axis.set_ylabel(f'{metric} in training')
    axis.legend(fontsize=7)


def _curve_metric(results: list[Result]):
    """A metric that all runs with records have: PCK@0.2, else an AP, else any."""
    curves = [r.about['curve'].values() for r in results if r.about['curve']]
    names = [list(dict.fromkeys(key for record in curve for key in record)) for curve in curves]
    common = [key for key in names[0] if all(key in own for own in names)] if names else []
    for ending in (f'PCK@{THRESHOLDS[0]}', '/AP', ''):
        found = [key for key in common if key.endswith(ending)]
        if found:
            return found[0]
    return None


def _std(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
