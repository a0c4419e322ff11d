"""Tables: drawn in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout.

    In a terminal it is drawn by rich, which MMEngine brings along, as wide as the terminal. Else
    each row is one line, its columns two blanks apart.
    """
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, show_lines=True)
        for row in rows:
            table.add_row(*(text.replace('[', r'\[') for text in row))
        Console().print(table)
        return
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        text = '  '.join(part.ljust(width) for part, width in zip(line, widths))
        sys.stdout.write(f'{text.rstrip()}\n')
