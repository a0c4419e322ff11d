"""Tables in Markdown, and what they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

import torch

from .timing import Bench


def table(title: str, notes: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading, a line on what was measured, and the table."""
    lines = [f'## {title}', '', notes, '']
    lines += ['| ' + ' | '.join(row) + ' |' for row in (header, ['---'] * len(header), *rows)]
    return '\n'.join(lines) + '\n'


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
