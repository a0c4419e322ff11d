"""One way to refuse a setting: its config key, what was found, what to give instead.

Every check takes the value and the name of its config key (``'head.kd_loss.temperature'``) and
returns the value, so that it can stand where the setting is stored. All of them raise a
``ValueError`` made by :func:`refusal`; MMEngine builds models and hooks before the training, so
that is when the message is seen. True and False are no numbers, infinity and NaN neither, nor
what float32 (whole numbers: int64) cannot hold. Texts and bytes are no lists.
"""

from __future__ import annotations

import copy
import inspect
import math
import os
from collections.abc import Collection, Sequence
from typing import Callable, Optional, TypeVar

import torch
from mmengine.registry import WEIGHT_INITIALIZERS

T = TypeVar('T')

FLOAT32, INT64 = torch.finfo(torch.float32), torch.iinfo(torch.int64)

SHOWN = 200  # characters of what was found

LARGEST = 2**14  # of a picture's side, a layer's channels, a number of keypoints


def refusal(key: str, found, give: str) -> ValueError:
    """The error to raise for a setting: ``key=found: give ...``.

    Args:
        key: Name of the config key.
        found: What stands there.
        give: What to put there, as the rest of a sentence: ``'give a number above 0'``.
    """
    shown = repr(found)
    if len(shown) > SHOWN:
        shown = f'{shown[:SHOWN]}...'
    return ValueError(f'{key}={shown}: {give}')


def is_number(value) -> bool:
    """Whether a setting is a finite number; True and False are none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return value == 0 or FLOAT32.tiny <= abs(value) <= FLOAT32.max


def is_whole(value) -> bool:
    """Whether a setting is a whole number; True and False are none, nor is 2.0."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and INT64.min <= value <= INT64.max


def is_list(value) -> bool:
    """Whether a setting is a list or tuple; to Python texts and bytes are sequences as well."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _range(kind: str, least, above, most, below) -> str:
    """The range in words: ``'a number above 0, at most 1'``."""
    words = [
        *([] if least is None else [f'{least} or more']),
        *([] if above is None else [f'above {above}']),
        *([] if most is None else [f'at most {most}']),
        *([] if below is None else [f'below {below}']),
    ]
    if words and not words[0].startswith(('above', 'below')):
        kind += ','
    return ' '.join([kind, ', '.join(words)]).strip()


def _inside(value, least, above, most, below) -> bool:
    return (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )


def checked_number(
    value,
    key: str,
    least: Optional[float] = None,
    above: Optional[float] = None,
    most: Optional[float] = None,
    below: Optional[float] = None,
    optional: bool = False,
):
    """A finite number of a range.

    Args:
        value: The setting.
        key: Name of its config key.
        least, most: Bounds that may be reached.
        above, below: Bounds that may not.
        optional: Whether None is a setting too.

    Raises:
        ValueError: It is not such a number.
    """
    if optional and value is None:
        return value
    if not is_number(value) or not _inside(value, least, above, most, below):
        finite = isinstance(value, (int, float)) and -math.inf < value < math.inf
        lost = finite and not isinstance(value, bool) and not is_number(value)
        kind = f'a number{" that float32 holds" if lost else ""}'
        end = ', or None' if optional else ''
        raise refusal(key, value, f'give {_range(kind, least, above, most, below)}{end}')
    return value


def checked_whole(
    value,
    key: str,
    least: Optional[int] = None,
    most: Optional[int] = None,
    optional: bool = False,
    of: str = '',
):
    """A whole number of a range.

    Args:
        value, key, least, most, optional: As for :func:`checked_number`.
        of: What is counted, for the message: ``'epochs'``.

    Raises:
        ValueError: It is not such a number.
    """
    if optional and value is None:
        return value
    if not is_whole(value) or not _inside(value, least, None, most, None):
        kind = f'a whole number{" of " + of if of else ""}'
        end = ', or None' if optional else ''
        raise refusal(key, value, f'give {_range(kind, least, None, most, None)}{end}')
    return value


def checked_weight(value, key: str):
    """A loss's weight: a number, 0 or more.

    Raises:
        ValueError: It is not such a number.
    """
    return checked_number(value, key, least=0)


def checked_factor(value, key: str, optional: bool = False):
    """A temperature, or another factor of logits: above 0, and of a size that can be squared.

    Raises:
        ValueError: It is not such a number.
    """
    return checked_number(value, key, above=0, most=10**6, optional=optional)


def checked_bool(value, key: str) -> bool:
    """True or False; a text like ``'no'`` would count as True.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(value, bool):
        raise refusal(key, value, 'give True or False')
    return value


def checked_choice(value: T, key: str, choices: Collection, optional: bool = False) -> T:
    """One of some names.

    Raises:
        ValueError: It is none of them.
    """
    known = isinstance(value, (str, bool, int, float)) and value in choices
    if known or (optional and value is None):
        return value
    names = ', '.join(repr(choice) for choice in choices)
    raise refusal(key, value, f'choose one of {names}{", or None" if optional else ""}')


def checked_name(value, key: str, optional: bool = False):
    """A text that is not empty.

    Raises:
        ValueError: It is no such text.
    """
    if optional and value is None:
        return value
    if not isinstance(value, str) or not value.strip():
        raise refusal(key, value, f'give a name{", or None" if optional else ""}')
    return value


def checked_path(value, key: str, optional: bool = False) -> Optional[str]:
    """A file, folder or address as a text, from one that is not empty or from a ``Path``.

    Raises:
        ValueError: It is none of these.
    """
    return checked_name(
        os.fspath(value) if isinstance(value, os.PathLike) else value, key, optional
    )


def checked_numbers(
    values, key: str, count: Optional[int] = None, above: Optional[float] = None
) -> tuple:
    """A list of finite numbers.

    Args:
        values: The setting.
        key: Name of its config key.
        count: How many there must be.
        above: What each must be above.

    Raises:
        ValueError: It is no such list.
    """
    good = is_list(values)
    good = good and all(is_number(v) and _inside(v, None, above, None, None) for v in values)
    if not good or (count is not None and len(values) != count):
        many = '' if count is None else f'{count} '
        more = '' if above is None else f' above {above}'
        raise refusal(key, values, f'give a list of {many}numbers{more}')
    return tuple(values)


def checked_size(values, key: str, order: str = 'width, height') -> tuple[int, int]:
    """Two whole numbers, from 1 to :data:`LARGEST`.

    Args:
        values: The setting.
        key: Name of its config key.
        order: What they are, for the message.

    Raises:
        ValueError: They are not.
    """
    good = is_list(values) and len(values) == 2
    if not good or not all(is_whole(v) and 0 < v <= LARGEST for v in values):
        raise refusal(key, values, f'give ({order}), whole numbers, 1 or more, at most {LARGEST}')
    return tuple(values)


def checked_wholes(
    values, key: str, least: int = 1, most: int = LARGEST, optional: bool = False
) -> Optional[tuple[int, ...]]:
    """A list of whole numbers of a range, such as the channels of some layers.

    Raises:
        ValueError: It is no such list.
    """
    if optional and values is None:
        return None
    if not is_list(values) or not all(is_whole(v) and least <= v <= most for v in values):
        end = ', or None' if optional else ''
        raise refusal(key, values, f'give a list of whole numbers, {least} to {most}{end}')
    return tuple(values)


def checked_names(values, key: str) -> tuple[str, ...]:
    """A list of texts that are not empty, each once.

    Raises:
        ValueError: It is no such list.
    """
    good = is_list(values) and all(isinstance(v, str) and v.strip() for v in values)
    if not good or len(set(values)) < len(values):
        raise refusal(key, values, 'give a list of names, each once')
    return tuple(values)


def checked_dict(value, key: str, optional: bool = False):
    """A dict.

    Raises:
        ValueError: It is no dict.
    """
    if optional and value is None:
        return value
    if not isinstance(value, dict):
        raise refusal(key, value, f'give a dict{", or None" if optional else ""}')
    return value


def checked_dicts(values, key: str) -> Sequence[dict]:
    """A list of dicts.

    Raises:
        ValueError: It is no such list.
    """
    if not is_list(values) or not all(isinstance(value, dict) for value in values):
        raise refusal(key, values, 'give a list of dicts')
    return values


def checked_init(value, key: str):
    """``init_cfg``: a config of one of MMEngine's weight initialisers, a list of them, or None.

    Raises:
        ValueError: It is no such config, or an initialiser cannot be built.
    """
    entries = (
        {f'{key}[{i}]': one for i, one in enumerate(value)} if is_list(value) else {key: value}
    )
    for where, one in entries.items() if value is not None else ():
        if isinstance(one, dict):  # MMEngine reads 'override' itself
            one = {name: setting for name, setting in one.items() if name != 'override'}
        built_by(WEIGHT_INITIALIZERS, one, where)
    return value


def built(kind: Callable[..., T], settings: dict, key: str, *arguments) -> T:
    """What a dict of settings builds, which is told its config key.

    Args:
        kind: A class that takes ``key``.
        settings: Its arguments, from a config.
        key: Name of the config key that holds them.
        arguments: What is not from the config, first.

    Raises:
        ValueError: A setting is missing, unknown or out of its range.
    """
    if not isinstance(settings, dict):
        raise refusal(key, settings, 'give a dict')
    if 'key' in settings:
        raise refusal(f'{key}.key', settings['key'], 'it is no setting, leave it out')
    signature = inspect.signature(kind)
    names = [name for name in [*signature.parameters][len(arguments) :] if name != 'key']
    try:
        signature.bind(*arguments, **settings, key=key)
    except TypeError as error:
        raise refusal(key, settings, f'{error}; what to give: {", ".join(names)}') from error
    try:
        return kind(*arguments, **settings, key=key)
    except TypeError as error:
        raise refusal(key, settings, str(error)) from error


def built_by(registry, config: dict, key: str):
    """What a registry (``MODELS``) builds of a config, which stays as it is.

    Args:
        registry: With ``build(config)``.
        config: A dict with ``type``, and the arguments of that class.
        key: Name of the config key that holds it.

    Raises:
        ValueError: It is no such dict, its type is not known, or the class refuses an argument.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise refusal(key, config, 'give a config, a dict with a type')
    try:
        return registry.build(copy.deepcopy(config))
    except ValueError as error:
        raise ValueError(f'{key}: {error}') from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError) as error:
        why = error.args[0] if error.args else type(error).__name__
        give = 'give a type that is registered, and the settings that it takes'
        raise refusal(
            f'{key}.type', config['type'], f'it cannot be built ({why}): {give}'
        ) from error


def check_keypoint_count(
    found: Optional[int], wanted: Optional[int], where: str, other: str, give: str
) -> None:
    """Refuse two parts with different numbers of keypoints; None is not known, and fits.

    Args:
        found: K of the part that is looked at.
        wanted: K of the one that it has to fit.
        where: The first's config key, and a verb: ``'teachers[0] has'``.
        other: The second, for the message: ``'the student'``.
        give: What to put there.

    Raises:
        ValueError: They differ.
    """
    if None not in (found, wanted) and found != wanted:
        raise ValueError(f'{where} {found} keypoints, {other} has {wanted}: {give}')
