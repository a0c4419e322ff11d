"""How much longer a training step of one model takes than that of another.

Started by the harness in a process of its own, ``python -m mmpose_kd.gain.timing FOLDER
OUT.json``. FOLDER holds the configs of two methods, ``plain.py`` and ``distilled.py``. Real
trainings of both take turns: data loading, forward, backward, optimiser and hooks.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..core.dry_run import without_validation
from ..dskd import DSKDHook
from .fair import SeedEpoch, fair
from .files import write_json

WARM_UP = 3  # iterations
ROUNDS = 5  # turns of each model
SECONDS = 4.0  # measured in a turn
ITERATIONS = 6  # measured at least in a turn


class Stop(Exception):
    """Enough was measured."""


class FullBank(Hook):
    """Gives a student that guides itself as many guides as it has in the mean over a run.

    The first epochs, which are measured, have none yet. Rounded up.
    """

    def before_train(self, runner) -> None:
        """After the hooks are ready."""
        for hook in runner.hooks:
            if isinstance(hook, DSKDHook) and hook.distils and hook.plan.mode:
                count = hook.plan.num_guides
                if hook.plan.mode == 'generations':
                    count = math.ceil(hook.plan.mean_guides())
                for number in range(count):
                    hook.freeze(runner, f'copy_{number}')


class Clock(Hook):
    """Measures the mean time of an iteration, from the end of one to the end of another."""

    def __init__(self):
        self.iterations = -WARM_UP
        self.seconds = 0.0

    def after_train_iter(self, runner, *_, **__) -> None:
        """Count an iteration; ends the training when enough was measured."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.iterations += 1
        if self.iterations <= 0:
            self.start = time.perf_counter()
            return
        self.seconds = time.perf_counter() - self.start
        if self.iterations >= ITERATIONS and self.seconds >= SECONDS:
            raise Stop


def seconds_per_iteration(config: Path, work_dir: str) -> float:
    """Train for a few seconds."""
    cfg = fair(Config.fromfile(config), seed=0)
    without_validation(cfg)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg[key] = None
    cfg.work_dir, cfg.log_level = work_dir, 'WARNING'
    cfg.load_from, cfg.resume = None, False
    cfg.experiment_name = uuid.uuid4().hex
    checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'checkpoint': checkpoint}
    cfg.train_cfg.max_epochs = 10**6
    runner = Runner.from_cfg(cfg)
    clock = Clock()
    runner.register_hook(SeedEpoch(0), priority='VERY_HIGH')
    runner.register_hook(FullBank(), priority='VERY_LOW')
    runner.register_hook(clock, priority='LOWEST')
    try:
        runner.train()
    except Stop:
        return clock.seconds / clock.iterations
    raise RuntimeError('the training ended before it was measured')


def measure(folder: Path) -> dict:
    """Times of both, and the median ratio of neighbouring turns."""
    turns = []
    with tempfile.TemporaryDirectory() as work_dir:
        for _ in range(ROUNDS):
            turns.append(
                [
                    seconds_per_iteration(folder / f'{name}.py', work_dir)
                    for name in ('plain', 'distilled')
                ]
            )
    return {
        'ratio': statistics.median(distilled / plain for plain, distilled in turns),
        'turns': turns,
        'machine': {
            'cpu': platform.processor() or platform.machine(),
            'cores': os.cpu_count(),
            'threads': torch.get_num_threads(),
            'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            'torch': torch.__version__,
            'system': platform.platform(),
        },
    }


if __name__ == '__main__':
    write_json(Path(sys.argv[2]), measure(Path(sys.argv[1])))
