"""The commands of ``mmpose-kd``, and its own options."""

from __future__ import annotations

import click

from ..version import __version__
from .advise import advise
from .demo import demo
from .export import export
from .gain import gain
from .generations import generations
from .inspection import inspect
from .make_data import make_data
from .metainfo import metainfo
from .methods import methods
from .setup_mmcv import setup_mmcv
from .verify import verify
from .wrap import wrap


@click.group(no_args_is_help=False, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__, prog_name='mmpose-kd', message='%(prog)s %(version)s')
def commands() -> None:
    """Knowledge distillation for MMPose."""


for command in (
    methods, advise, wrap, verify, export, inspect, gain, generations, make_data, metainfo, demo,
    setup_mmcv,
):  # fmt: skip
    commands.add_command(command)
