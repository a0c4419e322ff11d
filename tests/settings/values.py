"""Wrong values for any setting, and what a refusal of one has to say."""

from __future__ import annotations

import copy
import inspect
import math
import re

HUGE = 10**9  # allocates or hangs where it is a size or a number of things


class Thing:
    """An object that no setting can be."""

    def __repr__(self):
        return '<a thing>'


#: by the name that the lists of meaningful values use
VALUES = {
    'nan': math.nan,
    'inf': math.inf,
    '-inf': -math.inf,
    '-1': -1,
    '0': 0,
    '2.5': 2.5,
    'huge': HUGE,
    '1e300': 1e300,
    '1e-300': 1e-300,
    '10**400': 10**400,
    "''": '',
    "'  '": '  ',
    "'no'": 'no',
    "'False'": 'False',
    'None': None,
    'True': True,
    'False': False,
    '[]': [],
    '{}': {},
    '[True, True]': [True, True],
    "[1, 'a']": [1, 'a'],
    '[1, 1]': [1, 1],
    '[-1, -1]': [-1, -1],
    '[huge, huge]': [HUGE + 1, HUGE + 1],
    "['no', 'no']": ['no', 'no'],
    '[None]': [None],
    '[{}]': [{}],
    '[dict(unknown=1)]': [dict(unknown=1)],
    "[dict(type='Unknown')]": [dict(type='Unknown')],
    'object()': Thing(),
    'bytes': b'\x02\x02',
    'one byte': b'\x00',
    'dict(unknown=1)': dict(unknown=1),
    "dict(type='Unknown')": dict(type='Unknown'),
    'dict(type=3)': dict(type=3),
}

#: what a refusal offers to do
REMEDY = re.compile(r'\b(give|choose|set|leave|remove|name)\b')


def wrong_values(parameter: inspect.Parameter) -> dict:
    """Values that are not of the kind that the signature asks for."""
    annotation = str(parameter.annotation)
    right = []
    if re.search(r'\bbool\b', annotation):
        right += ['True', 'False']
    if re.search(r'\bfloat\b', annotation):
        right.append('2.5')
    return {label: copy.deepcopy(v) for label, v in VALUES.items() if label not in right}


def complaints(error: Exception, name: str, value) -> list[str]:
    """What the message of a refusal lacks: the key, what was found, what to do."""
    text = str(error)
    lacks = []
    if not isinstance(error, (ValueError, TypeError, KeyError)):
        lacks.append(f'is a {type(error).__name__}')
    if not re.search(rf'\b{name}\b', text):
        lacks.append('does not name the key')
    counted = isinstance(value, list) and f'has {len(value)} entries' in text
    if not counted and not any(_shown(part, text) for part in _parts(value)):
        lacks.append('does not show what was found')
    if not REMEDY.search(text):
        lacks.append('does not say what to give')
    return lacks


def _parts(value) -> list:
    """A value, or one of those in it that the message is about."""
    if isinstance(value, dict):
        return [value, *value, *value.values()]
    if isinstance(value, list):
        return [value, *(part for one in value for part in _parts(one))]
    return [value]


def _shown(value, text: str) -> bool:
    shown = repr(value)
    if len(shown) > 60:  # it may be shortened
        return shown[:40] in text
    return re.search(rf'(?<![\w.]){re.escape(shown)}(?!\w)', text) is not None
