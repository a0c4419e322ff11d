"""``mmpose-kd export``."""

from __future__ import annotations

import sys
import warnings
from typing import Union

import click

from .options import Command


class Branch(click.ParamType):
    """The number of a branch, or ``best``."""

    name = 'branch'

    def convert(self, value, param, ctx) -> Union[int, str]:
        """The number of a text, or the word."""
        if value == 'best':
            return value
        if value == 'ensemble':
            self.fail(
                'the ensemble needs all branches and the FAU, so no plain model equals it; '
                "give a branch number, or 'best'",
                param,
                ctx,
            )
        if not value.isdecimal():
            self.fail(f"{value!r} is neither a branch number (0, 1, ...) nor 'best'", param, ctx)
        return int(value)


@click.command(
    cls=Command,
    short_help='Turn a trained model into a plain MMPose model.',
    epilog='\b\nExample:\n  mmpose-kd export my_okdhp.py work_dirs/my_okdhp/epoch_210.pth student '
    '--branch best',
)
@click.argument('config', metavar='CONFIG')
@click.argument('checkpoint', metavar='CHECKPOINT')
@click.argument('out', metavar='OUT')
@click.option(
    '--branch',
    type=Branch(),
    metavar='BRANCH',
    help="Number of the branch to keep, counted from 0, or 'best': the one with the best "
    'validation record; without it, the branch that the config deploys.',
)
@click.option(
    '--allow-bigger',
    is_flag=True,
    help="Let '--branch best' take a branch with more parameters than the deployed one.",
)
@click.option('--force', is_flag=True, help='Replace a student that is there already.')
def export(
    config: str,
    checkpoint: str,
    out: str,
    branch: Union[None, int, str],
    allow_bigger: bool,
    force: bool,
) -> None:
    """Turn a trained model into a plain MMPose model.

    Reads the CONFIG that the model was trained with and a CHECKPOINT of that training, and writes
    student.pth and student.py to the folder OUT. MMPose loads them without mmpose_kd, unless the
    student itself has a backbone or head of it: then the first line of student.py says so. The
    student is checked against the branch it comes from before anything is written.
    """
    from ..compat import mmpose_needs_us
    from ..export import StudentWarning, export_student

    with warnings.catch_warnings():
        warnings.simplefilter('always', StudentWarning)
        show = warnings.showwarning

        def note(message, category, *where, **options):
            if issubclass(category, StudentWarning):
                sys.stderr.write(f'mmpose-kd: note: {" ".join(str(message).split())}\n')
            else:
                show(message, category, *where, **options)

        warnings.showwarning = note
        student = export_student(config, checkpoint, out, branch, allow_bigger, force)
    if student.passed_over:
        sys.stderr.write(f'mmpose-kd: note: {student.passed_over}\n')
    if mmpose_needs_us():
        sys.stderr.write(
            'mmpose-kd: note: mmcv is a lite build; for the student to work in MMPose, run once: '
            'mmpose-kd setup-mmcv\n'
        )
    for path in student:
        sys.stdout.write(f'{path}\n')
    sys.stdout.write(f'{student}\n')
