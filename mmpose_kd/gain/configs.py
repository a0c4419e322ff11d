"""Reading the user's configs, and refusing a pair that cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS

from ..core.checkpoints import is_url
from ..core.checks import is_whole
from ..core.config_file import ConfigError, merge_options, read_config
from ..core.recipe import type_name


class SettingError(ValueError):
    """Something given to the harness does not work; the message says what to give."""


NEEDED = ('model', 'train_cfg', 'train_dataloader', 'test_dataloader', 'test_evaluator')


def load_config(path: str, options: Optional[dict] = None) -> Config:
    """Read a config and check what the harness needs of it.

    Args:
        path: The config.
        options: Changes, as ``--cfg-options`` gives them.

    Raises:
        SettingError: The file or something in it is missing.
    """
    if '::' not in path and not Path(path).is_file():  # mmpose::... is an installed one
        raise SettingError(f'{path}: no such config')
    try:
        cfg = read_config(path)
        merge_options(cfg, options)
    except ConfigError as error:
        raise SettingError(str(error)) from error
    missing = [key for key in NEEDED if not cfg.get(key)]
    if missing:
        raise SettingError(f'{path} has no {", ".join(missing)}: add it')
    for key in ('model', 'train_cfg', 'train_dataloader', 'test_dataloader'):
        if not isinstance(cfg[key], dict):
            raise SettingError(f'{path}: {key}={short(cfg[key])}: give a dict')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) and not isinstance(cfg[name].get('dataset'), dict):
            raise SettingError(f'{path}: {name}.dataset: give a dict')
    max_epochs = cfg.train_cfg.get('max_epochs')
    if not is_whole(max_epochs) or max_epochs < 1 or not cfg.train_cfg.get('by_epoch', True):
        raise SettingError(
            f'{path}: train_cfg={dict(cfg.train_cfg)} does not count epochs: '
            'give by_epoch=True and max_epochs'
        )
    evaluator = cfg.test_evaluator
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        if type_name(evaluator) not in (None, 'Evaluator'):
            raise SettingError(
                f'{path}: test_evaluator.type={evaluator["type"]!r}: give the metrics of one data '
                'set, a dict or a list of them'
            )
        cfg.test_evaluator = evaluator['metrics']
    start = cfg.get('load_from')
    if start and not (is_url(start) or Path(start).expanduser().is_file()):
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
    found = {name: seen_by_student(as_json(cfg[name])) for name in loaders}
    for loader in found.values():
        for key in LOADER_ONLY:
            loader.pop(key, None)
        dataset = loader['dataset']
        root = dataset.pop('data_root', None) or ''  # the same place can be written in two ways
        if dataset.get('ann_file'):
            dataset['ann_file'] = str(Path(root, dataset['ann_file']))
        if isinstance(dataset.get('data_prefix'), dict):
            folders = dataset['data_prefix'].items()
            dataset['data_prefix'] = {k: str(Path(root, v or '')) for k, v in folders}
    for key in ('batch_size', 'num_workers'):
        found['test_dataloader'].pop(key, None)
    hooks = seen_by_student(as_json(cfg.get('custom_hooks') or []))
    found['custom_hooks'] = [hook for hook in hooks if 'switch_pipeline' in hook]
    return found


def as_json(setting):
    """A setting as plain lists and dicts, without the scopes that MMEngine adds.

    A class counts as its name.
    """

    def without_scope(found: dict) -> dict:
        return {key: value for key, value in found.items() if key != '_scope_'}

    def text(value) -> str:
        return value.__name__ if isinstance(value, type) else repr(value)

    return json.loads(json.dumps(setting, default=text), object_hook=without_scope)


def seen_by_student(setting):
    """The setting without what a teacher alone sees, and with the deployed head's codec.

    Crops of a teacher's own, and targets for training alone, change nothing for the student.
    :class:`FixedAugmentations` stays whole: its pictures depend on each of its steps.
    """
    if isinstance(setting, list):
        found = [(value, seen_by_student(value)) for value in setting]
        return [seen for value, seen in found if seen is not None or value is None]
    kind = type_name(setting) if isinstance(setting, dict) else None
    if kind is None or kind == 'FixedAugmentations':
        return setting
    own = KEYPOINT_CODECS.module_dict.get(kind) or TRANSFORMS.module_dict.get(kind)
    if hasattr(own, 'plain'):
        return seen_by_student(own.plain(setting))
    return {key: seen_by_student(value) for key, value in setting.items()}


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
