"""``mmpose-kd wrap``."""

from __future__ import annotations

import sys
from typing import Optional

import click

from .options import Command


class Method(click.ParamType):
    """The name of a method that has a recipe."""

    name = 'method'

    def convert(self, value, param, ctx) -> str:
        """The same text."""
        import mmpose_kd  # noqa: F401  (registers the methods)

        from ..core.recipe import RECIPES

        if value not in RECIPES:
            self.fail(f'{value!r} is no method, give one of {", ".join(RECIPES)}', param, ctx)
        return value


@click.command(
    cls=Command,
    short_help='Write the config that trains the model of a config with a method.',
    epilog='\b\nExamples:\n'
    '  mmpose-kd wrap my_config.py --method ocd -o my_ocd.py\n'
    '  mmpose-kd wrap my_config.py --method tcd --teacher hrnet.py hrnet.pth -o my_tcd.py\n'
    '  mim train mmpose my_ocd.py',
)
@click.argument('config', metavar='CONFIG')
@click.option(
    '--method',
    required=True,
    type=Method(),
    metavar='METHOD',
    help="One that 'mmpose-kd methods' lists; 'mmpose-kd advise CONFIG' says which fit.",
)
@click.option(
    '--teacher',
    nargs=2,
    metavar='CONFIG CHECKPOINT',
    help='A trained model, for a method that needs one: its config (a file, or mmpose::...) and '
    'its weights (a file or an address), written as they are given.',
)
@click.option('-o', '--out', required=True, metavar='OUT.py', help='The config to write.')
@click.option('--force', is_flag=True, help='Replace a file that is there already.')
@click.option(
    '--trial/--no-trial',
    default=True,
    help='Train it for a step before it is written, with two pictures of your data, or made-up '
    'ones if that is not there (yes).',
)
def wrap(
    config: str,
    method: str,
    teacher: Optional[tuple[str, str]],
    out: str,
    force: bool,
    trial: bool,
) -> None:
    """Write a config that inherits CONFIG and adds what a method changes.

    CONFIG is a config of yours (text or pure Python style, any data) or the name of an installed
    one. OUT.py is short: it names what changes, and inherits the rest. It is compared with what
    the method asks for and trained for a step before it is written; it is written whole or not at
    all.
    """
    from ..wrap import wrap_config

    given = None if teacher is None else dict(config=teacher[0], checkpoint=teacher[1])
    written = wrap_config(config, method, out, given, force, trial)
    sys.stdout.write(f'{written.path}\n')
    for line in str(written).splitlines():
        sys.stdout.write(f'  {line}\n')
