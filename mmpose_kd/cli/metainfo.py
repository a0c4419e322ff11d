"""``mmpose-kd metainfo``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import Command


@click.command(
    cls=Command,
    short_help="Write MMPose's metainfo of a COCO file with keypoints of your own.",
    epilog='\b\nExample:\n  mmpose-kd metainfo data/mine/train.json -o data/mine/metainfo.py',
)
@click.argument('annotations', metavar='TRAIN.json')
@click.option('-o', '--out', required=True, metavar='OUT.py', help='The file to write.')
@click.option('--force', is_flag=True, help='Replace a file that is there already.')
def metainfo(annotations: str, out: str, force: bool) -> None:
    """Write MMPose's metainfo of the keypoints that TRAIN.json, a COCO file, names.

    A config gives it to its data sets: metainfo=dict(from_file='OUT.py'). Which keypoints change
    places in a mirror is told by their names (left_eye and right_eye, ear.L and ear.R): look at
    what is printed. OKS takes a sigma of 0.05 for each.
    """
    from ..demo.metainfo import SIGMA, metainfo_file

    written = metainfo_file(Path(annotations), Path(out), force)
    sys.stdout.write(f'{out}: {len(written.names)} keypoints, {", ".join(written.names)}\n')
    pairs = ', '.join(f'{one} and {other}' for one, other in written.pairs)
    sys.stdout.write(f'change places in a mirror: {pairs or "none"}\n')
    sys.stdout.write(f'sigma of OKS: {SIGMA} for each, change it if yours are known\n')
    if written.lacking:
        told = ', '.join(f'{count} have no {key}' for key, count in written.lacking.items())
        sys.stderr.write(
            f'mmpose-kd: note: of the annotations {told}; the same in the validation ends in a '
            'KeyError of CocoMetric: give area (width * height of the box, if nothing better is '
            'known) and iscrowd=0, and leave boxes without keypoints out\n'
        )
    if written.series:
        sys.stderr.write(
            'mmpose-kd: note: keypoints are numbered, and names do not tell mirror images then; '
            "if there are sides, write swap='...' for each by hand, or leave RandomFlip and "
            'flip_test out\n'
        )
    elif not written.pairs and len(written.names) > 1:
        sys.stderr.write(
            'mmpose-kd: note: no two names tell the sides of one thing (left_eye and right_eye); '
            "if there are sides, write swap='...' for each by hand, or leave RandomFlip and "
            'flip_test out\n'
        )
