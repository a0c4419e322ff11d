"""How much longer a training step of one model takes than that of another.

Started by the harness in a process of its own, ``python -m mmpose_kd.gain.timing FOLDER
OUT.json``. FOLDER holds the configs of two methods, ``plain.py`` and ``distilled.py``. Real
trainings of both take turns: data loading, forward, backward, optimiser and hooks.
"""

from __future__ import annotations

import copy
import inspect
import math
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..core.dry_run import without_validation
from ..core.gradient_balance import GradientBalance
from ..core.recipe import training_pipelines, type_name
from ..core.schedule import Schedule
from ..distiller import FixedAugmentations
from ..dskd import DSKDHook
from .fair import SeedEpoch, fair
from .files import write_json

WARM_UP = 3  # iterations
ROUNDS = 5  # turns of each model
SECONDS = 4.0  # measured in a turn
ITERATIONS = 6  # measured at least in a turn


class Stop(Exception):
    """Enough was measured."""


class MiddleOfRun(Hook):
    """Makes the first steps of a training, which are measured, cost what others do.

    A student that guides itself gets as many guides as it has in the mean over a run, rounded
    up: at first there are none. A loss whose schedule starts later, or ends, is at work. A
    gradient balance measures at the first step, then once in the shortest time that is taken, as
    it does after its warm-up.

    Args:
        check (bool): Compare the schedules with the run's length first, as the run itself does.
    """

    def __init__(self, check: bool = False):
        self.check = check

    def before_train(self, runner) -> None:
        """After the hooks are ready."""
        self.first = True
        for owner in (*runner.model.modules(), *runner.hooks):
            for name, value in vars(owner).items():
                if isinstance(value, Schedule):
                    if self.check and not isinstance(owner, DSKDHook):  # which has done so
                        value.now()
                    setattr(owner, name, Schedule())
        for hook in runner.hooks:
            if isinstance(hook, DSKDHook) and hook.distils and hook.plan.mode:
                count = hook.plan.num_guides
                if hook.plan.mode == 'generations':
                    count = math.ceil(hook.plan.mean_guides())
                for number in range(count):
                    hook.freeze(runner, f'copy_{number}')

    def after_train_iter(self, runner, *_, **__) -> None:
        """Once the balances have measured at the first step."""
        for module in runner.model.modules() if self.first else ():
            if isinstance(module, GradientBalance):
                module.settle(WARM_UP - 1)
        self.first = False


class Clock(Hook):
    """Measures the mean time of an iteration, from the end of one to the end of another.

    Args:
        most: Iterations to measure at most.
    """

    def __init__(self, most: Optional[int] = None):
        self.most = most
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
        if self.iterations == self.most:
            raise Stop
        if self.iterations >= ITERATIONS and self.seconds >= SECONDS:
            raise Stop

    @property
    def mean(self) -> float:
        """Seconds of an iteration."""
        return self.seconds / self.iterations


def seconds_per_iteration(config: Path, work_dir: str) -> float:
    """Of a step in the mean over a run of the config's length.

    With a cache of the teachers the same steps are taken twice, first with an empty one.
    """
    cfg = fair(Config.fromfile(config), seed=0)
    caches = [h for h in cfg.get('custom_hooks') or [] if type_name(h) == 'TeacherCacheHook']
    if not caches:
        return train_for_a_while(cfg, work_dir).mean
    empty = share_without_cache(cfg)
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        for number, hook in enumerate(caches):
            hook.path = str(Path(folder, str(number)))
        first = train_for_a_while(copy.deepcopy(cfg), work_dir)
        again = train_for_a_while(cfg, work_dir, first.iterations)
    return empty * first.mean + (1 - empty) * again.mean


def share_without_cache(cfg: Config) -> float:
    """Share of a run's pictures that its teachers see, expected: later they are in the cache."""
    steps = [step for pipeline in training_pipelines(cfg) for step in pipeline]
    fixed = [step for step in steps if type_name(step) == 'FixedAugmentations']
    default = inspect.signature(FixedAugmentations).parameters['variants'].default
    variants = max((step.get('variants', default) for step in fixed), default=1)
    epochs = cfg.train_cfg.max_epochs
    return variants * (1 - (1 - 1 / variants) ** epochs) / epochs


def train_for_a_while(cfg: Config, work_dir: str, most: Optional[int] = None) -> Clock:
    """Train for a few seconds.

    Args:
        cfg: With the data order of a run; it is changed.
        work_dir: A folder for what MMEngine writes.
        most: Iterations to measure at most.
    """
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
    clock = Clock(most)
    runner.register_hook(SeedEpoch(0), priority='VERY_HIGH')
    runner.register_hook(MiddleOfRun(), priority='VERY_LOW')
    runner.register_hook(clock, priority='LOWEST')
    try:
        runner.train()
    except Stop:
        return clock
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
