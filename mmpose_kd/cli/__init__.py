"""The command ``mmpose-kd``: one module a command, which imports what it needs when it is run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional

#: what wrong input and a disk that cannot be used raise; anything else is a defect of ours and
#: keeps its traceback
MISTAKES = (ValueError, OSError)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command.

    Args:
        argv: The command line behind ``mmpose-kd``; None for that of this process.

    Returns:
        The exit code: 0 is success, 1 an error that the user can mend (named in one line), 2 a
        wrong command line, 130 an interruption.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        import click
    except ModuleNotFoundError:  # openmim brings it along, so most set-ups of MMPose have it
        return _complain('error: the command needs click: pip install click', 1)
    from .commands import commands

    try:
        with commands.make_context('mmpose-kd', list(argv), obj=argv) as context:
            return commands.invoke(context) or 0
    except click.exceptions.Exit as left:  # after --help and --version
        return left.exit_code
    except click.UsageError as error:
        name = 'mmpose-kd'
        if error.ctx is not None:
            name = error.ctx.command_path
            sys.stderr.write(f'{error.ctx.get_usage()}\n')
        return _complain(f'error: {error.format_message()}', 2, name)
    except KeyboardInterrupt as stop:
        return _complain('; '.join(['interrupted', *map(str, stop.args)]), 130)
    except MISTAKES as error:
        return _complain(f'error: {error}', 1)


def _complain(message: str, code: int, name: str = 'mmpose-kd') -> int:
    """Write one line, whatever an error's own text looks like, and return the exit code."""
    sys.stderr.write(f'{name}: {" ".join(message.split())}\n')
    return code
