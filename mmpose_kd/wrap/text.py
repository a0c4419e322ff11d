"""The text of a config that inherits another and shows what distillation changes."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Optional, Union

from ..core.recipe import Recipe
from ..export.own_types import PACKAGE, own_class
from .changes import Inherited, annotate, changes, each_type, same, simplified, with_names
from .expressions import Dict, Expression, Name, comment, laid_out
from .own_run import folder_of
from .source import Source

#: comments of no single method
NOTES = {
    'custom_imports': 'registers the method',
    'custom_hooks': 'those that are inherited stay: a list replaces the inherited one',
    'work_dir': 'a folder of its own, not that of the inherited run',
}
#: where the inherited config resumes its run
RESUMED = {
    'resume': 'begins anew: what is inherited would go on with the inherited run',
    'load_from': 'the inherited one is the checkpoint that the other run was resumed from',
}


def config_text(
    source: Source,
    wanted: dict,
    recipe: Recipe,
    out: Union[str, os.PathLike],
    caution: Optional[str] = None,
) -> str:
    """The config in the file ``out`` that inherits another and says what is wanted.

    Args:
        source: The config that it inherits.
        wanted: What it has to say, all in all.
        recipe: Of the method, with its comments.
        out: Where it will stand.
        caution: What its user should know before the training.

    Raises:
        ValueError: It cannot inherit the config from there.
    """
    inherited = Inherited(source.whole, '' if source.python else '_base_.')
    found = with_names(changes(inherited, wanted, merged=not source.python))
    found = {name: simplified(node) for name, node in found.items()}
    resumed = RESUMED if source.whole.get('resume') else {}
    tops = annotate(found, {**NOTES, **recipe.notes, **resumed})
    lines = _header(source, recipe, out, folder_of(wanted, out), caution)
    lines.append(source.inheriting(out).rstrip('\n'))
    if source.python:
        used: set[str] = set()

        def imported(kind) -> Optional[Expression]:
            if own_class(kind) is None:  # in this style classes are imported
                return None
            used.add(kind)
            return Name(kind)

        each_type(found, imported)
        if used:
            first, *rest = lines[-1].split('\n')
            names = f'from {PACKAGE} import {", ".join(sorted(used))}'
            lines[-1] = '\n'.join([first, *rest, '', names])
    lines.append('')
    for name, node in found.items():
        lines += comment(tops[name]) if name in tops else []
        lines.append(_assigned(name, node, source))
    return '\n'.join(lines) + '\n'


def _header(
    source: Source,
    recipe: Recipe,
    out: Union[str, os.PathLike],
    folder: Path,
    caution: Optional[str],
) -> list[str]:
    """What the file is, and what to do with it."""
    name = Path(out).name
    own = shlex.quote(source.name if '::' in source.name else Path(source.name).name)
    return [
        *comment(f'{recipe.name.upper()}: {recipe.title}.'),
        *comment(
            f'What this adds to {own}, written by `mmpose-kd wrap`; change what you like. All '
            f'settings: docs/{recipe.page}.'
        ),
        f'#   mim train mmpose {shlex.quote(name)}',
        f'#   mmpose-kd export {shlex.quote(name)} {shlex.quote(folder.as_posix())}/epoch_<N>.pth '
        'student',
        *(comment(f'Note: {caution}.') if caution else []),
    ]


def _assigned(name: str, node: Expression, source: Source) -> str:
    """The statement that sets a top-level name."""
    if not source.python:
        return f'{name} = {laid_out(node, len(name) + 3)}'
    merged = (
        isinstance(node, Dict) and not node.delete and isinstance(source.whole.get(name), dict)
    )
    if merged and node.like is None:
        return f'{name}.merge({laid_out(node, len(name) + 8)})'
    if isinstance(node, Dict):
        node.delete = False
    return f'{name} = {laid_out(node, len(name) + 3)}'


def says_what_is_wanted(found: dict, wanted: dict, python: bool) -> bool:
    """Whether an evaluated config says what is wanted.

    Its own variables, whose names begin with ``_``, are no settings. In pure Python style a class
    of this package is imported where a recipe has its name.
    """
    found = {k: v for k, v in found.items() if k in wanted or not k.startswith('_')}
    return same(_short_types(found), _short_types(wanted)) if python else same(found, wanted)


def _short_types(node):
    if isinstance(node, dict):
        return {
            k: v.rpartition('.')[2] if k == 'type' and isinstance(v, str) else _short_types(v)
            for k, v in node.items()
        }
    return type(node)(map(_short_types, node)) if isinstance(node, (list, tuple)) else node
