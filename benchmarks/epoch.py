"""The command ``python -m benchmarks.epoch``: whole epochs with data, against plain training.

Pictures are read, cropped and made labels of, the optimiser steps, the logger logs: all that an
epoch of MMPose's runner does but the validation. Small models of 96 x 96 pictures, whose steps
are so short that data counts; teachers of distillers are cached, with augmentations that repeat.
Every method runs in turns with the plain model under it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpose_kd import wrap_config
from mmpose_kd.demo.drawn_people import draw_dataset

from .speed.models import CONFIGS, build
from .speed.report import machine, table
from .speed.timing import CLOCKS, Bench

SIZES = dict(input_size=(96, 96), heatmap_size=(24, 24), in_featuremap_size=(6, 6))

#: of each method the demo's config that it is made of, and how its teacher is given
METHODS = {
    'okdhp': 'heatmap_res18-small',
    'pkd': 'heatmap_res18-small',
    'dskd': 'heatmap_res18-small',
    'hhd': 'integral_res18-small',
    'ocd': 'deeppose_res18-small',
    'tcd': 'deeppose_res18-small',
}
TEACHERS = dict(
    pkd='teacher_res18-half', hhd='teacher_res18-half', tcd='teacher_res18-half',
    dskd='heatmap_res18-small',
)  # fmt: skip

VARIANTS = 1  # of each picture: from the second epoch on the cache has all


class Clock(Hook):
    """Seconds of each epoch of training, by ``now``."""

    def __init__(self, now: Callable[[], float]):
        self.now, self.seconds = now, []

    def before_train_epoch(self, runner: Runner) -> None:
        """Start."""
        self._start = self.now()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop, when the device has done all."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(self.now() - self._start)


class Result(NamedTuple):
    """Seconds an epoch, plain and with a method, in turns; the first epoch is left out."""

    plain: list[float]
    distilled: list[float]

    @property
    def ratios(self) -> list[float]:
        """Of the distilled epoch to the plain one beside it."""
        return [a / b for a, b in zip(self.distilled, self.plain)]


def sized(node):
    """A config of the demo for pictures of 96 x 96."""
    if isinstance(node, dict):
        return {k: SIZES.get(k) or sized(v) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(sized(v) for v in node)
    return node


def plain_file(name: str, data: Path, folder: Path, workers: int) -> Path:
    """A demo config for these data, without validation, as a file."""
    cfg = sized(Config.fromfile(CONFIGS / 'demo' / f'{name}.py').to_dict())
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg.pop(key, None)
        cfg.pop(key.replace('val_', 'test_'), None)
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=3)
    cfg['train_dataloader'].update(num_workers=workers, persistent_workers=workers > 0)
    cfg['train_dataloader']['dataset']['data_root'] = str(data)
    cfg['default_hooks']['checkpoint'] = None
    path = folder / f'{name}.py'
    Config(cfg).dump(path)
    return path


def teacher_of(name: str, data: Path, folder: Path) -> dict:
    """An untrained teacher: what it costs does not depend on its weights."""
    file = plain_file(name, data, folder, workers=0)
    weights = folder / f'{name}.pth'
    torch.save({'state_dict': build(Config.fromfile(file).model).state_dict()}, weights)
    return dict(config=str(file), checkpoint=str(weights), check_labels=False)


def cached(cfg: Config, folder: Path) -> Config:
    """A distiller's config with augmentations that repeat, and its teachers' outputs on disk."""
    steps = cfg.train_dataloader.dataset.pipeline
    random = [i for i, step in enumerate(steps) if step.type in ('RandomFlip', 'TopdownAffine')]
    first, last = random[0], random[-1]
    fixed = dict(type='FixedAugmentations', transforms=steps[first : last + 1], variants=VARIANTS)
    packed = {**steps[-1], 'type': 'PackPoseViews'}
    cfg.train_dataloader.dataset.pipeline = [*steps[:first], fixed, *steps[last + 1 : -1], packed]
    hooks = [*cfg.get('custom_hooks', []), dict(type='TeacherCacheHook', path=str(folder))]
    cfg.custom_hooks = [h for h in hooks if h['type'] != 'TeacherMetricsHook']
    return cfg


def epochs(cfg: Config, folder: Path, clock: str = 'wall') -> list[float]:
    """Seconds of the second and third epoch of a run."""
    cfg.work_dir = str(folder)
    cfg.log_level = 'ERROR'
    cfg.experiment_name = cfg.visualizer.name = str(time.perf_counter_ns())
    runner, hook = Runner.from_cfg(cfg), Clock(CLOCKS[clock])
    runner.register_hook(hook, priority='VERY_LOW')
    runner.train()
    return hook.seconds[1:]


def measured(method: str, data: Path, workers: int, rounds: int, clock: str = 'wall') -> Result:
    """Runs in turns, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = plain_file(METHODS[method], data, folder, workers)
        given = {}
        if method in TEACHERS:
            given['teacher'] = teacher_of(TEACHERS[method], data, folder)
        out = folder / f'{method}_wrapped.py'
        wrap_config(plain, method, out, trial=False, **given)
        found = Result([], [])
        for n in range(rounds):
            found.plain.extend(epochs(Config.fromfile(plain), folder / f'plain{n}', clock))
            cfg = Config.fromfile(out)
            if cfg.model.type == 'PoseDistiller':
                cfg = cached(cfg, folder / 'cache')
            found.distilled.extend(epochs(cfg, folder / f'distilled{n}', clock))
        return found


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Measure, and print the table."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.epoch', description=__doc__)
    p.add_argument('--persons', type=int, default=256, help='drawn persons in an epoch (256)')
    p.add_argument('--workers', type=int, default=0, help="the data loader's (0)")
    p.add_argument('--rounds', type=int, default=2, help='runs of each, of two epochs (2)')
    p.add_argument('--only', nargs='+', choices=METHODS, help='methods (all)')
    p.add_argument(
        '--clock',
        choices=CLOCKS,
        default='wall',
        help="cpu: this process's CPU time, which leaves out what workers do (wall)",
    )
    args = p.parse_args(argv)
    for name in ('persons', 'rounds'):
        if getattr(args, name) < 1:
            p.error(f'--{name} is {getattr(args, name)}; at least 1 is needed')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    rows = []
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, 'data')
        draw_dataset(data, train=args.persons, val=2, seed=0, progress=False)
        for method in args.only or METHODS:
            found = measured(method, data, args.workers, args.rounds, args.clock)
            per_sample = 1000 * statistics.median(found.plain) / args.persons
            rows.append(
                (
                    method,
                    METHODS[method],
                    f'{statistics.median(found.plain):.2f}',
                    f'{per_sample:.2f}',
                    f'{statistics.median(found.ratios):.2f}',
                    f'{min(found.ratios):.2f} to {max(found.ratios):.2f}',
                )
            )
    title = 'A whole epoch at 96 x 96'
    notes = (
        f'{args.persons} drawn persons, {args.workers} workers, a warm teacher cache where there '
        f'is a teacher with entries; {machine(Bench(2 * args.rounds, device, args.clock)).strip()}'
    )
    header = ('method', 'plain model', 'plain, s', 'ms a person', 'times plain', 'lowest, highest')
    print(table(title, notes, header, rows))


if __name__ == '__main__':
    main()
