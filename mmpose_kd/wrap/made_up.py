"""Pictures that are not there: noise and random keypoints, through a config's own pipeline."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import Compose
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS

from ..core.checks import refusal
from ..core.recipe import type_name

WIDTH, HEIGHT = 320, 240  # of the pictures

#: what MMPose's data sets add to each person from their meta information
FROM_METAINFO = (
    'dataset_name', 'upper_body_ids', 'lower_body_ids', 'flip_pairs', 'dataset_keypoint_weights',
    'flip_indices', 'skeleton_links',
)  # fmt: skip


def made_up_samples(dataset: dict, seed: int = 0) -> Iterator[dict]:
    """Samples as a data set would give them, one after the other.

    Args:
        dataset: Config of a data set of MMPose's kind, or of one that is made of several, of which
            the first is taken.
        seed: Of pictures and keypoints.

    Raises:
        ValueError: Its keypoints are not known.
    """
    random = np.random.default_rng(seed)
    while True:
        yield _sample(dataset, random, 'train_dataloader.dataset')


def metainfo_of(dataset: dict, key: str = 'train_dataloader.dataset') -> dict:
    """What is known of a data set's keypoints, without its files.

    Raises:
        ValueError: Nothing is.
    """
    kind = dataset.get('type')
    found = kind if isinstance(kind, type) else DATASETS.get(type_name(dataset))
    if found is None:
        raise refusal(f'{key}.type', kind, 'no such class is registered')
    metainfo = dataset.get('metainfo') or getattr(found, 'METAINFO', None)
    if not isinstance(metainfo, dict) or not metainfo:
        inner, where = _inner(dataset, key)
        if inner is not None:
            return metainfo_of(inner, where)
        raise ValueError(f'{key}.metainfo: there is none that tells the keypoints of made-up data')
    return parse_pose_metainfo(metainfo)


def _inner(dataset: dict, key: str) -> tuple:
    """The data set that another is made of, if it is, and its key."""
    if dataset.get('datasets'):
        return dataset['datasets'][0], f'{key}.datasets.0'
    return dataset.get('dataset'), f'{key}.dataset'


def _sample(dataset: dict, random: np.random.Generator, key: str) -> dict:
    inner, where = _inner(dataset, key)
    metainfo = metainfo_of(dataset, key)
    if inner is None:
        sample = _person(metainfo['num_keypoints'], random)
    else:
        sample = _sample(inner, random, where)
    if dataset.get('pipeline') is None:
        return sample
    sample.update({name: metainfo[name] for name in FROM_METAINFO})
    return Compose(dataset['pipeline'])(sample)


def _person(num_keypoints: int, random: np.random.Generator) -> dict:
    """A labelled person in a picture of noise, as a data set reads one from its file."""
    box = np.array([[40.0, 20.0, WIDTH - 40.0, HEIGHT - 20.0]], dtype=np.float32)
    share = random.uniform(0.1, 0.9, (1, num_keypoints, 2))
    keypoints = box[:, None, :2] + share * (box[:, None, 2:] - box[:, None, :2])
    return dict(
        img=random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        img_id=0,
        id=0,
        category_id=np.array(1),
        bbox=box,
        bbox_score=np.ones(1, dtype=np.float32),
        num_keypoints=num_keypoints,
        keypoints=keypoints.astype(np.float32),
        keypoints_visible=np.ones((1, num_keypoints), dtype=np.float32),
        area=np.array((WIDTH - 80) * (HEIGHT - 40) / 2, dtype=np.float32),
        iscrowd=0,
        segmentation=None,
        raw_ann_info={},
    )
