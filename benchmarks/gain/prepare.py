"""From the user's config to the one that a run trains with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from .files import write_text


class SettingError(ValueError):
    """Something given to the harness does not work; the message says what to give."""


NEEDED = ('model', 'train_cfg', 'train_dataloader', 'test_dataloader', 'test_evaluator')

#: by the scheduler's name without its ending (LR, Momentum, ParamScheduler): what else than
#: ``begin`` and ``end`` counts epochs
SCHEDULERS = {
    'Constant': (),
    'Linear': (),
    'Poly': (),
    'QuadraticWarmup': (),
    'CosineAnnealing': ('T_max',),
    'Step': ('step_size',),
    'MultiStep': ('milestones',),
    'OneCycle': ('total_steps',),
    'CosineRestart': ('periods',),
}


def load_config(path: str, options: Optional[dict] = None) -> Config:
    """Read a config and check what the harness needs of it.

    Args:
        path: The config.
        options: Changes, as ``--cfg-options`` gives them.

    Raises:
        SettingError: The file or something in it is missing.
    """
    if not Path(path).is_file():
        raise SettingError(f'{path}: no such config')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    missing = [key for key in NEEDED if not cfg.get(key)]
    if missing:
        raise SettingError(f'{path} has no {", ".join(missing)}: add it')
    max_epochs = cfg.train_cfg.get('max_epochs')
    if not max_epochs or not cfg.train_cfg.get('by_epoch', True):
        raise SettingError(
            f'{path}: train_cfg={dict(cfg.train_cfg)} does not count epochs: '
            'give by_epoch=True and max_epochs'
        )
    for name in ('val_dataloader', 'test_dataloader'):  # PCK needs labels with each prediction
        if cfg.get(name) and cfg[name].dataset.get('bbox_file'):
            cfg[name].dataset.bbox_file = None
    for name in ('train_dataloader', 'test_dataloader'):
        file = annotation_file(cfg[name].dataset)
        if file is not None and not file.is_file():
            raise SettingError(
                f"{path}: {name}.dataset.ann_file: {file} is not there: give the data set's "
                f'place with --cfg-options {name}.dataset.data_root=...'
            )
    return cfg


def annotation_file(dataset: dict) -> Optional[Path]:
    """Where MMEngine looks for the annotations; None for a data set made of others."""
    file = dataset.get('ann_file')
    return Path(dataset.get('data_root') or '', file) if file else None


def check_pair(plain: Config, distilled: Config, path: str) -> None:
    """Raise a SettingError unless both configs train and test on the same data."""

    def settings(cfg: Config) -> dict:
        train, test = cfg.train_dataloader, cfg.test_dataloader
        return {
            **{f'train_dataloader.{k}': train.get(k) for k in ('batch_size', 'num_workers')},
            'train_dataloader.sampler': train.get('sampler'),
            'train_dataloader.dataset.ann_file': annotation_file(train.dataset),
            'test_dataloader.dataset.ann_file': annotation_file(test.dataset),
        }

    one, two = settings(plain), settings(distilled)
    for key in one:
        if one[key] != two[key]:
            raise SettingError(
                f'{path}: {key}={two[key]}, the plain config has {one[key]}: '
                'both must see the same data in the same order'
            )


# --------------------------------------------------------------------- length of the run


def stretch(cfg: Config, epochs: int) -> None:
    """Train for so many epochs, with everything that counts epochs moved in proportion.

    Schedulers that count iterations (warm-ups) stay as they are.

    Raises:
        SettingError: A scheduler cannot be stretched.
    """
    old = cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    if epochs == old:
        return

    def scaled(value):
        if isinstance(value, (list, tuple)):
            return [scaled(v) for v in value]
        return max(round(value * epochs / old), 0 if value == 0 else 1)

    schedulers = cfg.get('param_scheduler') or []
    for i, one in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        key = f'param_scheduler.{i}' if isinstance(schedulers, list) else 'param_scheduler'
        if not isinstance(one.get('type'), str):
            raise SettingError(f'{key}: cannot be stretched from {old} to {epochs} epochs: {one}')
        if not one.get('by_epoch', True):
            continue
        kind = one['type'].rpartition('.')[2]
        for ending in ('LR', 'Momentum', 'ParamScheduler'):
            kind = kind.removesuffix(ending)
        if kind not in SCHEDULERS:
            raise SettingError(
                f'{key}.type={one["type"]!r} cannot be stretched from {old} to {epochs} epochs: '
                f'give one of {", ".join(f"{k}LR" for k in SCHEDULERS)}, or a config with '
                f'train_cfg.max_epochs={epochs} (and --no-equal-wall-time)'
            )
        whole_span = one.get('T_max') == one.get('end', old) - one.get('begin', 0)
        for field in ('begin', 'end', *SCHEDULERS[kind]):
            if field in one:
                one[field] = scaled(one[field])
        if 'end' in one:
            one['end'] = max(one['end'], one.get('begin', 0) + 1)
        if 'T_max' in one and whole_span:
            one['T_max'] = one.get('end', epochs) - one.get('begin', 0)
    for hook in cfg.get('custom_hooks') or []:
        if 'switch_epoch' in hook:
            hook['switch_epoch'] = scaled(hook['switch_epoch'])


# ----------------------------------------------------------------------- size of the data


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
        data = json.loads(raw)
        if not isinstance(data, dict) or not {'images', 'annotations'} <= data.keys():
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


def is_person(annotation: dict) -> bool:
    """Whether MMPose trains on this annotation: one person with at least one joint."""
    labelled = annotation.get('num_keypoints', sum(v > 0 for v in annotation['keypoints'][2::3]))
    return bool(labelled) and not annotation.get('iscrowd')
