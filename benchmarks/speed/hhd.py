"""What HHD's loss costs, against a loop over images and keypoints and against a step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmpose.registry import MODELS
from torch import Tensor

from .distiller import student_step
from .report import table
from .timing import Bench

BATCH, KEYPOINTS = 32, 17
SIZES = ((64, 48), (64, 64))  # height, width
RELEASED = dict(
    mode='released', loss_weight=0.5, crop_size=(8, 8), norm_student='l2', norm_teacher='l2',
    use_target_weight=False,
)  # fmt: skip
LOOP = 'released, loop over B and K'


def hhd_table(
    bench: Bench, sizes=SIZES, batch: int = BATCH, step_config: str = 'hhd_mobilenetv2_coco'
) -> str:
    """HHDLoss in both modes, forward and backward, on given maps."""
    step = bench.interleaved({'step': student_step(step_config, batch, bench.device)})
    losses = {
        LOOP: loop_released,
        'released': MODELS.build(dict(type='HHDLoss', **RELEASED)),
        'aligned': MODELS.build(dict(type='HHDLoss', beta=10.0)),
        'aligned, sub-pixel windows': MODELS.build(
            dict(type='HHDLoss', beta=10.0, window='bilinear')
        ),
    }
    rows = []
    for height, width in sizes:
        student, teacher = maps(batch, height, width, bench.device)
        candidates = {name: both_ways(loss, student, teacher) for name, loss in losses.items()}
        times = bench.interleaved(candidates)
        rows += [
            (
                f'{name}, {height} x {width}',
                f'{times.ms(name):.1f}',
                f'{times.ratio(name, LOOP):.3f}',
                times.spread(name, LOOP),
                f'{100 * times.ms(name) / step.ms("step"):.2f} %',
            )
            for name in candidates
        ]
    return table(
        "HHD's loss",
        f'Forward and backward to given maps: {batch} images, {KEYPOINTS} keypoints. The step is '
        f"{step_config}'s student without a teacher, {step.ms('step'):.0f} ms.",
        ('loss', 'ms', 'times the loop', 'lowest to highest', 'share of a step'),
        rows,
    )


def maps(batch: int, height: int, width: int, device: str = 'cpu') -> tuple[Tensor, Tensor]:
    """A student's raw maps and a teacher's heatmaps with bumps all over."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(batch, KEYPOINTS, 2, 1, 1, generator=generator)
    x, y = place[:, :, 0] * (width - 1), place[:, :, 1] * (height - 1)
    columns, rows = torch.arange(width), torch.arange(height)[:, None]
    teacher = torch.exp(-((columns - x).square() + (rows - y).square()) / 8)
    student = 0.3 * teacher + 0.05 * torch.randn(teacher.shape, generator=generator)
    return student.to(device).requires_grad_(), teacher.to(device)


def both_ways(loss: Callable, student: Tensor, teacher: Tensor) -> Callable[[], None]:
    """Forward and backward of a loss."""

    def run() -> None:
        student.grad = None
        loss(student, teacher).backward()

    return run


def loop_released(student: Tensor, teacher: Tensor) -> Tensor:
    """The released mode as one would first write it: a map at a time, an index at a time."""
    batch, keypoints, _, width = student.shape
    total = student.new_zeros(())
    for b in range(batch):
        for k in range(keypoints):
            s, t = student[b, k], teacher[b, k]
            y, x = divmod(int(t.argmax()), width)
            c = float(s.detach().exp().sum())
            sy, sx = (int(c / (c - 1) * (v - 1 / (2 * c))) for v in (y, x))
            difference = _window(s / s.norm(), sy, sx) - _window(t / t.norm(), y, x)
            total = total + difference.square().sum()
    return 0.5 * total / batch


def _window(one: Tensor, y: int, x: int, size: int = 8) -> Tensor:
    rows, columns = (_positions(c, size, n) for c, n in zip((y, x), one.shape))
    return one[rows][:, columns]


def _positions(centre: int, size: int, length: int) -> list[int]:
    """Positions of a window, those beyond the border taken from its other side."""
    at = [centre - size // 2 + i for i in range(size)]
    return [p if 0 <= p < length else at[size - 1 - i] for i, p in enumerate(at)]
