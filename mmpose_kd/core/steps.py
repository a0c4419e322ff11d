"""Which step a long command is at: told by those who work, heard by whoever shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Optional

_listener: ContextVar[Optional[Callable[[str], None]]] = ContextVar('listener', default=None)


def step(text: str) -> None:
    """Say that a step begins; without a listener nothing happens."""
    listener = _listener.get()
    if listener is not None:
        listener(text)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """While it lasts, every :func:`step` of this thread calls ``listener`` with its text."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
