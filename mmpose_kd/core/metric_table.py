"""Metrics of several outputs as a table for the log."""

from __future__ import annotations

import io
from collections.abc import Mapping
from numbers import Integral, Real

WIDTH = 10_000  # characters: a log's line is not cut


def metric_table(rows: Mapping[str, Mapping[str, float]], digits: int = 4) -> str:
    """A table of plain text: a row for each output, a column for each metric.

    Args:
        rows: By the name of the output its metrics by their names. One that an output does not
            have is left empty.
        digits: Behind the decimal point.
    """
    # only now: a training imports it in its first validation
    from rich import box
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column('')
    for name in columns:
        # the data set's name above the metric's: narrower
        table.add_column(name.replace('[', r'\[').replace('/', '/\n'), justify='right')
    for output, metrics in rows.items():
        values = (metrics.get(name) for name in columns)
        table.add_row(
            output.replace('[', r'\['), *('' if v is None else _text(v, digits) for v in values)
        )
    text = io.StringIO()
    Console(file=text, width=WIDTH, no_color=True, emoji=False).print(table)
    # a log file may be in an encoding without lines of boxes
    plain = text.getvalue().replace('─', '-')
    return '\n'.join(line.rstrip() for line in plain.splitlines() if line.strip())


def _text(value, digits: int) -> str:
    fraction = isinstance(value, Real) and not isinstance(value, Integral)  # numpy's as well
    return f'{value:.{digits}f}' if fraction else str(value)
