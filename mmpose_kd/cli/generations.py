"""``mmpose-kd generations``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import click

from .gain import Change, changes
from .options import Command, Whole


@click.command(
    cls=Command,
    short_help='Train a model again, guided by its finished earlier trainings (DSKD).',
    epilog='\b\nExample:\n  mmpose-kd generations my_config.py --work-dir work_dirs/mine '
    '--generations 3',
)
@click.argument('config', metavar='CONFIG')
@click.option('--work-dir', required=True, metavar='DIR', help='Folder of the trainings.')
@click.option(
    '--generations', type=Whole(1), default=2, metavar='N', help='Whole trainings in all (2).'
)
@click.option(
    '--cfg-options', multiple=True, type=Change(), metavar='K=V ...', help='Changes to the config.'
)
def generations(
    config: str, work_dir: str, generations: int, cfg_options: tuple[str, ...]
) -> None:
    """Train the plain model of CONFIG, then train it anew guided by the finished trainings.

    The last student is exported as a plain MMPose model to DIR/student. The cost is that of N
    trainings and a forward pass more a step for each guide; it is printed. The same command goes
    on where it was stopped.
    """
    from ..core.whole_files import write_whole
    from ..dskd.generations import train_generations
    from ..export import export_student

    student = Path(work_dir) / 'student'
    _check_student(student)
    try:
        trained = train_generations(config, Path(work_dir), generations, changes(cfg_options))
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command goes on where this one stopped') from None
    except subprocess.CalledProcessError:
        raise ValueError('a training failed, its message stands above') from None
    last = trained[-1]
    exported = export_student(last.config, last.checkpoint, student, force=True)
    note = {'student': _digest(student / 'student.pth')}
    write_whole(student.with_suffix('.json'), lambda file: Path(file).write_text(json.dumps(note)))
    if exported.removed:
        sys.stderr.write(
            f'mmpose-kd: note: {exported.removed} was of another student and is removed\n'
        )
    first = trained[0].seconds
    for number, one in enumerate(trained):
        sys.stdout.write(f'generation {number}: {one.seconds / 60:.1f} min\n')
    total = sum(one.seconds for one in trained)
    sys.stdout.write(f'in all {total / first:.1f} times the first training; {student}\n')


def _check_student(folder: Path) -> None:
    """See that a student which is there already is that of an earlier call."""
    weights, note = folder / 'student.pth', folder.with_suffix('.json')
    if not weights.exists():
        return
    known = json.loads(note.read_text()) if note.is_file() else {}
    if known.get('student') != _digest(weights):
        raise FileExistsError(
            f'{weights} is not of an earlier call and would be lost: move it, or give another '
            '--work-dir'
        )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
