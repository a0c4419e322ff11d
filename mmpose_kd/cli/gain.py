"""``mmpose-kd gain``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Optional, Union

import click

from .options import Command, Whole


class Persons(click.ParamType):
    """A number of training persons, or ``all``."""

    name = 'persons'

    def convert(self, value, param, ctx) -> Union[int, str]:
        """The number of a text, or the word."""
        if value == 'all':
            return value
        if not value.isdecimal() or int(value) == 0:
            self.fail(f"{value!r} is neither a number of persons nor 'all'", param, ctx)
        return int(value)


class Change(click.ParamType):
    """A change to the configs, ``KEY=VALUE``."""

    name = 'change'

    def convert(self, value, param, ctx) -> str:
        """The same text."""
        if not value.partition('=')[0] or '=' not in value:
            self.fail(f'{value!r} is not of the form KEY=VALUE', param, ctx)
        return value


@click.command(
    cls=Command,
    short_help='Compare students with plain models trained alike, over seeds.',
    epilog='\b\nExample:\n'
    '  mmpose-kd gain plain.py okdhp.py --out gain_out --seeds 0 1 2 \\\n'
    '      --train-persons 500 1000 all --jobs 2',
)
@click.argument('configs', nargs=-1, metavar='PLAIN DISTILLED...')
@click.option('--out', required=True, metavar='DIR', help='Folder for runs and report.')
@click.option(
    '--seeds', multiple=True, type=Whole(0), default=(0, 1, 2), metavar='S ...',
    help='One training of every model each (0 1 2).',
)  # fmt: skip
@click.option(
    '--train-persons', multiple=True, type=Persons(), default=('all',), metavar='N ...',
    help='Sizes of the training set, the smaller part of the larger: numbers, or all (all).',
)  # fmt: skip
@click.option(
    '--epochs', type=Whole(1), metavar='N',
    help="Length of the trainings, schedules stretched to it (the configs' own).",
)  # fmt: skip
@click.option(
    '--equal-wall-time/--no-equal-wall-time', default=True,
    help='Also train the plain model as long as the distilled one takes (yes).',
)  # fmt: skip
@click.option('--jobs', type=Whole(1), default=1, metavar='N', help='Runs side by side (1).')
@click.option(
    '--cfg-options', multiple=True, type=Change(), metavar='K=V ...',
    help='Changes to all configs.',
)  # fmt: skip
@click.option('--report-only', is_flag=True, help='Train nothing, write the report.')
@click.option(
    '--yardstick', type=click.Choice(['torso', 'bbox']),
    help='Of PCK (torso if the data has shoulders and hips, else the longer side of the box).',
)  # fmt: skip
@click.pass_obj
def gain(
    argv: list[str],
    configs: tuple[str, ...],
    out: str,
    train_persons: tuple[Union[int, str], ...],
    cfg_options: tuple[str, ...],
    **options,
) -> int:
    """Train a PLAIN and one or more DISTILLED models alike, and report what distillation brings.

    The students are exported and tested as stock MMPose. The same command goes on where it was
    stopped; further calls with the same --out add to the report. Relative paths, those in the
    configs too, count from the current folder.
    """
    from ..gain.command import Settings, compare

    settings = Settings(
        configs=configs,
        out=Path(out),
        train_persons=tuple(None if n == 'all' else n for n in train_persons),
        cfg_options=changes(cfg_options),
        **options,
    )
    try:
        return compare(settings, shlex.join(['mmpose-kd', *argv]))
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command goes on where this one stopped') from None


def changes(pairs: tuple[str, ...]) -> Optional[dict]:
    """``KEY=VALUE`` texts as MMEngine's command lines read them: by their keys, None if none.

    Raises:
        ValueError: One has a bracket without its other half.
    """
    import argparse

    from mmengine.config import DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument('--changes', nargs='+', action=DictAction)
    found: dict = {}
    for pair in pairs:
        try:
            found.update(parser.parse_args(['--changes', pair]).changes)
        except AssertionError as error:
            raise ValueError(f'--cfg-options {pair}: {error}; close its brackets') from error
    return found or None
