"""Tables in Markdown, and what they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

import torch

from .timing import Bench, Times


def table(title: str, notes: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading, a line on what was measured, and the table."""
    lines = [f'## {title}', '', notes, '']
    lines += ['| ' + ' | '.join(row) + ' |' for row in (header, ['---'] * len(header), *rows)]
    return '\n'.join(lines) + '\n'


def steps_table(
    title: str, notes: str, times: Times, names: Sequence[str], parts: str, plain: str
) -> str:
    """A table of steps, in units of their parts and of the plain step.

    Args:
        title, notes: As of :func:`table`.
        times: What was measured.
        names: The steps, in the order of the rows.
        parts, plain: Names of those that the others are divided by.
    """
    return table(
        title,
        notes,
        ('step', times.unit, f'times {parts}', 'lowest to highest', f'times {plain}'),
        [
            (
                one,
                f'{times.ms(one):.0f}',
                f'{times.ratio(one, parts):.3f}',
                times.spread(one, parts),
                f'{times.ratio(one, plain):.3f}',
            )
            for one in names
        ],
    )


def machine(bench: Bench) -> str:
    """What the numbers hold for."""
    facts = [
        f'torch {torch.__version__}',
        f'{torch.get_num_threads()} threads',
        f'{os.cpu_count()} CPUs ({_processor()})',
        f'median of {bench.rounds} rounds in turns',
        f'{bench.clock} time',
    ]
    if bench.device == 'cuda':
        facts.insert(0, torch.cuda.get_device_name())
    if hasattr(os, 'getloadavg'):
        facts.append(f'load average at the start {os.getloadavg()[0]:.1f}')
    return ', '.join(facts) + '.\n'


def _processor() -> str:
    try:
        with open('/proc/cpuinfo') as info:
            return next(line.split(':')[1].strip() for line in info if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
