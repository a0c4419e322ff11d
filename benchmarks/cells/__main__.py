"""``python -m benchmarks.cells P --out OUT``: the runs of a cell, and its table."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch

from mmpose_kd.gain.command import check_stock_mmpose
from mmpose_kd.gain.files import write_text
from mmpose_kd.gain.workers import cores

from .cell import CELLS, SEEDS, TEACHERS
from .ledger import RESULTS, Ledger
from .methods import METHODS
from .run import CellRun, Wanted, commit
from .table import table


@click.command()
@click.argument('name', metavar='CELL', type=click.Choice(list(CELLS)))
@click.option('--out', required=True, type=click.Path(path_type=Path), help='Folder for the runs.')
@click.option(
    '--part',
    type=click.Choice(['val', 'tune']),
    default='tune',
    help='Where students are tested: val.json, or persons of train.json kept aside (tune).',
)
@click.option('--head', 'heads', multiple=True, help='Of the student; may be repeated (all).')
@click.option(
    '--method',
    'methods',
    multiple=True,
    type=click.Choice(['plain', *METHODS]),
    help='May be repeated (all).',
)
@click.option('--seed', 'seeds', multiple=True, type=int, help='May be repeated (0 to 4).')
@click.option('--jobs', type=click.IntRange(1), help='Runs side by side (as many as cores).')
@click.option(
    '--equal-wall-time/--no-equal-wall-time',
    default=True,
    help="Plain runs of a method's time too (yes).",
)
@click.option('--list', 'listed', is_flag=True, help='Say what has not run, and run nothing.')
@click.option(
    '--results', type=click.Path(path_type=Path), default=RESULTS, help='Folder of CSV and table.'
)
def main(name, out, part, heads, methods, seeds, jobs, equal_wall_time, listed, results) -> None:
    """Do the runs of a CELL that its CSV lacks, and write its table.

    The same command goes on where it was stopped. Give --method and --seed for some of the runs.
    """
    cell = CELLS[name]
    unknown = [head for head in heads if head not in cell.heads]
    if unknown:
        raise click.BadParameter(
            f'{unknown[0]!r}: give one of {", ".join(cell.heads)}', param_hint='--head'
        )
    taken = sorted({*seeds} & {*TEACHERS})
    if taken:
        raise click.BadParameter(f'{taken[0]}: teachers have it', param_hint='--seed')
    heads, methods = list(heads or cell.heads), list(methods or METHODS)
    seeds = list(seeds or SEEDS)
    torch.set_num_threads(1)
    ledger = Ledger(results / f'cell_{name.lower()}.csv')
    # each has one thread, and a GPU is shared by all
    work = CellRun(cell, out, part, ledger, jobs or min(cores(), 16))
    failed: list[Wanted] = []
    runs = work.wanted(heads, methods, seeds)
    if not listed:
        check_stock_mmpose()
        if part == 'val' and commit().endswith('+'):
            raise click.UsageError(
                'files of the project were changed since its last commit. A row of --part val '
                'names the commit that makes it again: commit first, or use --part tune'
            )
        failed = work.prepare(runs)
    if equal_wall_time:
        runs += work.longer(runs)
    if not listed and not failed:
        try:
            failed = work.do(runs)
        finally:
            page = f'# Cell {name}, {part}\n\n{table(cell, ledger, part)}'
            write_text(results / f'cell_{name.lower()}_{part}.md', page)
    missing = [run for run in dict.fromkeys(runs) if not work.is_known(run)]
    sys.stdout.write(table(cell, ledger, part))
    for run in missing:
        sys.stdout.write(f'not run: {run.name}, {run.epochs} epochs, seed {run.seed}\n')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
