"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sole_call(folder: Path) -> Iterator[None]:
    """Keep other calls out of a folder, which is made if missing.

    Raises:
        ValueError: One is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'a') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f'another call is at work in {folder}: wait for it, or give another folder'
            ) from None
        yield
