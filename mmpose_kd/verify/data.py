"""The files of a config's data sets: moved to another folder, and looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..core.checks import refusal

#: parts of a config that name files of data sets
PARTS = ('train_dataloader', 'val_dataloader', 'val_evaluator')


def datasets_in(cfg: dict) -> Iterator[tuple[str, dict]]:
    """The configs of training and validation data sets, with those that they are made of.

    Args:
        cfg: A whole config.

    Returns:
        Config keys and dicts: ``('train_dataloader.dataset', {...})``.
    """

    def of(key: str, dataset) -> Iterator[tuple[str, dict]]:
        if not isinstance(dataset, dict):
            return
        yield key, dataset
        for i, inner in enumerate(dataset.get('datasets') or []):
            yield from of(f'{key}.datasets.{i}', inner)
        yield from of(f'{key}.dataset', dataset.get('dataset'))

    for part in ('train_dataloader', 'val_dataloader'):
        yield from of(f'{part}.dataset', (cfg.get(part) or {}).get('dataset'))


def put_at(cfg: dict, root: str) -> None:
    """Read a config's data sets from another folder, in place.

    It stands for the config's ``data_root``, in every name of a file that begins with that:
    annotations, pictures, detection boxes, the evaluator's. Where data sets have several, it
    stands for the folder that they have in common.

    Args:
        cfg: A whole config.
        root: The folder.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: No data set of the config has a ``data_root``, or they have nothing in common.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f'--data-root {root}: there is no such folder')
    roots = {one.get('data_root') for _, one in datasets_in(cfg)} - {None, ''}
    try:
        old = os.path.commonpath(sorted(map(os.path.normpath, roots)))
    except ValueError:  # there is none, or one is absolute and one is not
        old = ''
    if old in ('', os.sep):
        raise ValueError(
            f'--data-root {root}: the data sets of the config have no data_root in common that it '
            'can stand for: give --cfg-options train_dataloader.dataset.data_root=DIR, ...'
        )

    def moved(node):
        if isinstance(node, str) and '://' not in node:
            place = os.path.normpath(node)  # './data//coco/' is 'data/coco' as well
            if place == old or place.startswith(f'{old}/'):
                slash = '/' if node.endswith('/') else ''
                return str(Path(root)) + place[len(old) :] + slash
        if isinstance(node, dict):
            for name in node:
                node[name] = moved(node[name])
        elif isinstance(node, (list, tuple)):
            return type(node)(map(moved, node))
        return node

    for part in PARTS:
        if cfg.get(part):
            cfg[part] = moved(cfg[part])


def missing_files(cfg: dict) -> Iterator[str]:
    """What data sets and evaluators name and is not there: key, path, and what to put there."""
    lacking: set[str] = set()  # folders, of which everything else is missing too
    for key, dataset in datasets_in(cfg):
        root = dataset.get('data_root') or ''
        if _is_lost(root):
            if root not in lacking:
                wanted = ', '.join(_files_of(dataset).values())
                yield str(refusal(f'{key}.data_root', root, f'no such folder: {_give(wanted)}'))
            lacking.add(root)
            continue
        for name, path in _files_of(dataset).items():
            whole = path if name in DIRECT else _join(root, path)
            if _is_lost(whole) and not _is_in(whole, lacking):
                kind = 'folder of pictures' if name.startswith('data_prefix') else 'file'
                where = 'not there' if whole == path else f'{whole} is not there'
                text = f'{where}: {_give(f"this {kind}")}'
                if name == 'bbox_file':
                    text += ', or bbox_file=None to validate on the labelled boxes'
                yield str(refusal(f'{key}.{name}', path, text))
    for name, path in _annotations(cfg.get('val_evaluator'), 'val_evaluator'):
        if _is_lost(path) and not _is_in(path, lacking):
            text = (
                'not there: put the annotations of the validation there, or name your own, or '
                f'{_MOVE}'
            )
            yield str(refusal(name, path, text))


#: files that MMPose's data sets do not join with data_root
DIRECT = ('bbox_file', 'headbox_file')

_MOVE = "give the data set's folder by --data-root"


def _give(what: str) -> str:
    return f'put {what or "the data set"} there, or {_MOVE}'


def _is_lost(path: str) -> bool:
    return bool(path) and '://' not in path and not os.path.exists(path)


def _is_in(path: str, folders: set[str]) -> bool:
    return any(f'{path}/'.startswith(f'{folder.rstrip("/")}/') for folder in folders)


def _join(root: str, path: str) -> str:
    return path if os.path.isabs(path) else os.path.join(root, path)


def _files_of(dataset: dict) -> dict[str, str]:
    """Files and folders that a data set reads, by their keys in its config."""
    found = {k: v for k, v in dataset.items() if k.endswith('_file') and isinstance(v, str) and v}
    prefix = dataset.get('data_prefix')
    for name, folder in (prefix if isinstance(prefix, dict) else {}).items():
        if isinstance(folder, str) and folder:
            found[f'data_prefix.{name}'] = folder
    return found


def _annotations(evaluator, key: str) -> Iterator[tuple[str, str]]:
    """Files of annotations that evaluators read, by their config keys."""
    if isinstance(evaluator, (list, tuple)):
        for i, one in enumerate(evaluator):
            yield from _annotations(one, f'{key}.{i}')
    elif isinstance(evaluator, dict):
        if isinstance(evaluator.get('ann_file'), str):
            yield f'{key}.ann_file', evaluator['ann_file']
        for name in ('metrics', 'metric'):
            if isinstance(evaluator.get(name), (list, tuple, dict)):
                yield from _annotations(evaluator[name], f'{key}.{name}')
