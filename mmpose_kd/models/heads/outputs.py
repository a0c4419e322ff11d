"""Predictions beside the main one: attached to the data samples, measured under own names."""

from __future__ import annotations

from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample


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
