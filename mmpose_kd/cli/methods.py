"""``mmpose-kd methods``."""

from __future__ import annotations

import click

from .options import Command


@click.command(
    cls=Command,
    short_help='Say what each method is.',
    epilog='\b\nExample:\n  mmpose-kd methods',
)
def methods() -> None:
    """Say what each method is, whether it needs a teacher, and which page of the docs is about it.

    A line each.
    """
    import mmpose_kd  # noqa: F401  (registers the methods)

    from ..core.recipe import RECIPES
    from .tables import show

    rows = [
        (one.name, one.teacher if one.needs_teacher else '-', one.title, f'docs/{one.page}')
        for one in RECIPES.values()
    ]
    show(('method', 'needs', 'what it does', 'page'), rows)
