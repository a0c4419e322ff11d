"""What one whole config has and another has not, as the lines of a config that inherits it.

MMEngine merges a child's dicts into the inherited ones and replaces lists as a whole; a dict that
is to replace another needs ``_delete_=True``. Here each change is written with what is inherited
wherever that is shorter: ``_base_.model.backbone``, ``*_base_.custom_hooks``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable, Optional

from ..core.config_file import SETTINGS
from .expressions import Dict, Expression, Items, Name, Spread, Value, in_one_line, inside, is_name

SHORT = 40  # characters: what is shorter is written rather than referred to
WORTH_A_NAME = 50  # characters of a dict that is written twice

Path = tuple  # of keys and indices


def same(one, two) -> bool:
    """Whether two settings are equal, kinds of lists and numbers included."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if type(one) is not type(two):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two or (one != one and two != two)


@dataclass
class Inherited:
    """What is inherited, and how it is referred to.

    Args:
        whole: The inherited config.
        prefix: Of its names: ``'_base_.'``, or nothing in pure Python style.
    """

    whole: dict
    prefix: str = '_base_.'
    #: where each dict and list that is worth it first stands
    places: dict[str, list[Path]] = field(default_factory=dict)
    #: top-level names that mean something else by now
    gone: set[str] = field(default_factory=set)

    def __post_init__(self):
        self._note(self.whole, ())

    def _note(self, node, path: Path) -> None:
        if path and isinstance(node, (dict, list, tuple)) and len(repr(node)) > SHORT:
            self.places.setdefault(_text(node), []).append(path)
        if isinstance(node, dict):
            for key, value in node.items():
                self._note(value, (*path, key))
        elif isinstance(node, (list, tuple)):
            for i, value in enumerate(node):
                self._note(value, (*path, i))

    def name_of(self, node) -> Optional[Name]:
        """A name for a dict or list that is inherited somewhere, the shortest; else None."""
        places = [p for p in self.places.get(_text(node), ()) if p[0] not in self.gone]
        return self.at(min(places, key=_length)) if places else None

    def at(self, path: Path) -> Name:
        """The name of what stands at a place."""
        first, *rest = path
        text = f'{self.prefix}{first}'
        for key in rest:
            plain = is_name(key) and not hasattr(dict, key)
            text += f'.{key}' if plain else f'[{key!r}]'
        return Name(text)

    def get(self, path: Path):
        """What stands at a place; None where there is no such place."""
        found = self.whole
        for key in path:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def _text(node) -> str:
    """The same for settings that are the same; the order of keys does not matter."""
    if isinstance(node, Mapping):
        items = sorted((repr(k), _text(v)) for k, v in node.items())
        return '{' + ', '.join(f'{k}: {v}' for k, v in items) + '}'
    if isinstance(node, (list, tuple)):
        inner = ', '.join(map(_text, node))
        return f'[{inner}]' if isinstance(node, list) else f'({inner})'
    return repr(node)


def _length(path: Path) -> tuple[int, int, int]:
    """How long it takes to say and to look up; items of lists, which are counted, are last."""
    counted = sum(isinstance(key, int) for key in path)
    return counted, len(path), sum(len(str(key)) for key in path)


# ------------------------------------------------------------------------------ what changes


def changes(inherited: Inherited, wanted: dict, merged: bool = True) -> dict[str, Expression]:
    """What a child config has to set so that it says what is wanted, by top-level name.

    Args:
        inherited: The config that it inherits.
        wanted: What it has to say.
        merged: Whether the inherited names are still there after a child has set them, as with
            ``_base_``. In pure Python style they are the same variables.

    Raises:
        ValueError: A top-level name is missing in what is wanted: a child cannot take it away.
    """
    before = inherited.whole
    missing = [key for key in before if key not in wanted]
    if missing:
        raise ValueError(f'{", ".join(missing)}: a config that inherits cannot leave it out')
    names = [key for key in wanted if key not in before or not same(before[key], wanted[key])]
    names.sort(key=lambda name: SETTINGS.index(name) if name in SETTINGS else len(SETTINGS))
    found = {}
    for name in names:
        found[name] = _changed(inherited, wanted[name], (name,))
        if not merged:
            inherited.gone.add(name)
    return found


def _changed(inherited: Inherited, wanted, path: Path) -> Expression:
    """How a child sets what stands at a place of the inherited config."""
    before, there = inherited.get(path), inherited.get(path[:-1])
    there = isinstance(there, dict) and path[-1] in there
    if not isinstance(wanted, dict) or not there:
        return _fresh(inherited, wanted, path)
    kept = isinstance(before, dict) and before.keys() <= wanted.keys()
    if kept and before.get('type') == wanted.get('type'):
        return Dict({
            key: _changed(inherited, value, (*path, key))
            for key, value in wanted.items()
            if key not in before or not same(before[key], value)
        })  # fmt: skip
    made = _fresh(inherited, wanted, path)
    return Dict({}, like=made, delete=True) if isinstance(made, Name) else _deleting(made)


def _deleting(node: Dict) -> Dict:
    node.delete = True
    return node


def _fresh(inherited: Inherited, wanted, near: Path) -> Expression:
    """A value in full, but for what is inherited somewhere.

    Args:
        near: Where something like it is inherited, if anywhere.
    """
    if isinstance(wanted, (dict, list, tuple)):
        name = inherited.name_of(wanted)
        if name is not None:
            return name
    if isinstance(wanted, dict):
        return Dict({k: _fresh(inherited, v, (*near, k)) for k, v in wanted.items()})
    if isinstance(wanted, list):
        return Items(_pieces(inherited, wanted, near))
    if isinstance(wanted, tuple) and any(isinstance(v, (dict, list, tuple)) for v in wanted):
        return Items([_fresh(inherited, v, (*near, i)) for i, v in enumerate(wanted)], '()')
    return Value(wanted)


def _pieces(inherited: Inherited, wanted: list, near: Path) -> list[Expression]:
    """The items of a list; what it shares with the inherited list is spread."""
    before = inherited.get(near)
    if not isinstance(before, list) or near[0] in inherited.gone:
        return [_fresh(inherited, value, ()) for value in wanted]
    at = inherited.name_of(before) or inherited.at(near)
    found = []
    matcher = difflib.SequenceMatcher(None, [*map(_text, before)], [*map(_text, wanted)], False)
    for what, i, j, k, m in matcher.get_opcodes():
        if what == 'equal' and (i, j) == (0, len(before)):
            found.append(Spread(at))
        elif what == 'equal' and len(repr(before[i:j])) <= SHORT:
            found += [_fresh(inherited, value, ()) for value in wanted[k:m]]
        elif what == 'equal' and j == i + 1:
            found.append(Name(f'{at.text}[{_from_the_nearer_end(i, before)}]'))
        elif what == 'equal':
            start = '' if i == 0 else _from_the_nearer_end(i, before)
            end = '' if j == len(before) else _from_the_nearer_end(j, before)
            found.append(Spread(Name(f'{at.text}[{start}:{end}]')))
        else:
            for n in range(k, m):
                place = (*near, i + n - k) if i + n - k < j else ()
                found.append(_item(inherited, wanted[n], place, at))
    return found


def _item(inherited: Inherited, wanted, place: Path, at: Name) -> Expression:
    """An item of a list, of which most may be inherited: ``dict(_base_.custom_hooks[1], ...)``."""
    before = inherited.get(place) if place else None
    if isinstance(before, dict) and isinstance(wanted, dict) and before.keys() <= wanted.keys():
        same_ones = {k: v for k, v in before.items() if same(v, wanted[k])}
        if before.get('type') == wanted.get('type') and len(repr(same_ones)) > SHORT:
            number = _from_the_nearer_end(place[-1], inherited.get(place[:-1]))
            return Dict(
                {
                    k: _fresh(inherited, v, (*place, k))
                    for k, v in wanted.items()
                    if k not in same_ones
                },
                like=Name(f'{at.text}[{number}]'),
            )
    return _fresh(inherited, wanted, place)


def _from_the_nearer_end(i: int, items: list) -> int:
    return i if i <= len(items) // 2 else i - len(items)


# ------------------------------------------------------------------------------ what repeats


def with_names(found: dict[str, Expression]) -> dict[str, Expression]:
    """Give a name to each dict that stands several times; the variables come first.

    They begin with ``_``, so that they are seen to be no settings.
    """
    variables: dict[str, Expression] = {}
    taken = set(found)
    while True:
        nodes = [
            node
            for root in (*variables.values(), *found.values())
            for node in inside(root)
            if isinstance(node, Dict) and node.items and not node.notes
        ]
        texts = [_without_delete(node) for node in nodes]
        several = [t for t in {*texts} if texts.count(t) > 1 and len(t) > WORTH_A_NAME]
        if not several:
            return {**variables, **found}
        text = max(several, key=lambda t: (len(t), t))
        first = nodes[texts.index(text)]
        name = _variable(first, taken)
        taken.add(name)
        definition = Dict(dict(first.items), first.like)
        for node in [n for n, t in zip(nodes, texts) if t == text]:
            node.items, node.like = {}, Name(name)
        variables = {name: definition, **variables}


def _without_delete(node: Dict) -> str:
    return in_one_line(Dict(node.items, node.like))


def _variable(node: Dict, taken: set[str]) -> str:
    kind = node.items.get('type')
    word = kind.value if isinstance(kind, Value) else 'shared'
    word = str(word).rpartition('.')[2]
    name = '_' + re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', word).lower()
    return next(n for n in (name, *(f'{name}{i}' for i in range(2, 99))) if n not in taken)


def simplified(node: Expression) -> Expression:
    """Without dicts that are copies of a named one and nothing more."""
    if isinstance(node, Dict):
        if node.like is not None and not node.items and not node.delete:
            return node.like
        node.items = {key: simplified(part) for key, part in node.items.items()}
    elif isinstance(node, Items):
        node.items = [simplified(part) for part in node.items]
    return node


# ---------------------------------------------------------------------------------- comments


def annotate(found: dict[str, Expression], notes: Mapping[str, str]) -> dict[str, str]:
    """Put comments to what they are about, each once.

    Args:
        found: Expressions by top-level name; their ``notes`` are set.
        notes: Comments by the place (``'model.test_cfg'``), or by the ``type`` of a dict.

    Returns:
        Comments on whole top-level names.
    """
    left = dict(notes)
    tops = {name: left.pop(name) for name in found if name in left}

    def look(node: Expression, path: str) -> None:
        if isinstance(node, Dict):
            kind = node.items.get('type')
            if isinstance(kind, Value) and kind.value in left:
                node.notes[''] = left.pop(kind.value)
            for key, part in node.items.items():
                here = f'{path}.{key}'
                if here in left:
                    node.notes[key] = left.pop(here)
                look(part, here)
        elif isinstance(node, Items):
            for part in node.items:
                look(part, path)

    for name, node in found.items():
        look(node, name)
        if isinstance(node, Dict) and node.notes.get('') and name not in tops:
            tops[name] = node.notes.pop('')
    return tops


def each_type(found: Mapping[str, Expression], change: Callable[[str], Optional[Expression]]):
    """Replace the ``type`` of each dict that is written, where ``change`` gives another."""
    for root in found.values():
        for node in inside(root):
            if isinstance(node, Dict) and isinstance(node.items.get('type'), Value):
                node.items['type'] = change(node.items['type'].value) or node.items['type']
