"""The command ``python -m benchmarks.speed``: what distillation costs, as ratios in one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import torch
from mmengine.logging import MMLogger

from .distiller import distiller_table
from .dskd import dskd_table
from .fau import fau_table
from .grouped import grouped_table
from .hhd import hhd_table
from .losses import losses_table
from .memory import memory_table
from .methods import launches_table, methods_table
from .ocd import ocd_table
from .report import machine
from .step import overhead_table, step_table
from .student import student_table
from .timing import CLOCKS, COUNTED, Bench

#: by the name that --only takes
TABLES = {
    'step': step_table,
    'overhead': overhead_table,
    'fau': fau_table,
    'losses': losses_table,
    'student': student_table,
    'memory': memory_table,
    'grouped': grouped_table,
    'hhd': hhd_table,
    'distiller': distiller_table,
    'dskd': dskd_table,
    'ocd': ocd_table,
    'launches': launches_table,
    'methods': methods_table,
}


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure, and print tables in Markdown as they get ready."""
    args = parser().parse_args(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    MMLogger.get_instance('speed', log_level='ERROR')  # initialised weights are no news here
    if args.clock == COUNTED and args.device != 'cpu':
        sys.exit('--clock operators counts on the CPU: leave --device out')
    if args.clock == COUNTED and 'methods' in (args.only or TABLES):
        sys.exit('--clock operators: the table of methods is in milliseconds; give other --only')
    bench = Bench(args.rounds, args.device, args.clock, args.batch or Bench.batch)
    parts = [f'# Speed and memory\n\n{machine(bench)}']
    sys.stdout.write(parts[0])
    for name in args.only or (TABLES if args.batch is None else ['methods']):
        parts.append(TABLES[name](bench))
        sys.stdout.write('\n' + parts[-1])
        sys.stdout.flush()
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text('\n'.join(parts), encoding='utf-8')


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.speed', description=__doc__)
    p.add_argument('--rounds', type=_positive, default=7, help='measurements of each (7)')
    p.add_argument('--threads', type=_positive, help="CPU threads (torch's own choice)")
    p.add_argument('--only', nargs='+', choices=TABLES, help='tables to make (all)')
    p.add_argument(
        '--batch',
        type=_positive,
        help='images in a batch of the table "methods", which is then the only one without --only '
        f'({Bench.batch})',
    )
    p.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='(cpu)')
    p.add_argument(
        '--clock',
        choices=[*CLOCKS, COUNTED],
        default='wall',
        help="cpu: the process's CPU time; operators: no time, but how many there are (wall)",
    )
    p.add_argument('--out', type=Path, metavar='FILE.md', help='also write the tables here')
    return p


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number above 0')
    return int(text)


if __name__ == '__main__':
    main()
