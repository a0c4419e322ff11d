"""From the user's config to the one that a run trains with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmpose.registry import KEYPOINT_CODECS

from .files import write_text


class SettingError(ValueError):
    """Something given to the harness does not work; the message says what to give."""


NEEDED = ('model', 'train_cfg', 'train_dataloader', 'test_dataloader', 'test_evaluator')

#: schedulers that may count iterations: they last as long however long the training is
WARM_UPS = ('Constant', 'Linear', 'QuadraticWarmup')

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
    start = cfg.get('load_from')
    if start and not (is_address(start) or Path(start).is_file()):
        raise SettingError(
            f'{path}: load_from: {start} is not there: give a checkpoint (file or https address), '
            'or init_cfg=dict(type="Pretrained", ...) to the backbone'
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


def is_address(source: str) -> bool:
    """Whether weights are to be fetched from the net."""
    return str(source).startswith(('http://', 'https://'))


def check_pair(plain: Config, distilled: Config, path: str) -> None:
    """Raise a SettingError unless both configs train and test on the same data.

    The distilled model starts from the plain one's weights, so its config needs no ``load_from``.
    """
    for key, one, two in differences(_data(plain), _data(distilled)):
        raise SettingError(
            f'{path}: {key}={short(two)}, the plain config has {short(one)}: '
            'both must see the same data in the same order, with the same augmentation'
        )
    one, two = plain.get('load_from'), distilled.get('load_from')
    if two and two != one:
        raise SettingError(
            f'{path}: load_from={two!r}, the plain config has {one!r}: give the plain config the '
            'weights to start from, they are taken for the distilled model too'
        )


#: of a data loader, what changes neither the samples nor their order
LOADER_ONLY = ('persistent_workers', 'pin_memory', 'prefetch_factor')


def _data(cfg: Config) -> dict:
    """What decides on the samples of training and test."""
    loaders = ('train_dataloader', 'test_dataloader')
    found = {name: deployed_codecs(as_json(cfg[name])) for name in loaders}
    for loader in found.values():
        for key in LOADER_ONLY:
            loader.pop(key, None)
        dataset = loader['dataset']
        root = dataset.pop('data_root', None) or ''  # the same place can be told in two ways
        if dataset.get('ann_file'):
            dataset['ann_file'] = str(Path(root, dataset['ann_file']))
        if isinstance(dataset.get('data_prefix'), dict):
            folders = dataset['data_prefix'].items()
            dataset['data_prefix'] = {k: str(Path(root, v or '')) for k, v in folders}
    for key in ('batch_size', 'num_workers'):
        found['test_dataloader'].pop(key, None)
    hooks = deployed_codecs(as_json(cfg.get('custom_hooks') or []))
    found['custom_hooks'] = [hook for hook in hooks if 'switch_pipeline' in hook]
    return found


def as_json(setting):
    """A setting as plain lists and dicts, without the scopes that MMEngine adds."""

    def without_scope(found: dict) -> dict:
        return {key: value for key, value in found.items() if key != '_scope_'}

    return json.loads(json.dumps(setting, default=repr), object_hook=without_scope)


def deployed_codecs(setting):
    """The setting with the deployed head's codec where one makes targets for training as well."""
    if isinstance(setting, list):
        return [deployed_codecs(value) for value in setting]
    if not isinstance(setting, dict):
        return setting
    kind = setting.get('type')
    codec = KEYPOINT_CODECS.module_dict.get(kind) if isinstance(kind, str) else None
    if hasattr(codec, 'plain'):
        return deployed_codecs(codec.plain(setting))
    return {key: deployed_codecs(value) for key, value in setting.items()}


def differences(old, new, key: str = '') -> list[tuple]:
    """Where two settings differ: key, old and new value; None is the same as missing."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [d for k in keys for d in differences(old.get(k), new.get(k), f'{key}.{k}')]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [d for i in range(len(old)) for d in differences(old[i], new[i], f'{key}.{i}')]
    return [] if old == new else [(key[1:], old, new)]


def short(value) -> str:
    """A value in at most 60 letters."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


# --------------------------------------------------------------------- length of the run


def stretch(cfg: Config, epochs: int) -> None:
    """Train for so many epochs, with everything that counts epochs moved in proportion.

    Warm-ups that count iterations stay as they are.

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
        kind = one['type'].rpartition('.')[2]
        for ending in ('LR', 'Momentum', 'ParamScheduler'):
            kind = kind.removesuffix(ending)
        if not one.get('by_epoch', True):
            if kind in WARM_UPS:
                continue
            raise SettingError(
                f'{key}.by_epoch=False: a {one["type"]} that counts iterations cannot be '
                f'stretched from {old} to {epochs} epochs: let it count epochs (by_epoch=True, '
                'and convert_to_iter_based=True to change at each iteration), or give a config '
                f'with train_cfg.max_epochs={epochs} (and --no-equal-wall-time)'
            )
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
        try:
            data = json.loads(raw)
        except ValueError:
            data = None
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
    visible = annotation.get('keypoints', [])[2::3]
    labelled = annotation.get('num_keypoints', sum(v > 0 for v in visible))
    return bool(labelled) and not annotation.get('iscrowd')
