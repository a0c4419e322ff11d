"""What the losses cost, from given heatmaps on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import torch

from .models import RELEASED, TASK_ONLY, Network, build, hourglass, random_batch, total
from .report import table
from .timing import Bench

ALONE = 'task losses alone'


def losses_table(bench: Bench, network: Optional[Network] = None) -> str:
    """All losses of three unshared branches of the 2-stack hourglass."""
    network = network or hourglass()
    device = bench.device
    candidates = {
        ALONE: losses_of(network, device, **TASK_ONLY),
        'OKDHP': losses_of(network, device, fau=None),
        'OKDHP as released': losses_of(network, device, **{**RELEASED, 'fau': None}),
        'OKDHP and the training accuracy': losses_of(network, device, accuracy=True, fau=None),
    }
    times = bench.interleaved(candidates, repeats=5)
    width, height = network.codec['heatmap_size']
    return table(
        'The losses',
        f'Forward and backward to given heatmaps: {network.batch} images, {height} x {width}, '
        'three branches with two outputs each. The ensemble is the plain mean, the FAU is '
        'measured elsewhere.',
        ('losses', 'ms', 'times the task losses', 'lowest to highest'),
        [
            (
                name,
                f'{times.ms(name):.1f}',
                f'{times.ratio(name, ALONE):.2f}',
                times.spread(name, ALONE),
            )
            for name in candidates
        ],
    )


def losses_of(
    network: Network, device: str, accuracy: bool = False, **settings
) -> Callable[[], None]:
    """The losses of unshared branches whose heatmaps are given instead of computed.

    Args:
        network: Gives the batch.
        device: Where to compute.
        accuracy: Whether the training accuracy is computed too.
        settings: Changes to the config of the head.
    """
    model = build(network.okdhp('stem', **settings), device)
    images, samples = random_batch(network, device)
    leaves = []
    with torch.no_grad():
        feats = model.extract_feat(images)
        for branch in model.head.branches:
            given = [maps.detach().requires_grad_() for maps in branch.forward_stages(feats)]
            branch.forward_stages = lambda _, given=given: given
            leaves += given

    def run() -> None:
        for maps in leaves:
            maps.grad = None
        losses = model.head.loss(feats, samples, dict(compute_acc=accuracy))
        total(losses).backward()

    return run
