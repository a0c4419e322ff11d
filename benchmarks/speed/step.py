"""A training step of OKDHP against the plain model's, and against its branches alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Optional

from .models import (
    RELEASED,
    TASK_ONLY,
    Network,
    build,
    hourglass,
    macs,
    random_batch,
    shipped,
    step_of,
)
from .report import table
from .timing import Bench

PLAIN = 'plain 2-stack hourglass'
STEP = 'Forward, losses, training accuracy and backward, without the optimiser.'


def step_table(bench: Bench, network: Optional[Network] = None) -> str:
    """The 2-stack hourglass with three branches, in units of the plain one's step."""
    network = network or hourglass()
    configs = {
        PLAIN: network.plain(),
        '3 unshared branches, light FAU': network.okdhp('stem'),
        '3 unshared branches, as released': network.okdhp('stem', **RELEASED),
        'half shared, light FAU': network.okdhp(),
        'half shared, as released': network.okdhp(**RELEASED),
    }
    wanted = ('', '3.1', '', '2.1', '')
    work = {name: forward_macs(network, config) for name, config in configs.items()}
    times = bench.interleaved(
        {name: step_of(network, config, bench.device) for name, config in configs.items()}
    )
    return table(
        'A training step in units of the plain one',
        f'{STEP} 2-stack hourglass, batch {network.batch}. Unshared: all but the stem is there '
        'three times. MACs: multiply-accumulates of the forward pass, what the structure costs.',
        ('model', 'ms', 'times plain', 'lowest to highest', 'wanted at most', 'MACs, times plain'),
        [
            (
                name,
                f'{times.ms(name):.0f}',
                f'{times.ratio(name, PLAIN):.2f}',
                times.spread(name, PLAIN),
                limit,
                f'{work[name] / work[PLAIN]:.2f}',
            )
            for name, limit in zip(configs, wanted)
        ],
    )


def forward_macs(network: Network, config: Mapping) -> int:
    """Multiply-accumulates of the forward pass of a step with one image."""
    model, batch = build(config), random_batch(dataclasses.replace(network, batch=1))
    return macs(lambda: model.loss(*batch))


def networks() -> dict[str, Network]:
    """What the overhead is measured on."""
    return {
        'hourglass 2-stack, half shared, batch 2': hourglass(),
        'hourglass 2-stack, half shared, batch 1': hourglass(batch=1),
        'ResNet-18 and a light branch, batch 8': shipped('okdhp_res18_mpii', batch=8),
        'HRNet-w32 256 x 192, three stages 4, batch 2': shipped('okdhp_hrnet_coco'),
    }


def overhead_table(bench: Bench, measured: Optional[Mapping[str, Network]] = None) -> str:
    """What ensemble, FAU and distillation add to trunk and branches with their task losses."""
    rows = []
    for name, network in (measured or networks()).items():
        configs = {'alone': network.okdhp(**TASK_ONLY), 'okdhp': network.okdhp()}
        times = bench.interleaved(
            {key: step_of(network, config, bench.device) for key, config in configs.items()}
        )
        rows.append(
            (
                name,
                f'{times.ms("alone"):.0f}',
                f'{times.ms("okdhp"):.0f}',
                f'{100 * (times.ratio("okdhp", "alone") - 1):+.1f} %',
                times.spread('okdhp', 'alone'),
            )
        )
    return table(
        'What OKDHP adds to its branches',
        f'{STEP} Trunk and three branches with their task losses alone, against the same with '
        'light FAU, ensemble loss and distillation. Wanted at most: +5 %.',
        ('model', 'task losses alone, ms', 'OKDHP, ms', 'added', 'lowest to highest, times'),
        rows,
    )
