"""``mmpose-kd make-data``."""

from __future__ import annotations

import click

from .options import Command, Whole


@click.command(
    'make-data',
    cls=Command,
    short_help='Draw a data set of people with COCO keypoints.',
    epilog='\b\nExample:\n  mmpose-kd make-data data/drawn --train 1000 --val 200',
)
@click.argument('out', metavar='OUT')
@click.option('--train', type=Whole(1), default=400, metavar='N', help='Training pictures (400).')
@click.option('--val', type=Whole(1), default=100, metavar='M', help='Validation pictures (100).')
@click.option('--seed', type=Whole(0), default=0, metavar='S', help='Random seed (0).')
def make_data(out: str, train: int, val: int, seed: int) -> None:
    """Draw pictures of people into the folder OUT and write them with COCO keypoint annotations.

    The same numbers and seed give the same files.
    """
    from ..demo import draw_dataset

    draw_dataset(out, train, val, seed)
