"""Read a config file, or say in one line why it is none."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Optional, Union

from mmengine import hub
from mmengine.config import Config
from mmengine.runner import Runner

#: what means something to MMEngine, in its order; other names are the config's own variables
SETTINGS = ('custom_imports', *inspect.signature(Runner.__init__).parameters)

KINDS = ('.py', '.yaml', '.yml', '.json')
GIVE = (
    "give the path of a config file, or an installed config's name like "
    "'mmpose::body_2d_keypoint/...'"
)


class ConfigError(ValueError):
    """A file cannot be read as a config."""


def merge_options(cfg: Config, options: Optional[dict]) -> None:
    """Change a config as ``--cfg-options`` says, in place.

    Raises:
        ConfigError: A key is none of the config.
    """
    try:
        cfg.merge_from_dict(options or {})
    except (AttributeError, KeyError, TypeError) as error:  # a key under what is no dict
        keys = ', '.join(options)
        raise ConfigError(
            f'--cfg-options {keys}: {reason(error)}: give keys of the config'
        ) from error


def read_config(path: Union[str, Path]) -> Config:
    """The config of a file, or with ``'::'`` in its name of an installed package.

    Raises:
        ConfigError: It cannot be read, in one line. A config is a program: whatever it raises
            is told, with the line of it where the config's text is wrong.
    """
    name = str(path)
    try:
        if '::' in name:
            return hub.get_config(name)
        if Path(name).suffix not in KINDS:
            raise ConfigError(f'{name} is no config, whose name ends in one of {", ".join(KINDS)}')
        found = Config.fromfile(name)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f'{name} cannot be read as a config: {reason(error)}') from error
    return found


def reason(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f'{error.msg} in line {error.lineno}'
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
