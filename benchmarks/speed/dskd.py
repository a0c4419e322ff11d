"""A training step with DSKD's guides against the plain step and their forward passes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from mmpose_kd.dskd.hook import DSKDHook

from .distiller import batch_of, forward, step
from .memory import peak_bytes
from .models import CONFIGS, total
from .report import table
from .timing import Bench

PLAIN = 'plain step'


def dskd_table(
    bench: Bench,
    names: Sequence[str] = ('dskd_mobilenetv2_mpii', 'dskd_hrnet-w32_coco'),
    batch: int = 8,
    guides: Sequence[int] = (1, 2, 4),
) -> str:
    """Steps with n guides, all of them kept."""
    tables = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            runner, hook = guided(name, folder, max(guides))
            images, samples = batch_of(runner.cfg, batch, bench.device)
            model = runner.model.to(bench.device).train()
            hook.bank.to(bench.device)
            candidates = {PLAIN: step(model, images, samples)}
            alone = forward(hook.bank.guides[0].teacher.model, images)
            candidates['guide forward'] = alone
            for n in guides:
                candidates[parts(n)] = _all(candidates[PLAIN], *[alone] * n)
                candidates[f'DSKD, {n} guides'] = with_guides(runner, hook, n, images, samples)
            times = bench.interleaved(candidates, settle=True)
            trained = [PLAIN, *(f'DSKD, {n} guides' for n in guides)]
            peaks = {one: peak_bytes(candidates[one], bench) / 2**20 for one in trained}
            weights = sum(
                v.nbytes for v in hook.bank.guides[0].teacher.model.state_dict().values()
            )
        rows = []
        for one in candidates:
            n = next((n for n in guides if one == f'DSKD, {n} guides'), None)
            rows.append(
                (
                    one,
                    f'{times.ms(one):.0f}',
                    f'{times.ratio(one, PLAIN):.3f}',
                    times.spread(one, PLAIN),
                    '' if n is None else f'{times.ratio(one, parts(n)):.3f}',
                    f'{peaks[one]:.0f}' if one in peaks else '',
                )
            )
        tables.append(
            table(
                f'DSKD: {name}',
                'Forward, losses, training accuracy and backward, without the optimiser. Batch '
                f'{batch}, random weights, no guide dropped. '
                "Memory: the step's activations and gradients at their peak, beside the weights; "
                f'those of a guide take {weights / 2**20:.0f} MiB.',
                (
                    'step',
                    'ms',
                    f'times {PLAIN}',
                    'lowest to highest',
                    'times its parts',
                    'peak, MiB',
                ),
                rows,
            )
        )
    return '\n'.join(tables)


def parts(n: int) -> str:
    """Name of the step that n guides cannot be below."""
    return f'{PLAIN} + {n} guide forwards'


def guided(name: str, folder: str, largest: int) -> tuple[Runner, DSKDHook]:
    """A runner of a shipped config that stands at its start, with a full bank of guides."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmpose')
    cfg.model.backbone.pop('init_cfg', None)
    settings = {k: v for k, v in cfg.custom_hooks[-1].items() if k not in ('type', 'teachers')}
    settings.update(guides='generations', num_guides=largest, keep_prob=1.0, log_interval=10**9)
    hook = DSKDHook(**settings)
    runner = Runner(
        model=cfg.model, work_dir=folder, cfg=cfg, default_scope='mmpose', log_level='WARNING'
    )
    hook.start(runner, length=cfg.train_cfg.max_epochs)
    for n in range(largest):
        hook.freeze(runner, f'copy_{n}')
    return runner, hook


def with_guides(
    runner: Runner, hook: DSKDHook, n: int, images: Tensor, samples: list
) -> Callable[[], None]:
    """A training step with n of the guides."""
    every = list(hook.bank.guides)

    def run() -> None:
        runner.model.zero_grad(set_to_none=True)
        hook.bank.guides = every[:n]
        with hook.guiding(runner.model):
            total(runner.model.loss(images, samples)).backward()

    return run


def _all(*runs: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for one in runs:
            one()

    return run
