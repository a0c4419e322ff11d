"""Files are written whole or not at all: a full disk or a kill leaves none that is cut."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

BACKEND = 'whole_files'  # for backend_args=dict(backend=...) of MMEngine's hooks


def write_whole(path: Union[str, Path], write: Callable[[Path], object]) -> None:
    """Write a file somewhere beside its place, then move it there.

    It is written in a folder of its own, which only this user can enter and whose name cannot be
    foretold, so that nobody can put a link in its way. What stood at ``path`` stays until then.

    Args:
        path: Where the file has to be; folders on the way there are made.
        write: Called with the path to write to, whose name is the same.

    Raises:
        OSError: It cannot be written; nothing is left of it then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.unfinished-', dir=path.parent) as folder:
        unfinished = Path(folder, path.name)
        write(unfinished)
        with open(unfinished, 'rb') as file:
            os.fsync(file.fileno())  # else a power cut may leave the name without the content
        os.replace(unfinished, path)


@register_backend(BACKEND)
class WholeFilesBackend(LocalBackend):
    """MMEngine's backend of local files, which writes them whole or not at all."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes, as :func:`write_whole` does."""
        write_whole(filepath, lambda path: path.write_bytes(obj))

    def put_text(self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8') -> None:
        """Write text, as :func:`write_whole` does."""
        write_whole(filepath, lambda path: path.write_text(obj, encoding=encoding))
