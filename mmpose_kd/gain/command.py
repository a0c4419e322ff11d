"""What ``mmpose-kd gain`` does: plain models against distilled ones, trained alike."""

from __future__ import annotations

import math
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config

from ..compat import mmpose_needs_us
from ..core.sole_call import sole_call
from .configs import SettingError, check_pair, load_config
from .files import TIMING, read_json, read_timing, write_json, write_whole
from .plan import (
    Comparison,
    Folders,
    Run,
    all_runs,
    as_planned,
    extend_plan,
    fingerprint,
    influential,
)
from .report import write_report
from .subset import subset
from .workers import Children, environment, run_all, tail


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes:
        configs: Paths of the plain config and the distilled ones.
        out: Folder for runs and report.
        seeds: One training of every model each.
        train_persons: Sizes of the training set, None for all of it.
        epochs: Length of the trainings, None for the configs' own.
        equal_wall_time: Whether the plain model also trains as long as the distilled one takes.
        jobs: Runs side by side.
        cfg_options: Changes to all configs, by their keys.
        report_only: Train nothing.
        yardstick: Of PCK: ``'torso'``, ``'bbox'``, or None for the torso where there is one.
    """

    configs: tuple[str, ...]
    out: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    train_persons: tuple[Optional[int], ...] = (None,)
    epochs: Optional[int] = None
    equal_wall_time: bool = True
    jobs: int = 1
    cfg_options: Optional[dict] = None
    report_only: bool = False
    yardstick: Optional[str] = None


def compare(settings: Settings, command: str) -> int:
    """Do the runs that are missing, and write the report.

    Configs' relative paths, and modules that their ``custom_imports`` name, are looked for in
    the current folder.

    Args:
        settings: What is asked for.
        command: The command line, for the report.

    Returns:
        1 if runs failed, else 0.

    Raises:
        SettingError: Something given does not work.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    failed = [] if settings.report_only else work(settings, command)
    sys.stdout.write(write_report(settings.out, settings.yardstick))
    return 1 if failed else 0


def work(settings: Settings, command: str) -> list[Run]:
    """Do the runs that are asked for and not done; returns the failed ones."""
    check_stock_mmpose()
    configs, out = read_configs(settings), settings.out
    plain, *distilled = configs
    with sole_call(out):
        for persons in filter(None, settings.train_persons):
            # all configs train on the same file
            subset(Config(configs[plain].to_dict()), persons, out / 'subsets')
        folders = Folders(out, configs, plain)
        measured = distilled if settings.equal_wall_time else []
        ratios = {name: time_ratio(out, configs, plain, name, settings.jobs) for name in measured}
        wanted = as_planned(out, comparisons(settings, configs, ratios))
        runs = all_runs(wanted)
        for run in runs:
            folders.check(run)
        extend_plan(out, wanted, command)
        return run_all(runs, out, folders.prepare, settings.jobs)


def check_stock_mmpose() -> None:
    """Students are tested in MMPose without this package: it has to work there.

    Raises:
        SettingError: mmcv is a lite build, which MMPose can be imported with only through the
            stand-in that this package provides.
    """
    if mmpose_needs_us():
        raise SettingError(
            'students are tested without mmpose_kd, and MMPose does not work here without it: '
            'mmcv is a lite build; run once: mmpose-kd setup-mmcv'
        )


def read_configs(settings: Settings) -> dict[str, Config]:
    """The configs by name of the method, the plain one first."""
    if len(settings.configs) < 2:
        raise SettingError(
            f'found {len(settings.configs)} configs: '
            'give the plain one, then one or more distilled'
        )
    lists = {'--seeds': settings.seeds, '--train-persons': settings.train_persons}
    for name, values in lists.items():
        if len(set(values)) < len(values):
            raise SettingError(f'{name} names one twice: give each once')
    configs: dict[str, Config] = {}
    for path in settings.configs:
        name = Path(path).stem
        if name in configs:
            raise SettingError(f'{path}: two configs are called {name}: rename one')
        configs[name] = load_config(path, settings.cfg_options)
        check_pair(next(iter(configs.values())), configs[name], path)
    return configs


def comparisons(
    settings: Settings, configs: dict[str, Config], ratios: dict[str, float]
) -> list[Comparison]:
    """Every distilled model against the plain one, at every size."""
    plain, *distilled = configs
    lengths = {name: cfg.train_cfg.max_epochs for name, cfg in configs.items()}
    if settings.epochs is None and len(set(lengths.values())) > 1:
        raise SettingError(f'the configs train for different epochs, {lengths}: give --epochs')
    epochs = settings.epochs or lengths[plain]
    found = []
    for persons in settings.train_persons:
        for name in distilled:
            longer = math.ceil(round(epochs * ratios.get(name, 1), 6))
            longer = longer if longer > epochs else None
            found.append(Comparison(plain, name, persons, epochs, tuple(settings.seeds), longer))
    return found


def time_ratio(out: Path, configs: dict[str, Config], plain: str, name: str, jobs: int) -> float:
    """Time of a training step of the distilled model, in steps of the plain one.

    Kept in ``timing.json``; measured again when the configs, the number of jobs or the device
    are others.
    """
    key = f'{plain} {name}'
    known = read_timing(out)
    measured = fingerprint(
        {
            'configs': [influential(configs[method]) for method in (plain, name)],
            'jobs': jobs,
            'threads': environment(jobs)['OMP_NUM_THREADS'],
            'device': device(),
        }
    )
    if known.get(key, {}).get('fingerprint') != measured:
        sys.stderr.write(f'measuring a training step of {plain} and {name}, about a minute\n')
        folder = out / 'timing'
        for role, method in (('plain', plain), ('distilled', name)):
            write_whole(folder / f'{role}.py', configs[method].dump)
        with Children() as children:
            result, log = folder / 'result.json', folder / 'log.txt'
            result.unlink(missing_ok=True)
            child = children.start(
                'mmpose_kd.gain.timing', str(folder), str(result), jobs=jobs, log=log
            )
            if child.wait() or not result.is_file():
                sys.stderr.write(f'{tail(log)}\n')
                raise SettingError(f'the timing of {plain} and {name} failed, see {log}')
        known[key] = {**read_json(result), 'fingerprint': measured}
        write_json(out / TIMING, known)
    sys.stderr.write(f'a training step of {name} takes {known[key]["ratio"]:.2f} plain ones\n')
    return known[key]['ratio']


def device() -> str:
    """What trainings run on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores'
