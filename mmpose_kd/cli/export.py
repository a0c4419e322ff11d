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
    epilog='\b\nExamples:\n'
    '  mmpose-kd export my_okdhp.py work_dirs/my_okdhp/epoch_210.pth student --branch best\n'
    '  mmpose-kd export my_ocd.py work_dirs/my_ocd/epoch_420.pth student --onnx\n'
    '  mmpose-kd export my_ocd.py work_dirs/my_ocd/epoch_420.pth student --onnx --half',
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
@click.option(
    '--onnx',
    is_flag=True,
    help='Write student.onnx as well, compared with onnxruntime; also of a plain model. Needs '
    'pip install "mmpose-kd[onnx]".',
)
@click.option(
    '--onnx-outputs',
    type=click.Choice(['rtmlib', 'raw']),
    default='rtmlib',
    help="Of the ONNX file: SimCC bins as rtmlib's RTMPose reads them, of any head, or what the "
    'head itself puts out (rtmlib).',
)
@click.option(
    '--onnx-channels',
    type=click.Choice(['bgr', 'rgb']),
    default='bgr',
    help="Order of the ONNX file's picture: as OpenCV reads it and rtmlib hands it over, or red "
    'first (bgr).',
)
@click.option('--half', is_flag=True, help='Weights of the ONNX file in float16.')
def export(
    config: str,
    checkpoint: str,
    out: str,
    branch: Union[None, int, str],
    allow_bigger: bool,
    force: bool,
    **onnx,
) -> None:
    """Turn a trained model into a plain MMPose model.

    Reads the CONFIG that the model was trained with and a CHECKPOINT of that training, and writes
    student.pth and student.py to the folder OUT. MMPose loads them without mmpose_kd, unless the
    student itself has a backbone or head of it: then the first line of student.py says so. The
    student is checked against the branch it comes from before anything is written.
    docs/onnx.md tells how an ONNX file is used.
    """
    from ..compat import mmpose_needs_us
    from ..export import StudentWarning, export_student
    from .progress import steps_shown

    with warnings.catch_warnings():
        warnings.simplefilter('always', StudentWarning)
        show = warnings.showwarning

        def note(message, category, *where, **options):
            if issubclass(category, StudentWarning):
                sys.stderr.write(f'mmpose-kd: note: {" ".join(str(message).split())}\n')
            else:
                show(message, category, *where, **options)

        warnings.showwarning = note
        with steps_shown(4 if onnx['onnx'] else 3):
            student = export_student(config, checkpoint, out, branch, allow_bigger, force, **onnx)
    if student.passed_over:
        sys.stderr.write(f'mmpose-kd: note: {student.passed_over}\n')
    if student.removed:
        sys.stderr.write(
            f'mmpose-kd: note: {student.removed} was of another student and is removed; --onnx '
            'writes one of this student\n'
        )
    if mmpose_needs_us():
        sys.stderr.write(
            'mmpose-kd: note: mmcv is a lite build; for the student to work in MMPose, run once: '
            'mmpose-kd setup-mmcv\n'
        )
    for path in student:
        sys.stdout.write(f'{path}\n')
    sys.stdout.write(f'{student}\n')
    if student.onnx is not None:
        sys.stdout.write(f'{student.onnx}\n')
