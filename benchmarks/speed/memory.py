"""Peak memory of a training step, with and without activation checkpointing."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Optional

import torch
from torch.profiler import ProfilerActivity, profile

from .models import Network, hourglass, shipped, step_of
from .report import table
from .timing import Bench

WAYS = {
    'cpu': 'all tensors that exist at one time, from the memory events of torch.profiler: the '
    'same number in every run, without what kernels use inside',
    'cuda': 'torch.cuda.max_memory_allocated',
}


def networks() -> dict[str, Network]:
    """Whose memory is measured: with smaller batches weights and gradients are most of it."""
    return {
        'hourglass 2-stack, half shared': hourglass(batch=8),
        'HRNet-w32 256 x 192, three stages 4': shipped('okdhp_hrnet_coco', batch=8),
    }


def memory_table(bench: Bench, measured: Optional[Mapping[str, Network]] = None) -> str:
    """Peak memory and time of a step in units of the plain model's."""
    rows = []
    for name, network in (measured or networks()).items():
        configs = {
            'plain': network.plain(),
            'OKDHP': network.okdhp(),
            'OKDHP, with_cp': network.okdhp(with_cp=True),
        }
        peaks = {
            key: peak_bytes(lambda c=config, n=network: step_of(n, c, bench.device)(), bench)
            for key, config in configs.items()
        }
        times = bench.interleaved(
            {key: step_of(network, config, bench.device) for key, config in configs.items()}
        )
        rows += [
            (
                name,
                key,
                f'{peaks[key] / 2**20:.0f}',
                f'{peaks[key] / peaks["plain"]:.2f}',
                f'{times.ratio(key, "plain"):.2f}',
            )
            for key in configs
        ]
    return table(
        'Peak memory of a step',
        'Weights, batch, activations and gradients, without the state of an optimiser; batch 8. '
        f'Measured: {WAYS[bench.device]}.',
        ('model', 'training', 'peak, MiB', 'times plain', 'time, times plain'),
        rows,
    )


def peak_bytes(run: Callable[[], object], bench: Bench) -> int:
    """Most bytes that ``run`` allocates for tensors and holds at one time."""
    if bench.device == 'cuda':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        bench.wait()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()  # models that are gone already go now
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding='utf-8'))['traceEvents']
    return peak_of(sorted((e for e in events if e['name'] == '[memory]'), key=lambda e: e['ts']))


def peak_of(events: Sequence[Mapping]) -> int:
    """Most bytes held at one time, of memory events in order.

    Events say how many bytes came (or, below 0, went) at which address. What was there before
    the first event may go in between, and does not count.
    """
    held: dict[int, int] = {}
    total = peak = 0
    for event in events:
        address, size = event['args']['Addr'], event['args']['Bytes']
        total -= held.pop(address, 0)
        if size > 0:
            held[address] = size
            total += size
        peak = max(peak, total)
    return peak
