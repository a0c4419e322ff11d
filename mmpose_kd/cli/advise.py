"""``mmpose-kd advise``."""

from __future__ import annotations

import shlex
import sys

import click

from .options import Command


@click.command(
    cls=Command,
    short_help='Say which methods fit a config, what they cost and brought.',
    epilog='\b\nExamples:\n'
    '  mmpose-kd advise my_config.py\n'
    '  mmpose-kd advise '
    'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py',
)
@click.argument('config', metavar='CONFIG')
def advise(config: str) -> None:
    """Say which methods can train the model of CONFIG, a config of yours or of MMPose's own.

    For those that fit: whether they need a teacher, what they cost, and what they brought where
    that was measured (the pages of the docs tell on what). For the others: why they do not fit.
    Nothing is trained or written.
    """
    from ..wrap import advise as ask
    from .tables import show

    answers = ask(config)
    fitting = [answer.recipe for answer in answers if answer.fits]
    if fitting:
        rows = [
            (
                recipe.name,
                recipe.teacher if recipe.needs_teacher else '-',
                recipe.figures.time or 'not measured',
                recipe.figures.memory or 'not measured',
                recipe.figures.gain or 'not measured',
                f'docs/{recipe.page}',
            )
            for recipe in fitting
        ]
        show(('fits', 'needs', 'step, in plain steps', 'memory', 'brought', 'page'), rows)
        for answer in answers:
            if answer.caution:
                sys.stdout.write(f'\n{answer.recipe.name}: {answer.caution}\n')
        sys.stdout.write('\n')
    others = [(a.recipe.name, a.misfit) for a in answers if not a.fits]
    if others:
        show(('does not fit', 'why'), others)
        sys.stdout.write('\n')
    if fitting:
        sys.stdout.write(
            f'go on: mmpose-kd wrap {shlex.quote(config)} --method METHOD -o OUT.py\n'
        )
