"""The weights that a config starts or learns from: whether they can be had."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Optional
from urllib.error import HTTPError
from urllib.parse import urlsplit

import torch
from mmengine.runner import CheckpointLoader

from ..core.checkpoints import (
    CheckpointError,
    cache_place,
    fetch,
    hub_place,
    is_url,
    read_checkpoint,
)
from ..core.config_file import reason
from ..core.weight_sources import GUIDE, START, TEACHER, WeightSource

PATIENCE = 20.0  # seconds that a server may keep silent

WHAT = {
    START: 'the weights to start from',
    TEACHER: "the teacher's checkpoint",
    GUIDE: 'the checkpoint of a finished training of this model',
}


def missing_weights(sources: list[WeightSource]) -> Iterator[str]:
    """Which weights cannot be had: keys, name, why, and what to put where.

    What stands at an http(s) address is fetched to where the training looks for it, and read with
    torch's safe loader: MMEngine's own would run what a file says. A server that did not answer is
    not asked again.

    Args:
        sources: See :func:`~mmpose_kd.core.weight_sources.weight_sources`.
    """
    silent: dict[str, str] = {}
    for name in dict.fromkeys(source.name for source in sources):
        alike = [source for source in sources if source.name == name]
        kinds = {_place(source): source for source in alike}.values()
        why = next(filter(None, (_why_not(source, silent) for source in kinds)), None)
        if why is None:
            continue
        places = ' and '.join(dict.fromkeys(map(_place, alike)))
        keys = ' and '.join(source.key for source in alike)
        options = ' '.join(map(_option, alike))
        yield (
            f'{keys}={name!r}: {why}: put {WHAT[alike[0].use]} {places}, or name its file in '
            f'--cfg-options {options}, or go on without by --no-weights'
        )


def _option(source: WeightSource) -> str:
    """How a command line names another file; a list of files is given whole."""
    if source.use == GUIDE:
        return f'{source.key.rpartition(".")[0]}=[FILE]'
    return f'{source.key}=FILE'


def _place(source: WeightSource) -> str:
    """Where the training looks for a checkpoint, in words."""
    if not source.is_address:
        return 'there'
    if not is_url(source.name):
        return f'into {torch.hub.get_dir()}/checkpoints'
    return f'at {_file(source)}'


def _file(source: WeightSource) -> Path:
    """MMEngine fetches what a model starts from, this package what teaches it."""
    return (hub_place if source.use == START else cache_place)(source.name)


def _why_not(source: WeightSource, silent: dict[str, str]) -> Optional[str]:
    """Why weights cannot be had, None if they can."""
    if not source.is_address:
        return None if Path(source.name).expanduser().is_file() else 'no such file'
    host = urlsplit(source.name).netloc
    if host not in silent:
        try:
            with _patient():
                _read(source)
            return None
        except Exception as error:
            cause = error.__cause__ if isinstance(error, CheckpointError) else error
            if isinstance(cause, HTTPError):  # of this file alone
                return f'it cannot be fetched ({reason(cause)})'
            if not isinstance(cause, OSError):
                return f'it cannot be read ({reason(error)})'
            silent[host] = reason(cause)
    return f'it cannot be fetched ({silent[host]})'


def _read(source: WeightSource) -> None:
    if not is_url(source.name):  # a name in one of MMEngine's own lists
        CheckpointLoader.load_checkpoint(source.name, 'cpu', logger='silent')
        return
    read_checkpoint(fetch(source.name, _file(source)))


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """A server that keeps silent is not waited for without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
