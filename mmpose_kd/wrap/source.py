"""The config that is to be wrapped: what it says, and how another file inherits it."""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config

from ..core.checks import checked_path
from ..core.config_file import ConfigError, read_config, reason
from .expressions import is_name


@dataclass(frozen=True)
class Source:
    """A config of the user's.

    Attributes:
        name: As it was given: a path, or the name of an installed one (``'mmpose::...'``).
        python: Whether it is written in MMEngine's pure Python style, with imports in the place
            of ``_base_`` and names.
        whole: What it says, all of its bases merged, as a config that inherits it sees it.
    """

    name: str
    python: bool
    whole: dict

    @classmethod
    def of(cls, config: Union[str, os.PathLike]) -> Source:
        """Read a config.

        Args:
            config: Path of a config file, or the name of an installed one.

        Raises:
            ConfigError: It cannot be read, in one line.
        """
        name = checked_path(config, 'config')
        if '::' not in name:
            found = read_config(name)
            if Config._is_lazy_import(name):
                return cls(name, True, found.to_dict())
        # read as an inherited config: those of packages are marked with their scope by that
        with tempfile.TemporaryDirectory() as folder:
            child = Path(folder, 'child.py')
            base = name if '::' in name else os.path.abspath(name)
            child.write_text(f'_base_ = [{base!r}]\n', encoding='utf-8')
            return cls(name, False, evaluated(child, name))

    def inheriting(self, out: Union[str, os.PathLike]) -> str:
        """The lines with which a config in the file ``out`` inherits this one.

        Raises:
            ValueError: Pure Python configs inherit by an import, which cannot name this file.
        """
        if '::' in self.name:
            return f'_base_ = [{self.name!r}]\n'
        # `..` leads out of a linked folder; MMEngine takes it off the name as well, in text style
        place = _in_real_folder if self.python else os.path.abspath
        here, there = (Path(place(path)) for path in (out, self.name))
        try:
            path = os.path.relpath(there, here.parent)
        except ValueError:  # on another drive
            path = str(there)
        if os.path.realpath(here.parent / path) != os.path.realpath(there):
            path = str(there)
        if not self.python:
            return f'_base_ = [{Path(path).as_posix()!r}]\n'
        *up, file = Path(path).parts
        levels = sum(part == os.pardir for part in up)
        names = [part for part in up if part != os.pardir] + [Path(file).stem]
        if os.path.isabs(path) or not all(map(is_name, names)):
            raise ValueError(
                f'{self.name}: configs in pure Python style inherit by an import, and '
                f'{".".join(names)!r} cannot be imported: give the file, and the folders between '
                'it and -o, names of letters, digits and _'
            )
        module = '.' * (levels + 1) + '.'.join(names)
        return (
            'from mmengine.config import read_base\n\n'
            f'with read_base():\n    from {module} import *\n'
        )


def evaluated(path: Union[str, os.PathLike], name: Optional[str] = None) -> dict:
    """What a config file says, its bases merged, in plain dicts and lists.

    Args:
        path: The file.
        name: What it is called in messages, if not by its path.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return Config.fromfile(os.fspath(path)).to_dict()
    except (Exception, SystemExit) as error:
        raise ConfigError(f'{name or path} cannot be read as a config: {reason(error)}') from error


def is_read_from(config: Union[str, os.PathLike], file: Path) -> bool:
    """Whether reading a config means to read a file: the config's own, or one that it inherits.

    False also where the config cannot be read, or is an installed one.
    """
    name = os.fspath(config)
    if '::' in name:
        return False
    try:
        files = _imported(name) if Config._is_lazy_import(name) else _based_on(name)
        return any(os.path.samefile(path, file) for path in files)
    except (Exception, SystemExit):  # a config is a program; whoever reads it says what is wrong
        return False


def _based_on(name: str) -> list[str]:
    """The files of a config in text style."""
    text = Config.fromfile(name).text  # MMEngine puts each file's path above what stands in it
    return [line for line in text.splitlines() if os.path.isabs(line) and os.path.isfile(line)]


def _imported(name: str) -> Iterator[str]:
    """The files of a config in pure Python style, which inherits by imports."""
    yield name
    for block in ast.walk(ast.parse(Path(name).read_text(encoding='utf-8'))):
        if isinstance(block, ast.With) and 'read_base' in ast.unparse(block.items[0]):
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and line.level and line.module:
                    up = [os.pardir] * (line.level - 1)
                    path = os.path.join(os.path.dirname(name), *up, *line.module.split('.'))
                    yield from _imported(f'{path}.py')


def _in_real_folder(path: Union[str, os.PathLike]) -> Path:
    path = Path(os.path.abspath(path))
    return Path(os.path.realpath(path.parent), path.name)
