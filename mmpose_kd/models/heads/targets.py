"""Targets of two representations, taken from the data samples."""

from __future__ import annotations

from typing import Optional

import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.structures import PoseDataSample
from torch import Tensor

from ...codecs.cross_representation_label import HEATMAPS, WEIGHTS


def label_weights(samples: list[PoseDataSample]) -> Tensor:
    """Keypoint weights (B, K) of the deployed head's labels."""
    return torch.cat([sample.gt_instance_labels.keypoint_weights for sample in samples])


def heatmap_samples(
    samples: list[PoseDataSample],
    key: str = 'OCDHead',
    size: Optional[tuple[int, int]] = None,
) -> list[PoseDataSample]:
    """Samples as a stock heatmap head reads them.

    Args:
        samples: From a pipeline with :class:`~mmpose_kd.codecs.CrossRepresentationLabel`.
        key: Who needs them, for messages.
        size: Width and height of the heatmaps that the head makes. None: they are not compared.

    Raises:
        ValueError: The pipeline's codec makes no heatmaps, or some of another size.
    """
    found = []
    for sample in samples:
        labels = sample.gt_instance_labels
        if HEATMAPS not in labels:
            raise ValueError(
                f'train_dataloader.dataset.pipeline: {key} needs GenerateTarget with '
                "encoder=dict(type='CrossRepresentationLabel', deploy=..., heatmap=...)"
            )
        made = tuple(labels[HEATMAPS].shape[:1:-1])
        if size is not None and made != tuple(size):
            raise ValueError(
                f'train_dataloader.dataset.pipeline: GenerateTarget.encoder.heatmap makes maps of '
                f'{made}, head.heatmap.decoder is for {tuple(size)}: give both the same codec'
            )
        one = PoseDataSample(gt_fields=PixelData(heatmaps=labels[HEATMAPS][0]))
        one.gt_instance_labels = InstanceData(keypoint_weights=labels[WEIGHTS])
        found.append(one)
    return found
