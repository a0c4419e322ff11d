"""The command ``python -m benchmarks.gain``: plain against distilled, trained alike."""

from __future__ import annotations

import argparse
import fcntl
import math
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config, DictAction

from .files import read_json, write_json, write_whole
from .plan import Comparison, Folders, all_runs, extend_plan, fingerprint, influential
from .prepare import SettingError, check_pair, load_config, subset
from .workers import Children, environment, run_all, tail

TIMING = 'timing.json'


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; 0 is success, 1 an error told in one line, 130 an interruption."""
    args = parser().parse_args(argv)
    out = Path(args.out)
    try:
        if not args.report_only:
            failed = work(args, out)
        from .report import write_report

        sys.stdout.write(write_report(out, args.yardstick))
        return 1 if not args.report_only and failed else 0
    except KeyboardInterrupt:
        sys.stderr.write('\ninterrupted; the same command goes on where this one stopped\n')
        return 130
    except SettingError as error:
        sys.stderr.write(f'benchmarks.gain: error: {error}\n')
        return 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog='python -m benchmarks.gain',
        description='Train plain and distilled models alike, evaluate the exported students as '
        'stock MMPose, and report the gain. Goes on where it was stopped; further calls with '
        'the same --out add to the report.',
    )
    p.add_argument('configs', nargs='*', metavar='CONFIG', help='plain config, distilled ones')
    p.add_argument('--out', required=True, metavar='DIR', help='folder for runs and report')
    p.add_argument(
        '--seeds', nargs='+', type=_whole, default=[0, 1, 2], metavar='S', help='(0 1 2)'
    )
    p.add_argument(
        '--train-persons', nargs='+', type=_persons, default=[None], metavar='N',
        help='sizes of the training set, nested: numbers, or all (all)',
    )  # fmt: skip
    p.add_argument(
        '--epochs', type=_positive, metavar='N',
        help="length of the trainings, schedules stretched to it (the configs' own)",
    )  # fmt: skip
    p.add_argument(
        '--equal-wall-time', action=argparse.BooleanOptionalAction, default=True,
        help='also train the plain model as long as the distilled one takes (yes)',
    )  # fmt: skip
    p.add_argument('--jobs', type=_positive, default=1, metavar='N', help='runs side by side (1)')
    p.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='K=V', help='changes to all configs'
    )
    p.add_argument('--report-only', action='store_true', help='train nothing, write the report')
    p.add_argument(
        '--yardstick', choices=['torso', 'bbox'],
        help='of PCK (torso if the data has shoulders and hips, else the longer side of the box)',
    )  # fmt: skip
    return p


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number from 0 up')
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number above 0')
    return int(text)


def _persons(text: str) -> Optional[int]:
    if text == 'all':
        return None
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of persons nor 'all'")
    return int(text)


def work(args: argparse.Namespace, out: Path) -> list:
    """Do the runs that the command line asks for; returns the failed ones."""
    configs = read_configs(args)
    plain, *distilled = configs
    out.mkdir(parents=True, exist_ok=True)
    with open(out / 'lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(
                f'another call is at work in {out}: wait for it, or give another --out'
            ) from None
        for persons in filter(None, args.train_persons):
            # all configs train on the same file
            subset(Config(configs[plain].to_dict()), persons, out / 'subsets')
        folders = Folders(out, configs, plain)
        ratios = {}
        if args.equal_wall_time:
            ratios = {name: time_ratio(out, configs, plain, name, args.jobs) for name in distilled}
        wanted = comparisons(args, configs, ratios)
        runs = all_runs(wanted)
        for run in runs:
            folders.check(run)
        extend_plan(out, wanted, 'python -m benchmarks.gain ' + shlex.join(sys.argv[1:]))
        return run_all(runs, out, folders.prepare, args.jobs, sys.stderr)


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """The configs by name of the method, the plain one first."""
    if len(args.configs) < 2:
        raise SettingError(
            f'found {len(args.configs)} configs: give the plain one, then one or more distilled'
        )
    for name, values in (('--seeds', args.seeds), ('--train-persons', args.train_persons)):
        if len(set(values)) < len(values):
            raise SettingError(f'{name} names one twice: give each once')
    configs: dict[str, Config] = {}
    for path in args.configs:
        name = Path(path).stem
        if name in configs:
            raise SettingError(f'{path}: two configs are called {name}: rename one')
        configs[name] = load_config(path, args.cfg_options)
        check_pair(next(iter(configs.values())), configs[name], path)
    return configs


def comparisons(args, configs: dict[str, Config], ratios: dict[str, float]) -> list[Comparison]:
    """Every distilled model against the plain one, at every size."""
    plain, *distilled = configs
    lengths = {name: cfg.train_cfg.max_epochs for name, cfg in configs.items()}
    if args.epochs is None and len(set(lengths.values())) > 1:
        raise SettingError(f'the configs train for different epochs, {lengths}: give --epochs')
    epochs = args.epochs or lengths[plain]
    found = []
    for persons in args.train_persons:
        for name in distilled:
            longer = math.ceil(round(epochs * ratios.get(name, 1), 6))
            longer = longer if longer > epochs else None
            found.append(Comparison(plain, name, persons, epochs, tuple(args.seeds), longer))
    return found


def time_ratio(out: Path, configs: dict[str, Config], plain: str, name: str, jobs: int) -> float:
    """Time of a training step of the distilled model, in steps of the plain one.

    Kept in ``timing.json``; measured again when the configs, the number of jobs or the device
    are others.
    """
    key = f'{plain} {name}'
    known = read_json(out / TIMING, {})
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
                'benchmarks.gain.timing', str(folder), str(result), jobs=jobs, log=log
            )
            if child.wait() or not result.is_file():
                raise SettingError(f'the timing failed, see {log}:\n{tail(log)}')
        known[key] = {**read_json(result), 'fingerprint': measured}
        write_json(out / TIMING, known)
    sys.stderr.write(f'a training step of {name} takes {known[key]["ratio"]:.2f} plain ones\n')
    return known[key]['ratio']


def device() -> str:
    """What trainings run on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores'


if __name__ == '__main__':
    sys.exit(main())
