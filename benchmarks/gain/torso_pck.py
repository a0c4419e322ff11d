"""PCK with the torso diagonal as the yardstick, for data sets in CrowdPose's joint order.

It stands outside mmpose_kd and imports nothing of it: the configs of exported students name this
metric too, and students are tested without the package.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpose.registry import METRICS


@METRICS.register_module()
class TorsoPCK(BaseMetric):
    """Share of labelled joints that are nearer than ``thr`` torso lengths to the label.

    The torso is the distance between two given joints. MMPose's ``PCKAccuracy`` with
    ``norm_item='torso'`` measures joints 4 and 5, which are wrists in CrowdPose's order.
    Persons with an unlabelled torso joint are left out. The same numbers as those of
    ``mmpose_kd.gain.pck``.

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
            label = sample['gt_instances']
            labelled = np.asarray(label['keypoints_visible'])[0] > 0  # (K,)
            target = np.asarray(label['keypoints'], float)[0]  # (K, 2), image pixels
            found = np.asarray(sample['pred_instances']['keypoints'], float)[0]  # (K, 2)
            a, b = self.torso
            length = np.linalg.norm(target[a] - target[b])
            if not (labelled[a] and labelled[b] and length > 0):
                self.results.append(([0] * len(self.thr), 0))
                continue
            distances = np.linalg.norm(found - target, axis=-1)[labelled] / length
            hits = [int((distances < thr).sum()) for thr in self.thr]
            self.results.append((hits, int(labelled.sum())))

    def compute_metrics(self, results: list) -> dict:
        """``PCK@<thr>`` in percent."""
        total = sum(count for _, count in results)
        return {
            f'PCK@{thr}': 100.0 * sum(hits[i] for hits, _ in results) / max(total, 1)
            for i, thr in enumerate(self.thr)
        }
