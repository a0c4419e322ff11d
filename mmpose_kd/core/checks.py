"""One way to refuse a setting: its config key, what was found, what to give instead.

Every check takes the value and the name of its config key (``'head.kd_loss.temperature'``) and
returns the value, so that it can stand where the setting is stored. All of them raise a
``ValueError`` made by :func:`refusal`; MMEngine builds models and hooks before the training, so
that is when the message is seen. True and False are no numbers, infinity and NaN neither.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from typing import Callable, Optional, TypeVar

T = TypeVar('T')


def refusal(key: str, found, give: str) -> ValueError:
    """The error to raise for a setting: ``key=found: give ...``.

    Args:
        key: Name of the config key.
        found: What stands there.
        give: What to put there, as the rest of a sentence: ``'give a number above 0'``.
    """
    return ValueError(f'{key}={found!r}: {give}')


def is_number(value) -> bool:
    """Whether a setting is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value) -> bool:
    """Whether a setting is a whole number; True and False are none, nor is 2.0."""
    return isinstance(value, int) and not isinstance(value, bool)


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
        ValueError: It is none.
    """
    if optional and value is None:
        return value
    if not is_number(value) or not _inside(value, least, above, most, below):
        end = ', or None' if optional else ''
        raise refusal(key, value, f'give {_range("a number", least, above, most, below)}{end}')
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
        ValueError: It is none.
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
        ValueError: It is none.
    """
    return checked_number(value, key, least=0)


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
        ValueError: It is none.
    """
    if optional and value is None:
        return value
    if not isinstance(value, str) or not value.strip():
        raise refusal(key, value, f'give a name{", or None" if optional else ""}')
    return value


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
        ValueError: It is none.
    """
    good = isinstance(values, Sequence) and not isinstance(values, str)
    good = good and all(is_number(v) and _inside(v, None, above, None, None) for v in values)
    if not good or (count is not None and len(values) != count):
        many = '' if count is None else f'{count} '
        more = '' if above is None else f' above {above}'
        raise refusal(key, values, f'give a list of {many}numbers{more}')
    return tuple(values)


def checked_size(values, key: str, order: str = 'width, height') -> tuple[int, int]:
    """Two whole numbers, 1 or more.

    Args:
        values: The setting.
        key: Name of its config key.
        order: What they are, for the message.

    Raises:
        ValueError: They are not.
    """
    good = isinstance(values, Sequence) and not isinstance(values, str) and len(values) == 2
    if not good or not all(is_whole(v) and v > 0 for v in values):
        raise refusal(key, values, f'give ({order}), whole numbers, 1 or more')
    return tuple(values)


def checked_dict(value, key: str, optional: bool = False):
    """A dict.

    Raises:
        ValueError: It is none.
    """
    if optional and value is None:
        return value
    if not isinstance(value, dict):
        raise refusal(key, value, f'give a dict{", or None" if optional else ""}')
    return value


def checked_dicts(values, key: str) -> Sequence[dict]:
    """A list of dicts.

    Raises:
        ValueError: It is none.
    """
    good = isinstance(values, Sequence) and not isinstance(values, str)
    if not good or not all(isinstance(value, dict) for value in values):
        raise refusal(key, values, 'give a list of dicts')
    return values


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
    try:
        return kind(*arguments, **{**settings, 'key': key})
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
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        why = error.args[0] if error.args else type(error).__name__
        raise refusal(f'{key}.type', config['type'], f'it cannot be built: {why}') from error


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
