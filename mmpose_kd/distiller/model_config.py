"""The model of a config, however the config is given."""

from __future__ import annotations

import os
from typing import Union

from mmengine.config import Config

from ..core.checks import refusal
from ..core.config_file import GIVE, ConfigError, read_config


def model_config(config: Union[str, dict], key: str) -> dict:
    """The ``model`` of an ordinary MMPose config, with a ``data_preprocessor`` that stands beside.

    Args:
        config: The model's dict, a whole config's, the path of a config file, or the name of an
            installed one (``'mmpose::body_2d_keypoint/...'``).
        key: Name of the config key, for messages.

    Raises:
        ValueError: No such file or name, or there is no model in it.
    """
    if isinstance(config, (str, os.PathLike)):
        name = os.fspath(config)
        try:
            whole = read_config(name)
        except ConfigError as error:
            raise ValueError(f'{key}={name!r}: {error}; {GIVE}') from error
    else:
        whole = config
    if not isinstance(whole, (dict, Config)):
        raise refusal(key, config, f'{GIVE}, or a dict with a model in it')
    model = whole
    if isinstance(whole, Config) or 'type' not in whole:
        model = whole.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        give = "give a model's dict or a whole config, or the path or name of one"
        raise refusal(key, config, f'there is no model with a type in it, {give}')
    beside = None if whole is model else whole.get('data_preprocessor')
    model = Config(dict(model=model)).to_dict()['model']  # free of what was shared
    if beside is not None:  # as MMEngine's Runner hands it to the model
        model.setdefault('data_preprocessor', Config(dict(beside=beside)).to_dict()['beside'])
    return model
