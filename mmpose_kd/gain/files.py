"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a path beside ``path``, then move what it wrote into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the ending stays: numpy and matplotlib go by it
    unfinished = path.with_name(f'.{os.getpid()}-{path.name}')
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding='utf-8'))


def write_json(path: Path, value) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(value, indent=1) + '\n')


def read_json(path: Path, missing=None):
    """Read a JSON file; ``missing`` if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else missing
