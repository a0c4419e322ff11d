"""Text and JSON files, written whole or not at all, and read with doubt."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..core.checks import is_number
from ..core.whole_files import write_whole

LARGEST = 2**30  # bytes of an array; 133 keypoints of 100,000 persons have 2**28


TIMING = 'timing.json'


class FileError(ValueError):
    """A file in the harness's folder is not what the harness wrote there."""

    def __init__(self, path: Path, what: str):
        super().__init__(f'{path} is damaged or not of mmpose-kd gain ({what}): delete it')


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding='utf-8'))


def write_json(path: Path, value) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(value, indent=1) + '\n')


def read_json(path: Path, missing=None, keys: Collection[str] = (), kind: type = dict):
    """Read a JSON file; ``missing`` if there is none.

    Args:
        path: The file.
        missing: The answer if there is none.
        keys: What must be in it.
        kind: What it holds, a dict or a list.

    Raises:
        FileError: It is no JSON file, or holds something else.
    """
    if not path.is_file():
        return missing
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise FileError(path, str(error)) from error
    if not isinstance(found, kind):
        raise FileError(path, f'it holds a {type(found).__name__}')
    lacking = [key for key in keys if key not in found]
    if lacking:
        raise FileError(path, f'it has no {", ".join(lacking)}')
    return found


def read_timing(out: Path) -> dict[str, dict]:
    """What was measured of pairs of methods, by their names; what is no measurement is left out.

    Raises:
        FileError: The file is damaged.
    """
    known = read_json(out / TIMING, {})
    return {
        name: one
        for name, one in known.items()
        if isinstance(one, dict) and is_number(one.get('ratio'))
    }


def read_arrays(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Read arrays by name from an ``.npz`` file; none is made larger than its bytes are.

    Raises:
        FileError: It is missing or none, or an array is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_array(archive, f'{name}.npy') for name in names}
    except Exception as error:  # zip files and headers of numpy raise many types
        raise FileError(path, ' '.join(str(error).split()) or type(error).__name__) from error


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0
        reader = reader if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise ValueError(f'{name} holds objects')
        size = math.prod(shape) * dtype.itemsize
        if size > LARGEST:
            raise ValueError(f'{name} is said to have the shape {shape}')
        data = file.read(size + 1)
    if len(data) != size:
        raise ValueError(f'{name} of shape {shape} has {len(data)} bytes')
    return np.frombuffer(data, dtype).reshape(shape, order='F' if fortran else 'C')
