"""Read back what a run has written about its validations."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mmengine.config import Config

#: metrics of which less is better, by the end of their name
LESS = ('EPE', 'NME', 'MPJPE', 'P-MPJPE', 'N-MPJPE', 'loss')


def validation_record(work_dir: Path, epoch: int) -> dict:
    """Metrics of the validation after an epoch; the newest, if a run was resumed.

    Args:
        work_dir: Folder of the run, with ``<time>/vis_data/scalars.json`` below it.
        epoch: Number of finished epochs, as in ``epoch_<n>.pth``.

    Returns:
        Metric names and values; empty if there is no such validation.
    """
    found: dict = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # a killed run can leave half a line
                continue
            if record.get('step') == epoch and any(k.startswith('branch0/') for k in record):
                found = record
    return found


def best_branch(cfg: Config, work_dir: Path, epoch: int) -> int:
    """The branch that was best in the validation after an epoch.

    A checkpoint is written before its epoch is validated, so it cannot tell itself.

    Args:
        cfg: Config of the run. ``default_hooks.checkpoint.save_best`` names the metric, else the
            first one reported; its ``rule`` tells whether more is better.
        work_dir: Folder of the run.
        epoch: Number of finished epochs.

    Raises:
        ValueError: No record of the branches at that epoch.
    """
    record = validation_record(work_dir, epoch)
    if not record:
        raise ValueError(
            f'--branch best: no validation of the branches after epoch {epoch} is recorded in '
            f"{work_dir}; train with model.test_cfg.branch='all' and BranchMetricsHook, choose a "
            'checkpoint of a validated epoch, or give --branch N'
        )
    metric, greater = _chosen_metric(cfg, record)
    scores = {}
    for key, value in record.items():
        output, _, name = key.partition('/')
        if name == metric and output.startswith('branch') and not math.isnan(value):
            scores[int(output[len('branch') :])] = value if greater else -value
    if not scores:
        raise ValueError(
            f'--branch best: {metric} is not a number for any branch; give --branch N'
        )
    return max(sorted(scores), key=scores.get)


def _chosen_metric(cfg: Config, record: dict) -> tuple[str, bool]:
    """The metric that the run saves its best checkpoint by, and whether more of it is better."""
    hook = cfg.get('default_hooks', {}).get('checkpoint', {})
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
