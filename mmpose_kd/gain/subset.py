"""Training on a part of the persons, the smaller parts within the larger."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mmengine.config import Config

from ..core.checks import is_number
from .configs import SettingError, annotation_file
from .files import write_text


def subset(cfg: Config, persons: int, folder: Path) -> Path:
    """Write an annotation file with so many persons, and train on it.

    Of two sizes the smaller is part of the larger: persons are taken in the order of a hash of
    their number. Their pictures stay, other persons in them do not.

    Raises:
        SettingError: There are not so many persons, or the data set has no COCO file.
    """
    key = 'train_dataloader.dataset.ann_file'
    file = annotation_file(cfg.train_dataloader.dataset)
    if file is None or file.suffix != '.json':
        raise SettingError(
            f'--train-persons {persons} needs {key} to be a COCO file, found {file}: '
            'give --train-persons all'
        )
    raw = file.read_bytes()
    target = folder / f'{file.stem}_{persons}_{hashlib.sha256(raw).hexdigest()[:8]}.json'
    if not target.is_file():
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            data = None
        if not _is_coco(data):
            raise SettingError(
                f'--train-persons {persons} needs {key} to be a COCO file, {file} has no '
                'images and annotations: give --train-persons all'
            )
        usable = [a for a in data['annotations'] if is_person(a)]
        if persons > len(usable):
            raise SettingError(
                f'--train-persons {persons}: {file} has {len(usable)}; give fewer, or all'
            )
        usable.sort(key=lambda a: hashlib.sha256(str(a['id']).encode()).digest())
        chosen = sorted(usable[:persons], key=lambda a: a['id'])
        pictures = {a['image_id'] for a in chosen}
        images = [image for image in data['images'] if image['id'] in pictures]
        write_text(target, json.dumps({**data, 'images': images, 'annotations': chosen}))
    cfg.train_dataloader.dataset.ann_file = str(target.absolute())
    return target


def _is_coco(data) -> bool:
    """Whether pictures and annotations have their numbers."""
    lists = (
        [data.get(name) for name in ('images', 'annotations')] if isinstance(data, dict) else []
    )
    rows = [row for one in lists if isinstance(one, list) for row in one]
    return (
        len(lists) == 2
        and all(isinstance(one, list) for one in lists)
        and all(isinstance(row, dict) and 'id' in row for row in rows)
        and all('image_id' in row for row in lists[1])
    )


def is_person(annotation: dict) -> bool:
    """Whether MMPose trains on this annotation: one person with at least one joint."""
    labelled = annotation.get('num_keypoints')
    if labelled is None:
        visible = (annotation.get('keypoints') or [])[2::3]
        labelled = sum(is_number(v) and v > 0 for v in visible)
    return bool(labelled) and not annotation.get('iscrowd')
