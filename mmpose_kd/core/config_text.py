"""Read the text of a config without running it: a checkpoint's may come from anyone."""

from __future__ import annotations

import ast

UNKNOWN = object()
LARGEST = 2_000_000  # characters; MMPose's largest configs have 60,000


def literal_config(text) -> dict:
    """The settings that a config's text states in plain values.

    MMEngine writes a run's config into its checkpoints (``meta.cfg``) as assignments of literals,
    lists and ``dict(...)`` calls. Only these are read; nothing is evaluated, imported or called.

    Args:
        text: The text, whatever it is.

    Returns:
        Values by top-level name. What is not a plain value is left out; {} for what is no such
        text.
    """
    if not isinstance(text, str) or len(text) > LARGEST:
        return {}
    try:
        body = ast.parse(text).body
        found = {
            target.id: _value(node.value)
            for node in body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return {name: value for name, value in found.items() if value is not UNKNOWN}


def _value(node: ast.expr):
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        values = [_value(item) for item in node.elts]
        return UNKNOWN if UNKNOWN in values else values
    if isinstance(node, ast.Dict):
        pairs = {
            key.value: _value(value)
            for key, value in zip(node.keys, node.values)
            if isinstance(key, ast.Constant)
        }
    elif isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict':
        if len(node.args) == 1 and not node.keywords:  # dict({0: 'nose'})
            return _value(node.args[0])
        pairs = {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand)
        return -number if isinstance(number, (int, float)) else UNKNOWN
    else:
        return UNKNOWN
    return {key: value for key, value in pairs.items() if value is not UNKNOWN}
