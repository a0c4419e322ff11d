"""What came out: a table in the terminal and in a file, pictures, curves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..gain.files import write_text
from ..gain.plan import Run
from ..gain.results import THRESHOLDS, Result, costs, gain, read_persons, read_result
from .curves import Curve, draw_curves
from .data import Data
from .pictures import NEAR, Shown, draw_pictures

COLUMNS = (
    'model', 'epochs', 'training [s]', 'OKS AP', *(f'PCK@{thr}' for thr in THRESHOLDS),
    'parameters', 'latency [ms]',
)  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        name: For the reader.
        run: Its finished run.
    """

    name: str
    run: Run


def write_report(out: Path, models: list[Model], teacher: Optional[Model], data: Data) -> None:
    """Show a table, and write ``results.md``, ``pictures.png`` and ``curves.png``.

    Args:
        out: The demo's folder.
        models: Plain, plain for longer, distilled; the last one is what was exported.
        teacher: Whom it was distilled from, None without one.
        data: What they were trained and tested on.
    """
    rows = [*models, *([teacher] if teacher else [])]
    results = [read_result(out, model.run, None) for model in rows]
    cost = costs(out, results)
    cells = [
        [model.name, *_numbers(result, cost.get(model.run.method))]
        for model, result in zip(rows, results)
    ]
    notes = _notes(out, rows, results)
    # texts: '[s]' would be taken for markup
    first, *others = map(Text, COLUMNS)
    table = Table(Column(first), *(Column(name, justify='right') for name in others))
    for row in cells:
        table.add_row(*row)
    markdown = [COLUMNS, ['---', *['---:'] * (len(COLUMNS) - 1)], *cells]
    text = '\n'.join(f'| {" | ".join(row)} |' for row in markdown)
    pictures = '![predictions](pictures.png)\n\n![curves](curves.png)'
    write_text(out / 'results.md', '\n\n'.join([text, *notes, pictures]) + '\n')

    draw_pictures(
        [Shown(model.name, read_persons(model.run.folder(out) / 'persons.npz'), result)
         for model, result in zip(models, results)], data, out / 'pictures.png',
    )  # fmt: skip
    draw_curves([Curve.of(model.name, model.run.folder(out)) for model in models],
                out / 'curves.png')  # fmt: skip
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 120  # else 80
    console.print(table, soft_wrap=False)
    for note in notes:
        console.print(note, markup=False)
    for name, what in (
        ('results.md', 'this table'),
        ('pictures.png', 'the same pictures under each of the three, wrong joints marked'),
        ('curves.png', 'accuracy and loss over the training time'),
        ('student/', 'the distilled model, a plain MMPose config and its weights'),
    ):
        console.print(f'  {out / name}: {what}', markup=False)


def _numbers(result: Result, cost: Optional[dict]) -> list[str]:
    return [
        str(result.run.epochs),
        f'{result.about["seconds"]:.0f}',
        f'{result.oks_ap:.3f}',
        *(f'{result.pck(thr):.1f}' for thr in THRESHOLDS),
        *(
            [f'{cost["parameters"]:,}', f'{1000 * np.median(cost["seconds"]):.2f}']
            if cost
            else ['not known', 'not known']
        ),
    ]


def _notes(out: Path, models: list[Model], results: list[Result]) -> list[str]:
    """What the numbers are of, and how much of the difference is chance."""
    distilled, thr = results[2], NEAR[results[2].yardstick]
    by = {'torso': 'torso lengths (left shoulder to right hip)', 'bbox': 'longer sides of the box'}
    lines = [
        f'Trained on {distilled.about["samples"]} persons, tested on {len(distilled.ids)} others '
        'that nothing was chosen by: of each training the last epoch, exported and tested in '
        f'MMPose alone. PCK in percent, distances in {by[distilled.yardstick]}. Latency: one '
        'picture, one thread. Training: without validation.'
    ]
    if len(models) > 3:
        lines.append(
            f'The teacher was trained first, for {results[3].about["seconds"]:.0f} s: that is '
            "not in the distilled model's time."
        )
    for plain, result in zip(models[:2], results[:2]):
        found = gain([result], [distilled], thr)
        lines.append(
            f'{models[2].name} over {plain.name}: {found.gain:+.1f} PCK@{thr} '
            f'[{found.low:+.1f}, {found.high:+.1f}], {distilled.oks_ap - result.oks_ap:+.3f} AP '
            '(in brackets 95 % over the tested persons; one seed)'
        )
    student = out / 'student'
    lines.append(
        f'Test it yourself: mim test mmpose {student / "student.py"} '
        f'--checkpoint {student / "student.pth"}'
    )
    return lines
