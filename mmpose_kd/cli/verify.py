"""``mmpose-kd verify``."""

from __future__ import annotations

import sys

import click

from .gain import Change, changes
from .options import Command, Whole


@click.command(
    cls=Command,
    short_help='Try a config on your data, and say what its training will take.',
    epilog='\b\nExamples:\n'
    '  mmpose-kd verify configs/okdhp_hrnet_coco.py --data-root /data/coco --gpus 8\n'
    '  mmpose-kd verify my_config.py --no-weights --batch-size 4 --device cpu',
)
@click.argument('config', metavar='CONFIG')
@click.option(
    '--data-root', metavar='DIR',
    help="Folder of the data, in the place of the config's data_root (data/coco/) wherever it "
    'stands (what several data sets have in common).',
)  # fmt: skip
@click.option(
    '--batch-size', type=Whole(1), metavar='N', help="Pictures in a step (the config's)."
)
@click.option(
    '--num-images', type=Whole(1), default=8, metavar='N', help='Samples to validate (8).'
)
@click.option(
    '--device',
    type=click.Choice(['cpu', 'cuda']),
    help='Where to compute (a GPU if there is one).',
)
@click.option(
    '--gpus', type=Whole(1), default=1, metavar='N',
    help='GPUs of the whole run, for the estimate of its time (1).',
)  # fmt: skip
@click.option(
    '--no-weights', is_flag=True,
    help='Read no checkpoint: random weights, an untrained teacher. Costs and times are the same.',
)  # fmt: skip
@click.option(
    '--cfg-options', multiple=True, type=Change(), metavar='K=V ...', help='Changes to the config.'
)
def verify(config: str, no_weights: bool, cfg_options: tuple[str, ...], **options) -> None:
    """Train CONFIG for three steps and validate a few pictures, on a copy in memory.

    CONFIG is a config of mmpose-kd, of yours, or of MMPose's own. Says what is missing (data,
    teachers, weights) and where to put it; else parameters, multiply-accumulates, memory, and the
    time that the whole training will take from the time of a step. Weights at an address are
    fetched as the training would; else nothing is written.
    """
    from ..verify import Settings
    from ..verify import verify as run
    from ..verify.run import STEPS
    from .progress import steps_shown
    from .tables import show

    settings = Settings(config, weights=not no_weights, options=changes(cfg_options), **options)
    with steps_shown(STEPS + 5):  # three of them before, and two after the training steps
        report = run(settings)
    show(('network', 'parameters', 'trained', 'MACs a picture'), report.networks())
    sys.stdout.write('\n')
    show(('measured', ''), report.facts())
