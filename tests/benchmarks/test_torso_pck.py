"""PCK in training is the same number as the harness's own."""

import sys

import numpy as np
import pytest

from mmpose_kd.gain import pck

from ..helpers import ROOT

sys.path.append(str(ROOT))

from benchmarks.gain.torso_pck import TorsoPCK


def persons(n=40, k=14):
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 100, (n, k, 2)).astype(np.float32)
    found = target + rng.normal(0, 12, (n, k, 2)).astype(np.float32)
    target[0, 7] = target[0, 0]  # a torso without length
    return found, target, rng.uniform(size=(n, k)) < 0.8


def test_the_metric_counts_as_the_harness_does():
    found, target, visible = persons()
    metric = TorsoPCK()
    for one, label, seen in zip(found, target, visible):
        label = {'keypoints': label[None], 'keypoints_visible': seen[None].astype(np.float32)}
        metric.process({}, [{'gt_instances': label, 'pred_instances': {'keypoints': one[None]}}])
    measured = metric.compute_metrics(metric.results)
    length = pck.torso_lengths(target, visible, (0, 7))
    assert 0 < (length > 0).sum() < len(length)
    for thr in (0.2, 0.1):
        hits, counts = pck.hits_and_counts(found, target, visible, length, thr)
        assert measured[f'PCK@{thr}'] == pytest.approx(100 * hits.sum() / counts.sum())
        assert 5 < measured[f'PCK@{thr}'] < 95


def test_nobody_counted_is_zero():
    metric = TorsoPCK(thr=(0.5,))
    assert metric.compute_metrics([]) == {'PCK@0.5': 0.0}
