"""Python expressions of a config, and how they are laid out."""

from __future__ import annotations

import keyword
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional, Union

WIDTH = 99
INDENT = 4


@dataclass
class Value:
    """A number, text, None: what ``repr`` writes."""

    value: object


@dataclass
class Name:
    """A name, or what stands at one: ``_base_.model.head``."""

    text: str


@dataclass
class Items:
    """A list or a tuple.

    Attributes:
        items: Expressions; a :class:`Spread` stands for several.
        brackets: ``'[]'`` or ``'()'``.
    """

    items: list[Expression]
    brackets: str = '[]'


@dataclass
class Spread:
    """All items of a list: ``*_base_.custom_hooks``."""

    of: Name


@dataclass
class Dict:
    """A dict.

    Attributes:
        items: Expressions by key.
        like: A dict that it is a copy of, but for the items.
        delete: Whether it replaces an inherited dict, which it would else be merged into.
        notes: Comments, by the key that they stand above; that of ``''`` stands above the dict.
    """

    items: dict[object, Expression]
    like: Optional[Name] = None
    delete: bool = False
    notes: dict[object, str] = field(default_factory=dict)


Expression = Union[Value, Name, Items, Spread, Dict]


def inside(node: Expression) -> Iterator[Expression]:
    """An expression and those that it is made of, from the outside in."""
    yield node
    parts = node.items.values() if isinstance(node, Dict) else getattr(node, 'items', ())
    for part in parts:
        yield from inside(part)


def in_one_line(node: Expression) -> str:
    """An expression without line breaks and comments."""
    if isinstance(node, Value):
        return repr(node.value)
    if isinstance(node, Name):
        return node.text
    if isinstance(node, Spread):
        return f'*{node.of.text}'
    left, parts, right = _parts(node)
    single = isinstance(node, Items) and node.brackets == '()' and len(parts) == 1
    return (
        left
        + ', '.join(f'{start}{in_one_line(part)}' for start, part, _ in parts)
        + (f',{right}' if single else right)
    )


def laid_out(node: Expression, room: int = 0, indent: int = 0) -> str:
    """An expression as a text of lines that are not too long where that can be.

    Args:
        node: The expression.
        room: Characters of its first line that are taken: what stands before and behind it.
        indent: Of the line on which it begins.
    """
    text = in_one_line(node)
    if not isinstance(node, (Items, Dict)):
        return text
    left, parts, right = _parts(node)
    noted = any({*getattr(n, 'notes', ())} - ({''} if n is node else set()) for n in inside(node))
    if not parts or (not noted and len(text) + room <= WIDTH):
        return text
    inner = indent + INDENT
    lines = []
    for start, part, note in parts:
        if note:
            lines += comment(note, inner)
        taken = inner + len(start) + 1
        lines.append(f'{" " * inner}{start}{laid_out(part, taken, inner)},')
    return '\n'.join([left, *lines, f'{" " * indent}{right}'])


def comment(text: str, indent: int = 0) -> list[str]:
    """Lines of a comment."""
    start = f'{" " * indent}# '
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start)


def is_name(key) -> bool:
    """Whether a key can be written without quotes: ``dict(key=...)``."""
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


def _parts(node: Union[Items, Dict]) -> tuple[str, list[tuple[str, Expression, str]], str]:
    """Opening, what stands inside (its start, expression and comment), closing."""
    if isinstance(node, Items):
        parts = [('', part, part.notes.get('', '') if isinstance(part, Dict) else '')
                 for part in node.items]  # fmt: skip
        return node.brackets[0], parts, node.brackets[1]
    named = all(is_name(key) for key in node.items)
    parts = []
    if node.like is not None:
        parts.append(('' if named else '**', node.like, ''))
    if node.delete:
        parts.append(('_delete_=' if named else "'_delete_': ", Value(True), ''))
    for key, part in node.items.items():
        note = node.notes.get(key) or (part.notes.get('', '') if isinstance(part, Dict) else '')
        parts.append((f'{key}=' if named else f'{key!r}: ', part, note))
    return ('dict(', parts, ')') if named else ('{', parts, '}')
