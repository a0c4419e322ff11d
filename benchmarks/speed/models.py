"""The networks that are measured, their batches, and one training step of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import mmpose_kd  # noqa: F401  (registers the models)

CONFIGS = Path(__file__).parents[2] / 'configs'
#: the head's settings with which only the task losses of the branches are left
TASK_ONLY = dict(ensemble_weight=0, kd_loss=dict(loss_weight=0), fau=None)
#: the numbers, the FAU and the heatmap loss of the release
RELEASED = dict(
    preset='released', fau=dict(type='FAU', form='released'),
    head=dict(loss=dict(_delete_=True, type='JointsMSELoss')),
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A model with OKDHP, the plain model under it, and the batch that they are measured with.

    Attributes:
        model: Config of a ``TopdownPoseEstimator`` with OKDHP.
        batch: Images in a batch.
    """

    model: Mapping = field(repr=False)
    batch: int = 2

    @property
    def codec(self) -> dict:
        """Config of the codec, with ``input_size`` and ``heatmap_size`` (width, height)."""
        return self.model['head']['head']['decoder']

    def plain(self) -> dict:
        """Config of the stock model."""
        ours = self.model['head']
        return {**copy.deepcopy(self.model), 'backbone': ours['backbone'], 'head': ours['head']}

    def okdhp(self, split: Optional[str] = None, **head) -> dict:
        """Config of the model with OKDHP.

        Args:
            split: Where to cut. None: where the config does.
            head: Changes to the config of the head, merged as MMEngine does.
        """
        changes = dict(head=head)
        if split is not None:
            changes = dict(backbone=dict(split=split), head=dict(head, split=split))
        merged = Config(dict(model=copy.deepcopy(self.model)))
        merged.merge_from_dict(dict(model=changes))
        return merged.to_dict()['model']


def hourglass(stacks: int = 2, batch: int = 2) -> Network:
    """A stacked hourglass: 256 x 256, 16 keypoints, half of the stacks shared.

    Depth and width are the paper's; MMPose builds it of basic blocks where the paper's have
    bottlenecks, so it is a heavier network and a ratio to the plain one is of its own.
    """
    backbone = dict(
        type='HourglassNet',
        downsample_times=4,
        num_stacks=stacks,
        stage_channels=(256,) * 5,
        stage_blocks=(1,) * 5,
    )
    head = dict(
        type='CPMHead',
        in_channels=256,
        out_channels=16,
        num_stages=stacks,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=dict(
            type='MSRAHeatmap', input_size=(256, 256), heatmap_size=(64, 64), sigma=2
        ),
    )  # fmt: skip
    split = f'stack{stacks // 2}'
    return Network(
        dict(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(type='PoseDataPreprocessor'),
            backbone=dict(type='SharedTrunk', backbone=backbone, split=split),
            head=dict(
                type='OKDHPHead', backbone=backbone, split=split, head=head, num_branches=3
            ),
        ),
        batch,
    )  # fmt: skip


def shipped(name: str, batch: int = 2) -> Network:
    """The model of a config in ``configs/``."""
    return Network(Config.fromfile(CONFIGS / f'{name}.py').to_dict()['model'], batch)


def build(config: Mapping, device: str = 'cpu') -> BaseModel:
    """A model in training mode with random weights, the same ones at every call."""
    init_default_scope('mmpose')
    torch.manual_seed(0)
    return MODELS.build(copy.deepcopy(dict(config))).to(device).train()


def random_batch(network: Network, device: str = 'cpu') -> tuple[Tensor, list[PoseDataSample]]:
    """Normalised images (B, 3, H, W), and data samples with targets for keypoints in them."""
    rng = np.random.default_rng(0)
    codec = KEYPOINT_CODECS.build(network.codec)
    width, height = codec.input_size
    num_keypoints = network.model['head']['head']['out_channels']
    samples = []
    for _ in range(network.batch):
        keypoints = rng.uniform(0, (width, height), (1, num_keypoints, 2)).astype(np.float32)
        target = codec.encode(keypoints, np.ones((1, num_keypoints), np.float32))
        sample = PoseDataSample()
        sample.gt_fields = PixelData(heatmaps=torch.from_numpy(target['heatmaps']).to(device))
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=torch.from_numpy(target['keypoint_weights']).to(device)
        )
        samples.append(sample)
    torch.manual_seed(0)
    return torch.randn(network.batch, 3, height, width, device=device), samples


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum that MMEngine trains on."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def step_of(network: Network, config: Mapping, device: str = 'cpu') -> Callable[[], None]:
    """A training step without the optimiser: forward, losses, training accuracy, backward.

    Args:
        network: Gives the batch.
        config: The model.
        device: Where to compute.
    """
    model = build(config, device)
    images, samples = random_batch(network, device)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        total(model.loss(images, samples)).backward()

    return step


@torch.no_grad()
def macs(run: Callable[[], object]) -> int:
    """Multiply-accumulates of the convolutions and matrix products that ``run`` does.

    Only forward passes can be counted: torch counts the gradients of depthwise kernels as if
    their layers were dense.
    """
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2
