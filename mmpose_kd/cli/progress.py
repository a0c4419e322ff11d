"""A bar for commands of several steps, in a terminal, where they take more than three seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

DELAY = 3.0  # seconds


@contextmanager
def steps_shown(total: int, console: Optional[Console] = None) -> Iterator[None]:
    """Show the steps of a command (:func:`mmpose_kd.core.steps.step`) as a bar on stderr.

    It comes after three seconds, is gone at the end, and is not shown where stderr is no
    terminal, or one in which no line can be erased (``TERM=dumb``).

    Args:
        total: How many steps there are.
        console: Where it is shown. None: stderr.
    """
    from ..core.steps import heard_by

    console = Console(stderr=True) if console is None else console
    can_erase = console.is_terminal and not console.is_dumb_terminal
    bar = Progress(
        TextColumn('{task.description}'), BarColumn(20), TimeElapsedColumn(),
        console=console, transient=True, disable=not can_erase,
    )  # fmt: skip
    task, begun = bar.add_task('', total=total), 0

    def show(text: str) -> None:
        nonlocal begun
        bar.update(task, description=text, completed=min(begun, total))
        begun += 1

    timer = threading.Timer(DELAY, bar.start)
    timer.daemon = True
    timer.start()
    try:
        with heard_by(show):
            yield
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
