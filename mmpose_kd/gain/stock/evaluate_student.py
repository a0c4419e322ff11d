"""Test an exported student in stock MMPose: ``python evaluate_student.py STUDENT FOLDER``.

In this process mmpose_kd cannot be imported, unless the student keeps a class of it, such as
UnbiasedIntegralHead, and so names the package in its ``custom_imports``. Reads ``student.py`` and
``student.pth`` in STUDENT, tests on the config's ``test_dataloader`` with its ``test_evaluator``,
and writes ``persons.npz`` (a row for each person) and ``metrics.json`` to FOLDER.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpose.registry import MODELS


class Persons(BaseMetric):
    """Keeps each person's prediction and label; reports nothing itself."""

    default_prefix = 'persons'

    def process(self, data_batch, data_samples) -> None:
        """Collect one row per person."""
        for sample in data_samples:
            label, found = sample['gt_instances'], sample['pred_instances']
            row = {
                'keypoints': found['keypoints'],
                'scores': found['keypoint_scores'],
                'target': label['keypoints'],
                'visible': label['keypoints_visible'],
                'boxes': label['bboxes'],
            }
            row = {key: np.asarray(value)[0] for key, value in row.items()}
            if row['visible'].ndim == 2:  # (K, 2): visible, and its weight
                row['visible'] = row['visible'][:, 0]
            self.results.append({**row, 'ids': sample['id']})

    def compute_metrics(self, results: list) -> dict:
        """Stack the rows in the order of the annotations' numbers."""
        results = sorted(results, key=lambda row: row['ids'])
        arrays = {key: np.stack([row[key] for row in results]) for key in results[0]}
        self.arrays = {**arrays, 'visible': arrays['visible'] > 0}
        return {}


def evaluate(student: Path, folder: Path) -> None:
    """Test a student, and write what it predicted and what that scores.

    ``persons.npz`` holds, for N persons with K keypoints in image pixels: ``keypoints``
    (N, K, 2), ``scores`` (N, K), ``target`` (N, K, 2), ``visible`` (N, K), ``boxes`` (N, 4; left,
    top, right, bottom), ``ids`` (N,) of the annotations, and the keypoints' ``names`` (K,).

    Args:
        student: Folder with ``student.py`` and ``student.pth``.
        folder: Where to write.
    """
    cfg = Config.fromfile(student / 'student.py')
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    model = MODELS.build(copy.deepcopy(cfg.model))
    state = torch.load(student / 'student.pth', map_location='cpu', weights_only=True)
    model.load_state_dict(state['state_dict'], strict=True)
    evaluators = cfg.test_evaluator
    evaluators = list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]
    persons = Persons()
    with tempfile.TemporaryDirectory() as work_dir:
        runner = Runner(
            model=model,
            work_dir=work_dir,
            test_dataloader=cfg.test_dataloader,
            test_evaluator=[persons, *evaluators],
            test_cfg=cfg.get('test_cfg') or {},
            default_scope=cfg.get('default_scope', 'mmpose'),
            log_level='WARNING',
        )
        found = {key: float(value) for key, value in runner.test().items()}
        names = _names(runner.test_dataloader.dataset.metainfo)
    metrics = {'all': found, 'oks_ap': _oks_ap(evaluators, found)}
    (folder / 'metrics.json').write_text(json.dumps(metrics, indent=1) + '\n', encoding='utf-8')
    np.savez_compressed(folder / 'persons.npz', **persons.arrays, names=np.array(names))


def _names(metainfo: dict) -> list[str]:
    names = metainfo['keypoint_id2name']
    return [names[i] for i in range(len(names))]


def _oks_ap(evaluators: list, found: dict) -> Optional[float]:
    """AP of the config's CocoMetric, None if it has none."""
    for one in evaluators:
        if str(one.get('type', '')).rpartition('.')[2] == 'CocoMetric':
            return found.get(f'{one.get("prefix") or "coco"}/AP')
    return None


def needs_package(student: Path) -> bool:
    """Whether the student's config asks for mmpose_kd: the export leaves that where it must."""
    cfg = Config.fromfile(student / 'student.py', import_custom_modules=False)
    return 'mmpose_kd' in (cfg.get('custom_imports') or {}).get('imports', [])


if __name__ == '__main__':
    if not needs_package(Path(sys.argv[1])):
        sys.modules['mmpose_kd'] = None  # an import of it fails from here on
    sys.path.append(os.getcwd())  # where the config's own modules (custom_imports) may lie
    evaluate(Path(sys.argv[1]), Path(sys.argv[2]))
