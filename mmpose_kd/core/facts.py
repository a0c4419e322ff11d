"""Facts that a checkpoint states of itself, compared with what it is used for."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Optional

from .checks import is_number, is_whole
from .config_text import literal_config

ORDER = ('bgr_to_rgb', 'rgb_to_bgr')


def meta_of(saved: dict) -> dict:
    """``meta`` of a checkpoint, {} if it has none."""
    meta = saved.get('meta')
    return meta if isinstance(meta, dict) else {}


def stated_dataset(saved: dict) -> dict:
    """``dataset_meta`` of a checkpoint, {} if it has none; ``flip_indices`` if they are some."""
    found = meta_of(saved).get('dataset_meta')
    found = dict(found) if isinstance(found, dict) else {}
    flip = found.get('flip_indices')
    numbers = isinstance(flip, (list, tuple)) and all(isinstance(k, Integral) for k in flip)
    if not numbers or sorted(flip) != list(range(len(flip))):
        found.pop('flip_indices', None)
    return found


def stated_config(saved: dict) -> dict:
    """The config of the run that wrote a checkpoint, in plain values; {} if it does not say."""
    return literal_config(meta_of(saved).get('cfg'))


def keypoint_names(dataset_meta) -> dict:
    """``keypoint_id2name`` of a data set's meta data, {} if there is none."""
    names = dataset_meta.get('keypoint_id2name') if isinstance(dataset_meta, dict) else None
    known = isinstance(names, dict) and all(isinstance(name, str) for name in names.values())
    return names if known and all(is_whole(number) for number in names) else {}


def flip_problem(dataset_meta: dict) -> Optional[str]:
    """What is wrong with a data set's mirror images, in words; None if nothing is.

    A keypoint whose partner has another partner would be trained on a wrong place in every
    mirrored picture. MMPose does not look at it.

    Args:
        dataset_meta: As MMPose's data sets have it, with ``flip_indices``.
    """
    flip, names = dataset_meta.get('flip_indices'), keypoint_names(dataset_meta)
    if not isinstance(flip, (list, tuple)) or not all(isinstance(k, Integral) for k in flip):
        return None
    for k, other in enumerate(flip):
        if not 0 <= other < len(flip) or flip[other] != k:
            one, two = (names.get(n, n) for n in (k, other))
            return (
                f'keypoint {k} ({one}) changes places in a mirror with {other} ({two}), which '
                'does not with it: write the partner into `swap` of both, and no name twice'
            )
    return None


def keypoint_differences(stated: dict, used: dict) -> list[str]:
    """``'3: nose, left_eye'`` for each number that has two names, and a difference in count.

    Args:
        stated, used: Names by number; nothing is compared if one is empty.
    """
    if not stated or not used:
        return []
    found = [
        f'{k}: {name}, {stated[k]}'
        for k, name in used.items()
        if k in stated and stated[k] != name
    ]
    if len(stated) != len(used):
        found.append(f'{len(used)} keypoints, {len(stated)}')
    return found


def stated_preprocessor(config: dict) -> Optional[dict]:
    """The ``data_preprocessor`` of a whole config: in its model, a distiller's student, or beside.

    Returns:
        Its settings; None if there is none to read.
    """
    model = config.get('model')
    places = [model, model.get('student') if isinstance(model, dict) else None, config]
    for place in places:
        found = place.get('data_preprocessor') if isinstance(place, dict) else None
        if isinstance(found, dict):
            return found
    return None


def preprocessor_differences(stated: Optional[dict], used: Optional[dict]) -> list[str]:
    """``'mean=[0, 0, 0] (here [123.7, 116.3, 103.5])'`` for each setting that changes pictures.

    Args:
        stated: Of the checkpoint; None: not known, nothing is compared.
        used: Of the config that it is used with.
    """
    if stated is None or used is None:
        return []
    found = []
    for name in ('mean', 'std'):
        one, two = stated.get(name), used.get(name)
        if not _same_numbers(one, two):
            found.append(f'{name}={one} (here {two})')
    for name in ORDER:
        one, two = bool(stated.get(name)), bool(used.get(name))
        if one != two:
            found.append(f'{name}={one} (here {two})')
    return found


def _same_numbers(one, two) -> bool:
    lists = [
        [float(x) for x in values]
        if isinstance(values, Sequence) and all(is_number(x) for x in values)
        else values
        for values in (one, two)
    ]
    one, two = lists
    if not (isinstance(one, list) and isinstance(two, list) and len(one) == len(two)):
        return one == two
    return all(abs(a - b) <= 1e-3 * max(abs(a), 1e-6) for a, b in zip(one, two))
