"""Whether two models predict the same, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from ..core import recipe

PICTURES = 2


def same_predictions(
    one: BaseModel, two: BaseModel, size: tuple[int, int], channels: int
) -> Optional[str]:
    """Compare predictions on random pictures, with and without flip test.

    Args:
        one, two: Pose estimators.
        size: Width and height of their input.
        channels: Of the pictures.

    Returns:
        None if they are bit-equal, else where they are not.
    """
    num_keypoints = _predict(two, size, channels)[0].shape[1]
    for flip_indices in (None, list(range(num_keypoints))[::-1]):
        expected = _predict(one, size, channels, flip_indices)
        found = _predict(two, size, channels, flip_indices)
        if not all(np.array_equal(a, b) for a, b in zip(expected, found)):
            return f'flip_test={flip_indices is not None}'
    return None


def input_size_of(cfg: Config) -> Optional[tuple[int, int]]:
    """Width and height of the model's input: of its crops, else what its head's codec says.

    Raises:
        ValueError: The codec says something else.
    """
    crop = _crop(cfg)
    if crop is not None:
        return tuple(crop['input_size'])
    head = (cfg.get('model') or {}).get('head') or {}
    return recipe.input_size_of(head.get('decoder'))


def udp_crops(cfg: Config) -> bool:
    """Whether the model's crops are UDP's: w - 1 steps from the first pixel to the last."""
    return (_crop(cfg) or {}).get('use_udp') is True


def _crop(cfg: Config) -> Optional[dict]:
    """The step that crops to the input's size, of the validation, else the test or training."""
    for loader in ('val_dataloader', 'test_dataloader', 'train_dataloader'):
        for pipeline in recipe.pipelines_of((cfg.get(loader) or {}).get('dataset') or {}):
            for step in pipeline:
                if 'input_size' in step:
                    return step
    return None


def picture_channels(model: BaseModel) -> int:
    """Channels of the pictures that a model is for: its first convolution's, or its mean's."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    if mean is not None and mean.numel() > 1:
        return mean.numel()
    first = next(
        (m for m in model.modules() if isinstance(m, torch.nn.modules.conv._ConvNd)), None
    )
    return 3 if first is None else first.in_channels


def _predict(
    model: BaseModel,
    size: tuple[int, int],
    channels: int,
    flip_indices: Optional[Sequence[int]] = None,
) -> list[np.ndarray]:
    """Keypoints, scores and heatmaps of random pictures, the same ones at every call.

    Args:
        model: A pose estimator.
        size: Width and height of its input.
        channels: Of the pictures.
        flip_indices: With them the prediction is made with flip test.
    """
    width, height = size
    generator = torch.Generator().manual_seed(0)
    shape = (PICTURES, channels, height, width)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    centre, scale = np.array([width / 2, height / 2]), np.array([width, height], dtype=float)
    info = {
        'input_size': size,
        'input_center': centre,
        'input_scale': scale,
        'img_shape': (height, width),
        'flip_indices': flip_indices,
    }
    boxes = InstanceData(
        bboxes=np.array([[0, 0, width, height]]),
        bbox_scores=np.ones(1),
        bbox_centers=centre[None],  # of MMPose 1.1
        bbox_scales=scale[None],
    )
    samples = [PoseDataSample(metainfo=info, gt_instances=boxes) for _ in images]
    before = model.test_cfg
    model.test_cfg = {
        **before,
        'flip_test': flip_indices is not None,
        'output_heatmaps': True,
        'output_keypoint_indices': None,
    }
    try:
        with torch.no_grad():
            results = model.test_step({'inputs': list(images), 'data_samples': samples})
    finally:
        model.test_cfg = before
    arrays = []
    for result in results:
        arrays += [result.pred_instances.keypoints, result.pred_instances.keypoint_scores]
        if 'pred_fields' in result:
            arrays.append(result.pred_fields.heatmaps.numpy())
    return arrays
