"""``mmpose-kd demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from .options import Command, Whole


class Method(click.ParamType):
    """The name of a method's recipe."""

    name = 'method'

    def convert(self, value, param, ctx) -> str:
        """The same name."""
        from ..core.recipe import RECIPES

        if value not in RECIPES:
            self.fail(f'{value!r} is no method, there are {", ".join(RECIPES)}', param, ctx)
        return value


@click.command(
    cls=Command,
    short_help='See in minutes what distillation brings, on drawn people or on own data.',
    epilog='\b\nExample:\n  mmpose-kd demo --out demo_out\n'
    '  mmpose-kd demo --data my_data --method okdhp --out my_demo',
)
@click.option('--out', default='demo_out', metavar='DIR', help='Folder to write (demo_out).')
@click.option('--method', type=Method(), default='ocd', metavar='NAME', help='Which one (ocd).')
@click.option(
    '--data', metavar='DIR',
    help='A data set: train.json and val.json (COCO keypoint annotations; there or in '
    'DIR/annotations), pictures in DIR/images, and perhaps metainfo.py with the dataset_info of '
    'MMPose. Without it people are drawn.',
)  # fmt: skip
@click.option('--epochs', type=Whole(1), default=10, metavar='N', help='Length (10).')
@click.option(
    '--persons', type=Whole(1), metavar='N',
    help='Use so many of each split at most (1000 to train, 300 to test).',
)  # fmt: skip
@click.option('--seed', type=Whole(0), default=0, metavar='S', help='Of the trainings (0).')
def demo(out: str, data: Optional[str], **options) -> None:
    """Train the same small model three times and compare: plain, plain for longer, distilled.

    The second one may train for as long as the distilled one takes. Students are exported and
    tested in MMPose alone, on persons kept aside. Leaves a table, pictures, curves and the
    student. The same command goes on where it was stopped.
    """
    from ..demo.run import Settings, run

    settings = Settings(out=Path(out), data=None if data is None else Path(data), **options)
    try:
        run(settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command goes on where this one stopped') from None
