"""Codecs of usual size and heads for them, for the tests of what heatmaps say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmpose.registry import KEYPOINT_CODECS, MODELS

import mmpose_kd  # noqa: F401  (registers the losses)
from mmpose_kd.ocd_tcd.reading import render_gaussians

W, H = 48, 64
INPUT = (192, 256)
MSRA = dict(type='MSRAHeatmap', input_size=INPUT, heatmap_size=(W, H), sigma=2, unbiased=True)
UDP = dict(type='UDPHeatmap', input_size=INPUT, heatmap_size=(W, H), sigma=2)
GRIDS = pytest.mark.parametrize('grid', [MSRA, UDP], ids=['msra', 'udp'])
REGRESSION = dict(type='RegressionLabel', input_size=INPUT)
SIMCC = dict(type='SimCCLabel', input_size=INPUT, sigma=6.0, simcc_split_ratio=2.0)


def codec(cfg):
    return KEYPOINT_CODECS.build(cfg)


def encode(cfg, xy, name):
    """One target of keypoints (K, 2) in input pixels, as a batch of one."""
    return torch.as_tensor(codec(cfg).encode(np.asarray(xy, dtype=np.float32)[None])[name])


def keypoints(k=40, margin=12, seed=0):
    return np.random.default_rng(seed).uniform(margin, np.array(INPUT) - 1 - margin, (k, 2))


def regression_head(decoder=REGRESSION, **settings):
    return MODELS.build(
        dict(type='RegressionHead', in_channels=4, num_joints=3, decoder=decoder, **settings)
    )


def simcc_head(loss=None, **label):
    return MODELS.build(
        dict(
            type='SimCCHead',
            in_channels=4,
            out_channels=3,
            input_size=INPUT,
            in_featuremap_size=(6, 8),
            deconv_out_channels=None,
            loss=dict(type='KLDiscretLoss', use_target_weight=True, **(loss or {})),
            decoder={**SIMCC, **label},
        )
    )


def bound(loss, head=None, grid=MSRA):
    loss.bind(head or regression_head(), codec(grid))
    return loss


def maps(seed=0):
    xy = torch.from_numpy(keypoints(6, seed=seed)).float().view(2, 3, 2) / 4
    return render_gaussians(xy, (W, H), 2.0)
