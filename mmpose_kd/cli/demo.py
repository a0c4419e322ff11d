"""``mmpose-kd demo``."""

from __future__ import annotations

import click

from .options import Command


@click.command(
    cls=Command,
    short_help='Draw data, train, evaluate, export and show OKDHP in a few minutes.',
    epilog='\b\nExample:\n  mmpose-kd demo --out demo_out',
)
@click.option('--out', default='demo_out', metavar='DIR', help='Folder to write (demo_out).')
def demo(out: str) -> None:
    """Draw data, train a small model with OKDHP, evaluate every branch, and export the student.

    Leaves pictures to look at.
    """
    from ..demo.run import run

    run(out)
