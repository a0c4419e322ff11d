"""MMEngine lays out a whole config with yapf, a second each, wherever it is written or logged.

That is at the start of a run, in every checkpoint and in an export.
"""

import ast

from mmengine.config import config

FormatCode = getattr(config, 'FormatCode', None)  # onedl-mmengine has it elsewhere


def leave_layout_out():
    """From here on configs of this process are written as they come."""
    if FormatCode is not None:
        config.FormatCode = _only_parsed


def lay_out():
    """And from here on with layout again."""
    if FormatCode is not None:
        config.FormatCode = FormatCode


def _only_parsed(code: str, *, style_config=None, verify=False):
    """What stands in for yapf's ``FormatCode``: the text stays, and must be Python."""
    ast.parse(code)
    return code, True
