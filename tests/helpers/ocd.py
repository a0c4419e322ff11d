"""Small OCD models of every kind of deployed head, batches and runs for them."""

from __future__ import annotations

import copy
import uuid

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpose.registry import TRANSFORMS

from .models import CODEC, RESNET, SIZE, K, images, plain_config, total

HEATMAP_CODEC = CODEC
UDP = dict(type='UDPHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)
REGRESSION = dict(type='RegressionLabel', input_size=SIZE)
INTEGRAL = dict(type='IntegralRegressionLabel', input_size=SIZE, heatmap_size=(8, 16), sigma=1.0)
SIMCC = dict(type='SimCCLabel', input_size=SIZE, sigma=4.0, simcc_split_ratio=2.0, normalize=False)
POOL = dict(type='GlobalAveragePooling')
GAU = dict(
    hidden_dims=16, s=8, expansion_factor=2, dropout_rate=0.0, drop_path=0.0, act_fn='SiLU',
    use_rel_bias=False, pos_enc=False,
)  # fmt: skip

_vector = dict(in_channels=64, num_joints=K)
_maps = dict(
    in_channels=64,
    in_featuremap_size=(1, 2),
    num_joints=K,
    deconv_out_channels=(8, 8, 8),
    deconv_kernel_sizes=(4, 4, 4),
)
_bins = dict(in_channels=64, out_channels=K, input_size=SIZE, in_featuremap_size=(1, 2))
SMOOTH_L1 = dict(type='SmoothL1Loss', use_target_weight=True)
HEADS = {
    'regression': dict(
        neck=POOL,
        head=dict(type='RegressionHead', **_vector, loss=SMOOTH_L1, decoder=REGRESSION),
    ),
    'rle': dict(
        neck=POOL,
        head=dict(
            type='RLEHead',
            **_vector,
            loss=dict(type='RLELoss', use_target_weight=True),
            decoder=REGRESSION,
        ),
    ),
    'integral': dict(
        head=dict(type='IntegralRegressionHead', **_maps, loss=SMOOTH_L1, decoder=INTEGRAL)
    ),
    # its default loss has no finite gradient for a keypoint without a label
    'dsnt': dict(
        head=dict(
            type='DSNTHead',
            **_maps,
            loss=dict(
                type='MultipleLossWrapper',
                losses=[SMOOTH_L1, dict(type='KeypointMSELoss', use_target_weight=True)],
            ),
            decoder=INTEGRAL,
        )
    ),
    'simcc': dict(head=dict(type='SimCCHead', **_bins, deconv_out_channels=None, decoder=SIMCC)),
    'rtmcc': dict(
        head=dict(
            type='RTMCCHead',
            **_bins,
            gau_cfg=GAU,
            loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10.0, label_softmax=True),
            decoder=SIMCC,
        )
    ),
}

#: settings of OCDHead with which nothing is taught
PLAIN = dict(heatmap_weight=0, cross_weight=0)

each_kind = pytest.mark.parametrize('kind', HEADS)


def heatmap_head(**settings) -> dict:
    return dict(
        type='HeatmapHead',
        in_channels=64,
        out_channels=K,
        deconv_out_channels=(8, 8, 8),
        deconv_kernel_sizes=(4, 4, 4),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=HEATMAP_CODEC,
        **settings,
    )


def plain_of(kind: str) -> dict:
    """The stock model with one of the heads."""
    model = plain_config(RESNET)
    return copy.deepcopy({**model, **HEADS[kind], 'test_cfg': dict(flip_test=True)})


def ocd_of(kind: str, **settings) -> dict:
    """The same model with OCD."""
    model = plain_config(RESNET)
    head = dict(type='OCDHead', deploy=HEADS[kind], heatmap=heatmap_head(), **settings)
    return copy.deepcopy({**model, 'head': head, 'test_cfg': dict(flip_test=True)})


def codec_of(kind: str) -> dict:
    return dict(
        type='CrossRepresentationLabel',
        deploy=HEADS[kind]['head']['decoder'],
        heatmap=HEATMAP_CODEC,
    )


def batch_of(encoder: dict, batch: int = 2, seed: int = 0, hidden: tuple = (3,)):
    """Samples as the pipeline packs them; keypoints ``hidden`` have no label."""
    rng = np.random.default_rng(seed)
    steps = Compose(
        [
            TRANSFORMS.build(dict(type='GenerateTarget', encoder=encoder)),
            TRANSFORMS.build(dict(type='PackPoseInputs')),
        ]
    )
    found = []
    for _ in range(batch):
        visible = np.ones((1, K), dtype=np.float32)
        visible[0, list(hidden)] = 0
        results = dict(
            img=np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8),
            transformed_keypoints=rng.uniform(4, np.array(SIZE) - 5, (1, K, 2)).astype(np.float32),
            keypoints_visible=visible,
        )
        sample = steps(results)['data_samples']
        sample.set_metainfo(
            dict(
                input_size=SIZE,
                input_center=np.array([60.0, 80.0]),
                input_scale=np.array([96.0, 128.0]),
                flip_indices=list(range(K))[::-1],
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=np.array([[20.0, 20.0, 100.0, 140.0]]), bbox_scores=np.ones(1)
        )
        found.append(sample)
    return found


def samples(kind: str = 'regression', *settings, **more):
    """A batch for one kind of head, with heatmaps beside its labels: see :func:`batch_of`."""
    return batch_of(codec_of(kind), *settings, **more)


def backward(model, batch):
    """The losses of a batch, after a backward pass through their sum."""
    losses = model.loss(images(len(batch)), batch)
    total(losses).backward()
    return losses


class Stop(Hook):
    """Ends a run as a crash would, at the start of an epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def train(cfg, stop=False, **changes):
    """The runner after its run; ``changes`` are top-level keys of the config."""
    cfg = Config(copy.deepcopy({**cfg, **changes}))
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    if stop:
        runner.register_hook(Stop())
    runner.train()
    return runner
