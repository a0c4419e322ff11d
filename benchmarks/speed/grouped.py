"""Whether layers of all branches would be faster as one grouped convolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from .report import table
from .timing import Bench

#: channels, height and width of a 3 x 3 convolution of one branch
LAYERS = {
    'hourglass, finest map': (256, 64, 64),
    'hourglass, middle': (256, 16, 16),
    'hourglass, coarsest map but one': (256, 8, 8),
    'HRNet-w32 stage 4, finest map': (32, 64, 48),
    'HRNet-w32 stage 4, coarsest map': (256, 8, 6),
}


def grouped_table(bench: Bench, layers: Mapping[str, Sequence[int]] = LAYERS) -> str:
    """Three convolutions one after another against one with three groups."""
    rows = []
    for name, (channels, height, width) in layers.items():
        separate = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        grouped = [nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3)]
        times = bench.interleaved(
            {
                'separate': forward_backward(separate, height, width, bench.device),
                'grouped': forward_backward(grouped, height, width, bench.device),
            },
            repeats=5,
        )
        rows.append(
            (
                name,
                f'{channels} x {height} x {width}',
                f'{times.ms("separate"):.1f}',
                f'{times.ms("grouped"):.1f}',
                f'{times.ratio("grouped", "separate"):.2f}',
                times.spread('grouped', 'separate'),
            )
        )
    return table(
        'Three branches as one grouped convolution',
        'Forward and backward of a 3 x 3 convolution of three branches, batch 2, each with an '
        'input of its own. Below 1: grouped is faster.',
        ('layer', 'size', 'separate, ms', 'grouped, ms', 'grouped / separate', 'lowest, highest'),
        rows,
    )


def forward_backward(
    convs: Sequence[nn.Conv2d], height: int, width: int, device: str
) -> Callable[[], None]:
    """Every layer on an input of its own, with the gradients of input and weights."""
    convs = [conv.to(device) for conv in convs]
    shapes = [(2, conv.in_channels, height, width) for conv in convs]
    inputs = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
    pulls = [torch.randn(shape, device=device) for shape in shapes]

    def run() -> None:
        for conv, x, pull in zip(convs, inputs, pulls):
            conv.zero_grad(set_to_none=True)
            x.grad = None
            conv(x).backward(pull)

    return run
