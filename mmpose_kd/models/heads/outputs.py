"""Predictions of several outputs in one pass: flip test, and attached to the data samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from mmengine.structures import InstanceData
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.structures import PoseDataSample
from torch import Tensor


def flip_test(
    forward: Callable[..., Sequence[Tensor]],
    feats,
    samples: Sequence[PoseDataSample],
    test_cfg: dict,
) -> Sequence[Tensor]:
    """Heatmaps of several outputs, averaged with the mirrored picture's if ``flip_test`` is set.

    Args:
        forward: From the features of a picture to heatmaps (B, K, H, W), one per output.
        feats: Features, or with ``flip_test`` a pair of them (plain, mirrored).
        samples: Know the ``flip_indices`` of the keypoints.
        test_cfg: ``flip_test``, ``flip_mode`` and ``shift_heatmap`` as in ``HeatmapHead``.
    """
    if not test_cfg.get('flip_test', False):
        return forward(feats)
    plain, mirrored = (forward(one) for one in feats)
    return [
        0.5
        * (
            maps
            + flip_heatmaps(
                flipped,
                flip_mode=test_cfg.get('flip_mode', 'heatmap'),
                flip_indices=samples[0].metainfo['flip_indices'],
                shift_heatmap=test_cfg.get('shift_heatmap', False),
            )
        )
        for maps, flipped in zip(plain, mirrored)
    ]


def attach_prediction(
    sample: PoseDataSample, name: str, instances: InstanceData, test_cfg: dict
) -> None:
    """Store one output's prediction in ``sample.pred_<name>``, as ``pred_instances`` would be.

    Args:
        sample: Has ``input_center``, ``input_scale``, ``input_size`` and ``gt_instances``.
        name: Name of the output, such as ``'branch1'``.
        instances: Keypoints in input pixels; moved to image pixels here.
        test_cfg: The model's; ``output_keypoint_indices`` is respected.
    """
    info = sample.metainfo
    instances.keypoints[..., :2] = (
        instances.keypoints[..., :2] / info['input_size'] * info['input_scale']
        + info['input_center']
        - 0.5 * info['input_scale']
    )
    if 'keypoints_visible' not in instances:
        instances.keypoints_visible = instances.keypoint_scores
    chosen = test_cfg.get('output_keypoint_indices')
    if chosen is not None:
        for key, value in instances.all_items():
            if key.startswith('keypoint'):
                instances.set_field(value[:, chosen], key)
    instances.bboxes = sample.gt_instances.bboxes
    instances.bbox_scores = sample.gt_instances.bbox_scores
    sample.set_field(instances, f'pred_{name}')
