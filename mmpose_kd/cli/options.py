"""Kinds of options that several commands take."""

from __future__ import annotations

from collections.abc import Sequence

import click


class Whole(click.ParamType):
    """A whole number.

    Args:
        least: The least one that is taken, 0 or 1.
    """

    name = 'number'

    def __init__(self, least: int):
        self.least = least

    def convert(self, value, param, ctx) -> int:
        """The number of a text."""
        if isinstance(value, int):  # a default
            return value
        if not value.isdecimal() or int(value) < self.least:
            wanted = 'above 0' if self.least else 'from 0 up'
            self.fail(f'{value!r} is not a whole number {wanted}', param, ctx)
        return int(value)


class Command(click.Command):
    """A command whose options with several values take them in a row: ``--seeds 0 1 2``.

    They are the options with ``multiple=True``; click would want ``--seeds 0 --seeds 1``, which
    works as well.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the option before each of its values, then let click read the line."""
        lists = {name for p in self.params if getattr(p, 'multiple', False) for name in p.opts}
        try:
            return super().parse_args(ctx, one_by_one(args, lists))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click does not always say which command it was
            raise


def one_by_one(args: Sequence[str], lists: set[str]) -> list[str]:
    """A command line with ``--seeds 0 1`` as ``--seeds 0 --seeds 1``.

    Args:
        args: The command line.
        lists: Names of the options that take several values, up to the next option.
    """
    found: list[str] = []
    option = None  # that takes the next words
    for i, arg in enumerate(args):
        if arg == '--':
            return [*found, *args[i:]]
        if arg.startswith('-'):
            option = arg if arg in lists else None
            found.append(arg)
        elif option is not None and found[-1] != option:
            found += [option, arg]
        else:
            found.append(arg)
    return found
