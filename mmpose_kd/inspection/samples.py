"""What is looked at: samples of the validation, or pictures of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS, TRANSFORMS

from ..core.config_file import reason
from ..core.random_state import random_states_kept

NUMBER = 4  # samples, if none are named


@dataclass(frozen=True)
class Item:
    """One sample.

    Attributes:
        title: For the reader.
        file: Name of its sheet.
        data: As the validation's pipeline packs it.
    """

    title: str
    file: str
    data: dict


@dataclass(frozen=True)
class Items:
    """Samples, and the names of their keypoints (none if they are not known)."""

    items: list[Item]
    names: list[str]


def validation_samples(cfg: Config, numbers: Optional[Sequence[int]], default: int) -> Items:
    """Some samples of the validation.

    Args:
        cfg: The run's.
        numbers: Which ones, from 0. None: ``default`` of them, spread evenly.
        default: See there.

    Raises:
        ValueError: There is no validation, its data cannot be read, or there are fewer samples.
    """
    dataset = dict(_dataset_config(cfg))
    try:
        built = DATASETS.build(dataset)
    except Exception as error:  # whatever a data set raises where its files are not there
        raise ValueError(
            f'val_dataloader.dataset cannot be read: {reason(error)}; give --images, or run the '
            'command where the config finds its data'
        ) from error
    total = len(built)
    if numbers is None:
        numbers = np.linspace(0, total - 1, min(default, total)).round().astype(int).tolist()
    beyond = [n for n in numbers if n >= total]
    if beyond or not total:
        raise ValueError(f'--samples {beyond}: the validation has {total}, give numbers from 0')
    with random_states_kept():
        items = [Item(f'validation sample {n}', f'sample_{n}.png', built[n]) for n in numbers]
    return Items(items, _names(built.metainfo))


def photographs(cfg: Config, stated: dict, paths: Sequence[Path]) -> Items:
    """Pictures that one person fills, in the validation's pipeline.

    Args:
        cfg: The run's.
        stated: What the checkpoint states of its data set.
        paths: Of the pictures.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is no picture, or the pipeline does not take it.
    """
    config = _dataset_config(cfg)
    pipeline = Compose([TRANSFORMS.build(one) for one in config.get('pipeline') or []])
    kind = config.get('type', '')
    kind = kind if isinstance(kind, type) else DATASETS.get(kind)
    meta = dict(stated)
    if kind is not None and hasattr(kind, '_load_metainfo'):
        found = kind._load_metainfo(config.get('metainfo')) or {}
        if 'from_file' in found:  # CombinedDataset leaves it to be read
            found = parse_pose_metainfo(dict(found))
        meta = found or meta
    items = []
    for number, path in enumerate(paths):
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file')
        pixels = cv2.imread(str(path))
        if pixels is None:
            raise ValueError(f'{path} is no picture that OpenCV can read')
        height, width = pixels.shape[:2]
        info = dict(
            meta,
            img_path=str(path),
            bbox=np.array([[0, 0, width, height]], dtype=np.float32),
            bbox_score=np.ones(1, dtype=np.float32),
            id=number,
            img_id=number,
        )
        with random_states_kept():
            data = pipeline(info)
        items.append(Item(path.name, f'{number:02d}_{path.stem}.png', data))
    return Items(items, _names(meta))


def _dataset_config(cfg: Config) -> dict:
    dataset = (cfg.get('val_dataloader') or {}).get('dataset')
    if not isinstance(dataset, dict):
        raise ValueError('the config has no val_dataloader.dataset, whose pipeline is needed')
    return dataset


def _names(meta: dict) -> list[str]:
    names = (meta or {}).get('keypoint_id2name') or {}
    return [str(names[k]) for k in sorted(names)]
