"""``mmpose-kd setup-mmcv``."""

from __future__ import annotations

import sys

import click

from .options import Command


@click.command(
    'setup-mmcv',
    cls=Command,
    short_help='Let stock MMPose work with mmcv-lite, for exported students.',
    epilog='\b\nExample:\n  mmpose-kd setup-mmcv\n'
    '  mim test mmpose student/student.py --checkpoint student/student.pth',
)
def setup_mmcv() -> None:
    """Write a stand-in for the compiled operators into mmcv, where it is the lite build.

    MMPose 1.2 and newer cannot be imported beside mmcv-lite otherwise, so neither mim nor MMPose
    itself could use an exported student. Needed once in an environment; does nothing where mmcv
    has its operators. One that is called all the same says what to install.
    """
    from .._mmcv_ext_stub import install

    sys.stdout.write(f'{install()}\n')
