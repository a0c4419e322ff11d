"""Small stock models and batches that the tests build on."""

from __future__ import annotations

import copy

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample

import mmpose_kd  # noqa: F401  (registers everything, and makes mmpose importable with mmcv-lite)

init_default_scope('mmpose')

SIZE = (32, 64)  # input width, height
K = 5
CODEC = dict(type='MSRAHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)


def _hr_stage(modules, channels, block='BASIC'):
    return dict(
        num_modules=modules,
        num_branches=len(channels),
        block=block,
        num_blocks=(1,) * len(channels),
        num_channels=channels,
    )


HRNET = dict(
    type='HRNet',
    extra=dict(
        stage1=_hr_stage(1, (8,), 'BOTTLENECK'),
        stage2=_hr_stage(1, (4, 8)),
        stage3=_hr_stage(2, (4, 8, 16)),
        stage4=_hr_stage(1, (4, 8, 16, 32)),
    ),
)
RESNET = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
MOBILENET = dict(type='MobileNetV2', widen_factor=0.25)
SHUFFLENET = dict(type='ShuffleNetV2', widen_factor=0.5)

LITEHRNET = dict(
    type='LiteHRNet',
    in_channels=3,
    extra=dict(
        stem=dict(stem_channels=16, out_channels=16, expand_ratio=1),
        num_stages=3,
        stages_spec=dict(
            num_modules=(1, 1, 1),
            num_branches=(2, 3, 4),
            num_blocks=(1, 1, 1),
            module_type=('LITE', 'LITE', 'LITE'),
            with_fuse=(True, True, True),
            reduce_ratios=(2, 2, 2),
            num_channels=((16, 32), (16, 32, 64), (16, 32, 64, 128)),
        ),
        with_head=True,
    ),
)

# the stem's 256 channels are fixed in HourglassNet, the rest may be small
HOURGLASS = dict(
    type='HourglassNet',
    downsample_times=2,
    num_stacks=3,
    stage_channels=(256, 8, 8),
    stage_blocks=(1, 1, 1),
    feat_channel=8,
)

# its outputs are heatmaps
STACKED = dict(
    type='StackedHourglass', out_channels=K, num_stacks=3, downsample_times=1, feat_channels=8
)

BACKBONES = dict(
    HRNet=HRNET,
    LiteHRNet=LITEHRNET,
    HourglassNet=HOURGLASS,
    StackedHourglass=STACKED,
    ResNet=RESNET,
    MobileNetV2=MOBILENET,
    ShuffleNetV2=SHUFFLENET,
)
CHANNELS = dict(
    HRNet=4,
    LiteHRNet=16,
    HourglassNet=8,
    StackedHourglass=K,
    ResNet=64,
    MobileNetV2=1280,
    ShuffleNetV2=1024,
)
SPLITS = dict(
    HRNet=['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'end'],
    LiteHRNet=['stem', 'stage1', 'stage2', 'stage3', 'end'],
    HourglassNet=['stem', 'stack1', 'stack2', 'stack3', 'end'],
    StackedHourglass=['stem', 'stack1', 'stack2', 'stack3', 'end'],
    ResNet=['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'end'],
    MobileNetV2=['stem', *(f'stage{i}' for i in range(1, 8)), 'end'],
    ShuffleNetV2=['stem', 'stage1', 'stage2', 'stage3', 'end'],
)


def head_config(backbone: dict) -> dict:
    """A stock heatmap head that turns the backbone's output into 8 x 16 heatmaps."""
    fine = backbone['type'] in ('HRNet', 'LiteHRNet', 'HourglassNet', 'StackedHourglass')
    deconv = () if fine else (8, 8, 8)
    stages = backbone.get('num_stacks')
    return dict(
        **(dict(type='CPMHead', num_stages=stages) if stages else dict(type='HeatmapHead')),
        in_channels=CHANNELS[backbone['type']],
        out_channels=K,
        deconv_out_channels=deconv or None,
        deconv_kernel_sizes=(4,) * len(deconv) or None,
        **(dict(final_layer=None) if backbone['type'] == 'StackedHourglass' else {}),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=CODEC,
    )


def plain_config(backbone: dict = RESNET) -> dict:
    """A stock top-down heatmap model."""
    return copy.deepcopy(
        dict(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(
                type='PoseDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
            ),
            backbone=backbone,
            head=head_config(backbone),
            test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
        )
    )


def okdhp_config(backbone: dict = RESNET, split: str = 'stage2', **head) -> dict:
    """The same model with OKDHP."""
    model = plain_config(backbone)
    model['backbone'] = dict(type='SharedTrunk', backbone=backbone, split=split)
    model['head'] = dict(
        type='OKDHPHead', backbone=backbone, split=split, head=head_config(backbone), **head
    )
    return copy.deepcopy(model)


def build(config: dict, seed: int = 0, init: bool = True):
    """A model with random weights: the same ones for the same seed."""
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    if init:
        model.init_weights()
    return model


def randomize(model, seed: int = 0):
    """Weights that let every output depend on every layer (stock heads start near zero)."""
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        scale = p[0].numel() ** -0.5 if p.ndim > 1 else 0.5
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) * scale
    return model


def images(batch: int = 2, seed: int = 0, dtype=torch.float32):
    """Normalised images (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, SIZE[1], SIZE[0], generator=generator, dtype=dtype)


def samples(batch: int = 2, seed: int = 0, dtype=torch.float32, size=(8, 16), k: int = K):
    """Data samples as a pipeline packs them: heatmaps, weights of 0 and 1, and geometry."""
    rng = np.random.default_rng(seed)
    packed = []
    for _ in range(batch):
        xy = rng.uniform(2, np.array(size) - 2, (k, 2))
        gx, gy = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        maps = np.exp(-((gx - xy[:, :1, None]) ** 2 + (gy - xy[:, 1:, None]) ** 2) / 2)
        weight = np.ones((1, k), dtype=np.float32)
        weight[0, rng.integers(k)] = 0
        sample = PoseDataSample(
            metainfo=dict(
                input_size=SIZE,
                input_center=np.array([60.0, 80.0]),
                input_scale=np.array([96.0, 128.0]),
                flip_indices=list(range(k))[::-1],
            )
        )
        sample.gt_fields = PixelData(heatmaps=torch.tensor(maps, dtype=dtype))
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=torch.tensor(weight, dtype=dtype)
        )
        sample.gt_instances = InstanceData(
            bboxes=np.array([[20.0, 20.0, 100.0, 140.0]]), bbox_scores=np.ones(1)
        )
        packed.append(sample)
    return packed


def total(losses: dict):
    """The sum that MMEngine trains on."""
    return sum(value for key, value in losses.items() if 'loss' in key)
