"""Read back what MMEngine's loggers have written about a run: validations, learning curve.

Every start of a run has a folder of its own, ``<work_dir>/<time>/vis_data``, with
``scalars.json`` (all that anybody logs) and ``<time>.json`` (what the LoggerHook logs).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from mmengine.config import Config

#: what anybody logs, of each start of a run; only MMEngine's LocalVisBackend writes it
SCALARS = '*/vis_data/scalars.json'

#: metrics of which less is better, by the end of their name
LESS = ('EPE', 'NME', 'MPJPE', 'P-MPJPE', 'N-MPJPE', 'loss')


def read_records(file: Path) -> list[dict]:
    """The records of a file, a dict for each line; half a line, left by a killed run, is none."""
    records = []
    for line in file.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        records += [record] if isinstance(record, dict) else []
    return records


def newest_records(work_dir: Path) -> list[dict]:
    """All that was logged since the last start of a run.

    Raises:
        FileNotFoundError: Nothing was logged.
    """
    files = list(work_dir.glob(SCALARS))
    if not files:
        raise FileNotFoundError(
            f'{work_dir}: no record of a run (<time>/vis_data/scalars.json) in this folder'
        )
    return read_records(max(files))


def learning_curve(work_dir: Path) -> dict[int, dict[str, float]]:
    """The metrics of every validation by finished epochs; the newest where there are two."""
    curve: dict[int, dict[str, float]] = {}
    for record in logged_records(work_dir):
        if 'iter' in record or 'step' not in record:  # a record of the training
            continue
        numbers = {k: v for k, v in record.items() if isinstance(v, (int, float))}
        step = numbers.pop('step')
        curve[step] = {k: v for k, v in numbers.items() if k not in ('time', 'data_time')}
    return dict(sorted(curve.items()))


def logged_records(work_dir: Path) -> Iterator[dict]:
    """What the LoggerHook wrote in all starts of a run, of training and validation, in order.

    Read from its own files: other hooks write to ``scalars.json`` too.
    """
    for file in sorted(work_dir.glob('*/vis_data/*.json')):
        if file.stem == file.parents[1].name:
            yield from read_records(file)


def validation_record(work_dir: Path, epoch: int) -> dict:
    """Metrics of every branch in the validation after an epoch; the newest, if there are two.

    Args:
        work_dir: Folder of the run.
        epoch: Number of finished epochs, as in ``epoch_<n>.pth``.

    Returns:
        Metric names and values; empty if there is no such validation.
    """
    found: dict = {}
    for path in sorted(work_dir.glob(SCALARS)):
        for record in read_records(path):
            if record.get('step') == epoch and any(k.startswith('branch0/') for k in record):
                found = record
    return found


class BranchRecord(NamedTuple):
    """How good a branch was in a validation."""

    branch: int
    metric: str
    value: float


def branch_records(
    cfg: Config, folders: Sequence[Path], epoch: Optional[int], unit: str = 'epoch'
) -> list[BranchRecord]:
    """The branches in the validation after an epoch, the best one first.

    A checkpoint is written before its epoch is validated, so it cannot tell itself.

    Args:
        cfg: Config of the run. ``default_hooks.checkpoint.save_best`` names the metric, else the
            first one reported; its ``rule`` tells whether more is better.
        folders: Where the run may have written its records: the folder of the checkpoint
            (which ``CheckpointHook.out_dir`` may put elsewhere), of the config, the work dir.
        epoch: Number of finished epochs.
        unit: ``'iteration'`` if it is a number of iterations.

    Raises:
        ValueError: No record of the branches at that epoch.
    """
    folders = list(dict.fromkeys(folders))
    found = [] if epoch is None else [validation_record(folder, epoch) for folder in folders]
    record = next(filter(None, found), None)
    if record is None:
        also = nothing = ''
        if unit == 'iteration':
            also = ' and default_hooks.logger.log_metric_by_epoch=False'
        if not any(any(folder.glob(SCALARS)) for folder in folders):
            nothing = (
                f' (there is no {SCALARS}, which '
                "visualizer.vis_backends=[dict(type='LocalVisBackend')] writes, and no other "
                'backend)'
            )
        raise ValueError(
            f'--branch best: no validation of the branches after {unit} {epoch} is recorded in '
            f"{' or '.join(map(str, folders))}{nothing}; train with model.test_cfg.branch='all' "
            f'and BranchMetricsHook{also}, choose a checkpoint of a '
            f'validated {unit}, or give --branch N; a model without branches needs no --branch'
        )
    metric, greater = _chosen_metric(cfg, record)
    records = []
    for key, value in record.items():
        output, _, name = key.partition('/')
        number = isinstance(value, (int, float)) and not math.isnan(value)
        if name == metric and re.fullmatch(r'branch\d+', output) and number:
            records.append(BranchRecord(int(output[len('branch') :]), metric, value))
    if not records:
        raise ValueError(
            f'--branch best: {metric} is not a number for any branch; give --branch N'
        )
    records.sort(key=lambda one: (-one.value if greater else one.value, one.branch))
    return records


def _chosen_metric(cfg: Config, record: dict) -> tuple[str, bool]:
    """The metric that the run saves its best checkpoint by, and whether more of it is better."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    metrics = [key[len('branch0/') :] for key in record if key.startswith('branch0/')]
    names, rules = (
        value if isinstance(value, (list, tuple)) else [value]
        for value in (hook.get('save_best'), hook.get('rule'))
    )
    for i, name in enumerate(names):
        if name in metrics:
            rule = rules[i] if i < len(rules) else rules[-1]
            return name, rule == 'greater' if rule else not name.endswith(LESS)
    return metrics[0], not metrics[0].endswith(LESS)
