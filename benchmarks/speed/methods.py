"""Every method's step in one table: the one to make where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mmpose_kd.core.gradient_balance import GradientBalance
from mmpose_kd.core.head_output import ground_truth, taught_weights
from mmpose_kd.ocd_tcd.codec import heatmap_samples
from mmpose_kd.ocd_tcd.entry import ThroughTeacherHead

from .distiller import batch_of, both, offline, step
from .dskd import Guided
from .launches import Launches
from .memory import peak_bytes
from .models import TASK_ONLY, build, shipped, step_of, total
from .ocd import two_losses
from .report import table
from .timing import Bench

Run = Callable[[], None]

#: what a host waits for a device in
WAITS = ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize')


@dataclass
class Case:
    """A method on a config.

    Attributes:
        plain: A step of the stock model.
        parts: What the method cannot be below: the stock steps and passes that it is made of.
        method: A step of it; of one with a balance a step that does not measure it.
        measuring: With a balance: a step that does, one in ``interval``.
        interval: See above.
        close: Frees what has to be freed.
    """

    plain: Run
    parts: Run
    method: Run
    measuring: Optional[Run] = None
    interval: int = 1
    close: Run = field(default=lambda: None)


def okdhp(name: str, batch: int, device: str) -> Case:
    """Parts: trunk and branches with their task losses alone."""
    network = shipped(name, batch)
    configs = network.plain(), network.okdhp(**TASK_ONLY), network.okdhp()
    return Case(*(step_of(network, config, device) for config in configs))


def teacher_to_student(name: str, batch: int, device: str) -> Case:
    """Parts: the student's step and the teacher's forward pass."""
    model, images, samples = _distiller(name, batch, device)
    return _balanced(
        step(model.student, images, samples),
        both(model, images, samples),
        step(model, images, samples),
        _balances(model),
    )


def tcd(name: str, batch: int, device: str) -> Case:
    """Parts: as of other teachers, and the frozen head on the adapted feature, there and back."""
    model, images, samples = _distiller(name, batch, device)
    return _balanced(
        step(model.student, images, samples),
        tcd_parts(model, images, samples),
        step(model, images, samples),
        _balances(model),
    )


def tcd_parts(model: BaseModel, images: Tensor, samples: list) -> Run:
    """A student's step with a teacher's head on its feature, and the teacher's own pass."""
    (entry,) = (one for one in model.distill if isinstance(one, ThroughTeacherHead))
    student, teacher = model.student, model.teachers[0]
    beside, _ = heatmap_samples(samples)
    target, weight = ground_truth('heatmap', beside)[0], taught_weights(beside)

    def run() -> None:
        model.zero_grad(set_to_none=True)
        teacher.forward_head(images)
        feats = student.backbone(images)
        necked = student.neck(feats) if student.with_neck else feats
        own = student.head.loss(necked, samples, train_cfg=student.train_cfg)
        maps = teacher.through_head(entry.adapted([feats[-1]])[0])
        (total(own) + entry.loss_module(maps, target, weight)).backward()

    return run


def ocd(name: str, batch: int, device: str) -> Case:
    """Parts: the plain step with a stock heatmap head on the same feature."""
    cfg = offline(name)
    images, samples = batch_of(cfg, batch, device)
    model = build(cfg.model, device)
    plain = build(model.head.deployed().config(cfg.model), device)
    return _balanced(
        step(plain, images, samples),
        two_losses(plain, model.head.heatmap, images, samples),
        step(model, images, samples),
        [model.head.balance],
    )


def dskd(name: str, batch: int, device: str) -> Case:
    """Parts: the plain step and the forward passes of two guides."""
    guided = Guided(name, 2, batch, device)
    return Case(guided.plain, guided.parts(2), guided.step(2), close=guided.close)


def _distiller(name: str, batch: int, device: str) -> tuple[BaseModel, Tensor, list]:
    cfg = offline(name)
    images, samples = batch_of(cfg, batch, device)
    model = build(cfg.model, device)
    model.init_weights()
    return model, images, samples


def _balances(distiller: BaseModel) -> list[GradientBalance]:
    return [entry.balance for entry in distiller.distill if entry.balance is not None]


def _balanced(plain: Run, parts: Run, method: Run, balances: Sequence[GradientBalance]) -> Case:
    if not balances:
        return Case(plain, parts, method)
    interval = balances[0].interval

    def with_interval(length: int) -> Run:
        def run() -> None:
            for balance in balances:
                balance.warmup, balance.interval = 1, length
            method()

        return run

    return Case(plain, parts, with_interval(10**9), with_interval(1), interval)


class Row(NamedTuple):
    """What is measured: how a case is made, its config, and which share of the batch it has."""

    method: str
    make: Callable[[str, int, str], Case]
    config: str
    share: float = 1.0


ROWS = (
    Row('OKDHP', okdhp, 'okdhp_hrnet_coco'),
    Row('OKDHP', okdhp, 'okdhp_mobilenetv2_mpii'),
    Row('OKDHP', okdhp, 'okdhp_hourglass4_mpii', 0.25),
    Row('HHD', teacher_to_student, 'hhd_mobilenetv2_mpii'),
    Row('HHD', teacher_to_student, 'hhd_litehrnet18_coco'),
    Row('OCD', ocd, 'ocd_deeppose_res50_coco'),
    Row('OCD', ocd, 'ocd_rtmpose-s_coco'),
    Row('TCD', tcd, 'tcd_deeppose_res50_coco'),
    Row('DSKD, 2 guides', dskd, 'dskd_mobilenetv2_mpii'),
    Row("DWPose's losses", teacher_to_student, 'dwpose_rtmpose-m_coco-wholebody'),
    Row('PKD', teacher_to_student, 'pkd_mobilenetv2_coco'),
)

HEADER = (
    'method', 'config', 'batch', 'plain, ms', 'times plain', 'times its parts',
    'lowest to highest', 'on the device, ms (times parts)', 'launches: plain, parts, own',
    'waits: plain, added', 'mixed precision', 'peak memory, times plain',
)  # fmt: skip


def methods_table(bench: Bench, rows: Sequence[Row] = ROWS) -> str:
    """Each method's step against plain training and its unavoidable parts."""
    found = []
    for row in rows:
        batch = max(1, int(bench.batch * row.share))
        try:
            cells = measured(row, batch, bench)
        except RuntimeError as error:  # no memory: the other rows are wanted all the same
            cells = [str(error).splitlines()[0], *[''] * (len(HEADER) - 4)]
        found.append((row.method, row.config, str(batch), *cells))
    return table(
        "Every method's step",
        'Forward, losses, training accuracy and backward, without the optimiser; random weights. '
        'Times are of the mean step: where a balance is measured, one step in its interval. '
        'Launches: operators that compute (on the CPU), kernels (on a GPU); own: more than the '
        'parts have. Waits: how often the host waits for the device.',
        HEADER,
        found,
    )


def measured(row: Row, batch: int, bench: Bench) -> list[str]:
    """The cells of a row behind its first three."""
    case = row.make(row.config, batch, bench.device)
    try:
        runs = dict(plain=case.plain, parts=case.parts, method=case.method)
        if case.measuring is not None:
            runs['measuring'] = case.measuring
        case.method()  # the first step measures in any case
        timing = Bench(bench.rounds, bench.device, bench.clock)
        times = timing.interleaved(runs, settle=True)
        if case.measuring is not None:
            pairs = zip(times.seconds['method'], times.seconds['measuring'])
            n = case.interval
            times.seconds['method'] = [((n - 1) * rest + more) / n for rest, more in pairs]
        plain, parts, method = (seen(runs[name], bench) for name in ('plain', 'parts', 'method'))
        peaks = [peak_bytes(runs[name], bench) for name in ('plain', 'method')]
        mixed = in_mixed_precision(case.method, bench.device)
    finally:
        case.close()
    device = ''
    if parts.device_ms is not None:
        device = f'{method.device_ms:.1f} ({method.device_ms / parts.device_ms:.2f})'
    return [
        f'{times.ms("plain"):.0f}',
        f'{times.ratio("method", "plain"):.2f}',
        f'{times.ratio("method", "parts"):.3f}',
        times.spread('method', 'parts'),
        device,
        f'{plain.launches}, {parts.launches}, {method.launches - parts.launches}',
        '' if plain.waits is None else f'{plain.waits}, {method.waits - plain.waits}',
        mixed,
        f'{peaks[1] / peaks[0]:.2f}',
    ]


class Seen(NamedTuple):
    """What one step did: launches; on a GPU the time of all kernels, and waits of the host."""

    launches: int
    device_ms: Optional[float] = None
    waits: Optional[int] = None


def seen(run: Run, bench: Bench) -> Seen:
    """Look at one step."""
    if bench.device != 'cuda':
        with Launches() as launches:
            run()
        return Seen(launches.count)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        run()
        bench.wait()
    events = list(profiler.events())
    kernels = [e for e in events if e.device_type == DeviceType.CUDA]
    waits = sum(e.name in WAITS for e in events if e.device_type == DeviceType.CPU)
    busy = sum(e.time_range.elapsed_us() for e in kernels) / 1000
    return Seen(len(kernels), busy, waits - 1)  # the last one is ours


def in_mixed_precision(run: Run, device: str) -> str:
    """Whether a step runs under autocast, or the first line of why it does not."""
    dtype = torch.float16 if device == 'cuda' else torch.bfloat16
    name = str(dtype).partition('.')[2]
    try:
        with torch.autocast(device, dtype=dtype):
            run()
    except (TypeError, RuntimeError) as error:
        return f'{name}: {str(error).splitlines()[0]}'
    return name


def own_launches(row: Row, batch: int = 1) -> int:
    """How many operators a method's step has that its parts do not have."""
    case = row.make(row.config, batch, 'cpu')
    try:
        for run in (case.parts, case.method):
            run()
        method, parts = (seen(run, Bench()).launches for run in (case.method, case.parts))
    finally:
        case.close()
    return method - parts


def launches_table(bench: Bench, rows: Sequence[Row] = ROWS) -> str:
    """Own operators of every method: the same numbers on each run and machine."""
    return table(
        "Every method's own operators",
        'Operators that compute, forward and backward, which a step has beyond its parts; each is '
        'a launch on a GPU. Counted on the CPU.',
        ('method', 'config', 'own operators'),
        [(row.method, row.config, str(own_launches(row))) for row in rows],
    )
