"""``mmpose-kd inspect``."""

from __future__ import annotations

import sys

import click

from .options import Command, Whole


@click.command(
    'inspect',
    cls=Command,
    short_help='Draw what student, teachers, branches, ensemble, guides and heads say.',
    epilog='\b\nExamples:\n'
    '  mmpose-kd inspect my_okdhp.py work_dirs/my_okdhp/epoch_210.pth\n'
    '  mmpose-kd inspect my_hhd.py work_dirs/my_hhd/epoch_100.pth --samples 0 12 40\n'
    '  mmpose-kd inspect my_hhd.py work_dirs/my_hhd/epoch_100.pth --images a.jpg b.jpg',
)
@click.argument('config', metavar='CONFIG')
@click.argument('checkpoint', metavar='CHECKPOINT')
@click.option('--out', default='inspect_out', metavar='DIR', help='Folder to make (inspect_out).')
@click.option(
    '--images', multiple=True, metavar='FILE ...',
    help='Pictures, each filled by one person (animal, hand, ...).',
)  # fmt: skip
@click.option(
    '--samples', multiple=True, type=Whole(0), metavar='N ...',
    help='Numbers of samples of the validation, from 0 (four, spread evenly).',
)  # fmt: skip
@click.option('--force', is_flag=True, help='Replace sheets that are there already.')
def inspect(
    config: str,
    checkpoint: str,
    out: str,
    images: tuple[str, ...],
    samples: tuple[int, ...],
    force: bool,
) -> None:
    """Draw a sheet for each of some samples: what every part of a trained model says of it.

    Reads the CONFIG that the model was trained with and a CHECKPOINT of that training; a plain
    model has a student alone. Without --images the samples are the validation's, with their
    labels. All sheets are written or none. docs/inspect.md tells what is on them.
    """
    from ..inspection import draw_sheets
    from .progress import steps_shown

    if images and samples:
        raise click.UsageError('--images and --samples are both given: give one of them')
    number = -(-len(images or samples or range(4)) // 4)
    with steps_shown(2 + number):
        files = draw_sheets(config, checkpoint, out, images, list(samples) or None, force)
    for file in files:
        sys.stdout.write(f'{file}\n')
