"""Read checkpoints of others safely, write own ones whole."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from pathlib import Path
from typing import Union

import torch

from .safe_loading import load_safely
from .whole_files import write_whole

DATE = r'20\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])'


class CheckpointError(ValueError):
    """A file cannot be read as a checkpoint."""


def read_checkpoint(path: Union[str, Path]) -> dict:
    """Load a checkpoint to the CPU with torch's safe loader.

    Args:
        path: A file (``~`` is the home folder), or an http(s) address; what is fetched is kept
            in torch's own cache.

    Returns:
        What the file holds: MMEngine's training checkpoints and published weights have
        ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Truncated, foreign, unsafe, or it cannot be fetched.
    """
    if not is_url(path):
        return _read(Path(os.path.expanduser(path)), path)
    file = fetch(str(path), cache_place(str(path)))
    try:
        return _read(file, path)
    except CheckpointError:
        file.unlink()  # so that it is fetched again
        raise


def _read(file: Path, name: Union[str, Path]) -> dict:
    if not file.is_file():
        raise FileNotFoundError(f'{file}: no such file')
    try:
        saved = load_safely(file)
    except Exception as error:  # a truncated, foreign or unsafe file: torch raises many types
        raise CheckpointError(f'{name} cannot be read as a checkpoint: {_why(error)}') from error
    if not isinstance(saved, dict):
        raise CheckpointError(f'{file} holds a {type(saved).__name__}, not a checkpoint')
    return saved


def write_checkpoint(content: dict, path: Union[str, Path]) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    buffer = io.BytesIO()  # into a file, torch words a full disk in a way of its own
    torch.save(content, buffer)
    write_whole(path, lambda unfinished: unfinished.write_bytes(buffer.getbuffer()))


def is_whole_checkpoint(path: Union[str, Path]) -> bool:
    """Whether a file is there to its end: a checkpoint's table of contents stands last."""
    try:
        with zipfile.ZipFile(path):
            return True
    except (OSError, zipfile.BadZipFile):
        return False


def whole_checkpoints(folder: Union[str, Path]) -> list[Path]:
    """The training checkpoints in a folder that are not cut, the latest last."""
    numbered = [
        (int(found.group(1)), path)
        for path in Path(folder).glob('*.pth')
        if (found := re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem))
    ]
    return [path for _, path in sorted(numbered) if is_whole_checkpoint(path)]


def _why(error: Exception) -> str:
    """In one line, without torch's advice to load the file unsafely."""
    text = str(error)
    asked = re.search(r'Unsupported global: GLOBAL (\S+)', text)
    if asked:
        return f'it asks for {asked.group(1)}, which is nothing that a checkpoint needs'
    lines = text.partition('WeightsUnpickler error:')[2].strip() or text.strip()
    return lines.partition('\n')[0].strip() or type(error).__name__


def is_url(path: Union[str, Path]) -> bool:
    """Whether a checkpoint is named by an http(s) address."""
    return str(path).startswith(('http://', 'https://'))


def cache_place(url: str) -> Path:
    """Where :func:`read_checkpoint` keeps what it has fetched: names alone may be the same."""
    folder = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir(), 'checkpoints', 'mmpose_kd', folder, _file_name(url))


def hub_place(url: str) -> Path:
    """Where MMEngine keeps what it has fetched for ``init_cfg`` and ``load_from``."""
    return Path(torch.hub.get_dir(), 'checkpoints', _file_name(url))


def _file_name(url: str) -> str:
    return url.rpartition('/')[2].partition('?')[0]


def fetch(url: str, file: Path) -> Path:
    """Download into a file that is not there yet, whole or not at all.

    Raises:
        CheckpointError: It cannot be fetched.
    """
    # published weights have the beginning of their checksum in the name, some a date in its place
    checksum = re.search(rf'-(?!{DATE}\.)(?P<start>[0-9a-f]{{8}})(_\d{{8}})?\.', file.name)
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            # writes beside the file, checks, and moves it to its place when it is complete
            torch.hub.download_url_to_file(
                url, str(file), checksum and checksum['start'], progress=False
            )
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f'{url} cannot be fetched: {error}') from error
    return file
