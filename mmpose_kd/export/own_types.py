"""Which types of a config are this package's, however they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Optional

import mmpose.registry
from mmengine.registry import Registry
from torch import nn

PACKAGE = __name__.partition('.')[0]


class StudentWarning(UserWarning):
    """The exported student is not in every part what one might expect."""


def own_class(kind) -> Optional[type]:
    """The class of this package that a ``type`` of a config is, or is the name of.

    Args:
        kind: A class, its name, with its scope (``'mmpose.OKDHPHead'``) or its whole path
            (``'mmpose_kd.okdhp.OKDHPHead'``), as MMEngine allows.
    """
    if isinstance(kind, str):
        scope, _, name = kind.rpartition('.')
        known = scope.partition('.')[0] in ('', 'mmpose', PACKAGE)
        classes = [r.module_dict[name] for r in _registries() if known and name in r.module_dict]
    else:
        classes = [kind] if isinstance(kind, type) else []
    return next((c for c in classes if _is_own(c)), None)


def _registries() -> list[Registry]:
    return [r for r in vars(mmpose.registry).values() if isinstance(r, Registry)]


def _is_own(cls: type) -> bool:
    return cls.__module__.partition('.')[0] == PACKAGE


def _is_kept(cls: type) -> bool:
    return getattr(cls, 'kept_in_student', False) is True


def training_hooks(cfg: dict) -> list[dict]:
    """The hooks of a run that teach the model: it may be a plain one for all that."""
    hooks = cfg.get('custom_hooks') or []
    return [
        hook for hook in hooks if getattr(own_class(hook.get('type')), 'trains_student', False)
    ]


def own_parts(node, kept: bool, key: str = '') -> list[str]:
    """Keys of a config under which something of this package is asked for.

    Args:
        node: The config.
        kept: Tell of the classes that stay in a student (``kept_in_student``), else of others.
        key: Where the node is.
    """
    if isinstance(node, dict):
        own = own_class(node.get('type'))
        found = own is not None and _is_kept(own) is kept
        here = [f"{key}type='{node['type']}'"] if found else []
        return here + [line for k, v in node.items() for line in own_parts(v, kept, f'{key}{k}.')]
    if isinstance(node, (list, tuple)):
        return [line for i, v in enumerate(node) for line in own_parts(v, kept, f'{key}{i}.')]
    return []


def traces(text: str, model: nn.Module) -> Iterator[str]:
    """What of this package is left in an exported student, apart from what may stay.

    Args:
        text: Its config as it is written.
        model: The model that the config builds.
    """
    names = {c.__name__ for r in _registries() for c in r.module_dict.values() if _is_own(c)}
    for found in re.finditer(r"\btype\s*=\s*'([\w.]+)'|'type'\s*:\s*'([\w.]+)'", text):
        kind = found[1] or found[2]
        own = own_class(kind) if kind.rpartition('.')[2] in names else None
        if own is not None and not _is_kept(own):
            yield f'student.py: type={kind!r}'
    kept: tuple[str, ...] = ()  # names of modules that may stay, with all that is in them
    for name, module in model.named_modules():
        if any(_is_kept(cls) for cls in type(module).__mro__):
            kept += (f'{name}.',)
        elif _is_own(type(module)) and not name.startswith(kept):
            yield f'the model: {name or "itself"} is a {type(module).__name__}'
