"""Whether annotations, metainfo and head have as many keypoints."""

from __future__ import annotations

from typing import Optional

from mmengine.model import BaseModel
from mmpose.models.pose_estimators import TopdownPoseEstimator

from .deployed import predicting_head
from .head_output import num_keypoints

GIVE = 'give metainfo=dict(from_file=...) of this data, to each data set'


def dataset_problem(dataset_meta: dict, sample: dict) -> Optional[str]:
    """How a sample's labels differ from its data set's metainfo, in words; None if they do not.

    Args:
        dataset_meta: As MMPose's data sets have it.
        sample: What the data set's pipeline makes of a picture, packed.
    """
    instances = getattr(sample.get('data_samples'), 'gt_instances', None)
    labels = getattr(instances, 'keypoints', None)
    count = dataset_meta.get('num_keypoints')
    if labels is None or count is None or labels.shape[1] == count:
        return None
    return f'it has {count} keypoints, the annotations have {labels.shape[1]}: {GIVE}'


def head_problem(dataset_meta: dict, model: BaseModel) -> Optional[str]:
    """How a top-down model's head differs from its training data, with the config key.

    A head of several outputs for each keypoint is fine.

    Args:
        dataset_meta: As MMPose's data sets have it.
        model: In training.
    """
    student = getattr(model, 'student', model)
    head = predicting_head(getattr(student, 'head', None))
    found, count = num_keypoints(head), dataset_meta.get('num_keypoints')
    if not isinstance(student, TopdownPoseEstimator) or None in (found, count):
        return None
    if found % count == 0:
        return None
    name = 'out_channels' if hasattr(head, 'out_channels') else 'num_joints'
    return (
        f'model.head.{name}={found}: train_dataloader.dataset.metainfo has {count} keypoints; '
        f'give the head {count}, or if the data has others, {GIVE}'
    )
