"""PCK with the torso diagonal as the yardstick, for data sets in CrowdPose's joint order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpose.registry import METRICS

from .pck import hits_and_counts, torso_lengths


@METRICS.register_module()
class TorsoPCK(BaseMetric):
    """Share of labelled joints that are nearer than ``thr`` torso lengths to the label.

    The torso is the distance between two given joints. MMPose's ``PCKAccuracy`` with
    ``norm_item='torso'`` measures joints 4 and 5, which are wrists in CrowdPose's order.
    Persons with an unlabelled torso joint are left out.

    Args:
        thr (Sequence[float]): Thresholds, in torso lengths.
        torso (tuple[int, int]): The two joints; 0 to 7 is left shoulder to right hip.
    """

    default_prefix = 'pck'

    def __init__(self, thr: Sequence[float] = (0.2, 0.1), torso=(0, 7), **kwargs):
        super().__init__(**kwargs)
        self.thr = tuple(thr)
        self.torso = torso

    def process(self, data_batch, data_samples) -> None:
        """Collect hits and counts of labelled joints."""
        for sample in data_samples:
            gt = sample['gt_instances']
            visible = np.asarray(gt['keypoints_visible'])[:1] > 0  # (1, K)
            target = np.asarray(gt['keypoints'])[:1]  # (1, K, 2), image pixels
            found = np.asarray(sample['pred_instances']['keypoints'])[:1]
            length = torso_lengths(target, visible, self.torso)
            scored = [hits_and_counts(found, target, visible, length, thr) for thr in self.thr]
            self.results.append(([int(hits[0]) for hits, _ in scored], int(scored[0][1][0])))

    def compute_metrics(self, results: list) -> dict:
        """``PCK@<thr>`` in percent."""
        total = sum(count for _, count in results)
        return {
            f'PCK@{thr}': 100.0 * sum(hits[i] for hits, _ in results) / max(total, 1)
            for i, thr in enumerate(self.thr)
        }
