"""A training step with DSKD's guides against the plain step and their forward passes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

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
        guided = Guided(name, max(guides), batch, bench.device)
        candidates = {PLAIN: guided.plain, 'guide forward': guided.guide}
        for n in guides:
            candidates[parts(n)] = guided.parts(n)
            candidates[f'DSKD, {n} guides'] = guided.step(n)
        times = bench.interleaved(candidates, settle=True)
        trained = [PLAIN, *(f'DSKD, {n} guides' for n in guides)]
        peaks = {one: peak_bytes(candidates[one], bench) / 2**20 for one in trained}
        weights = sum(v.nbytes for v in guided.every[0].teacher.model.state_dict().values())
        guided.close()
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


class Guided:
    """A shipped config at its start, with a full bank of guides, and its steps.

    Args:
        name: Of the config.
        largest: How many guides there are.
        batch: Images in a batch.
        device: Where it computes.

    Attributes:
        plain: A step without guides.
        guide: The forward pass of one, in its own precision.
        every: The guides.
    """

    def __init__(self, name: str, largest: int, batch: int, device: str):
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        init_default_scope('mmpose')
        cfg.model.backbone.pop('init_cfg', None)
        settings = {k: v for k, v in cfg.custom_hooks[-1].items() if k not in ('type', 'teachers')}
        settings.update(
            guides='generations', num_guides=largest, keep_prob=1.0, log_interval=10**9
        )
        self.hook = DSKDHook(**settings)
        self._folder = tempfile.TemporaryDirectory()
        self._runner = Runner(
            model=cfg.model,
            work_dir=self._folder.name,
            cfg=cfg,
            default_scope='mmpose',
            log_level='WARNING',
        )
        self.hook.start(self._runner, length=cfg.train_cfg.max_epochs)
        for n in range(largest):
            self.hook.freeze(self._runner, f'copy_{n}')
        self.every = list(self.hook.bank.guides)
        self._model = self._runner.model.to(device).train()
        self.hook.bank.to(device)
        self._batch = batch_of(cfg, batch, device)
        self.plain = step(self._model, *self._batch)
        self.guide = forward(self.every[0].teacher, self._batch[0])

    def parts(self, n: int) -> Callable[[], None]:
        """The plain step and n forward passes."""
        return _all(self.plain, *[self.guide] * n)

    def step(self, n: int) -> Callable[[], None]:
        """A training step with n of the guides."""

        def run() -> None:
            self._model.zero_grad(set_to_none=True)
            self.hook.bank.guides = self.every[:n]
            with self.hook.guiding(self._model):
                total(self._model.loss(*self._batch)).backward()

        return run

    def close(self) -> None:
        """Remove the run's folder."""
        self._folder.cleanup()


def _all(*runs: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for one in runs:
            one()

    return run
