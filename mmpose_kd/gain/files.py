"""Text and JSON files, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from ..core.whole_files import write_whole


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding='utf-8'))


def write_json(path: Path, value) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(value, indent=1) + '\n')


def read_json(path: Path, missing=None):
    """Read a JSON file; ``missing`` if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else missing
