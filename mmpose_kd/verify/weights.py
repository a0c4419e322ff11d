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

    What stands at an address is fetched as the training would, into torch's cache; a server that
    did not answer is not asked again.

    Args:
        sources: See :func:`~mmpose_kd.core.weight_sources.weight_sources`.
    """
    silent: dict[str, str] = {}
    for name in dict.fromkeys(source.name for source in sources):
        alike = [source for source in sources if source.name == name]
        why = _why_not(alike[0], silent)
        if why is None:
            continue
        place = _in_cache(name) if alike[0].is_address else 'there'
        keys = ' and '.join(source.key for source in alike)
        options = ' '.join(map(_option, alike))
        yield (
            f'{keys}={name!r}: {why}: put {WHAT[alike[0].use]} {place}, or name its file in '
            f'--cfg-options {options}, or go on without by --no-weights'
        )


def _option(source: WeightSource) -> str:
    """How a command line names another file; a list of files is given whole."""
    if source.use == GUIDE:
        return f'{source.key.rpartition(".")[0]}=[FILE]'
    return f'{source.key}=FILE'


def _in_cache(address: str) -> str:
    """Where torch keeps what was fetched."""
    if not address.startswith(('http://', 'https://')):
        return f'into {torch.hub.get_dir()}/checkpoints'
    return f'at {torch.hub.get_dir()}/checkpoints/{Path(urlsplit(address).path).name}'


def _why_not(source: WeightSource, silent: dict[str, str]) -> Optional[str]:
    """Why weights cannot be had, None if they can."""
    if not source.is_address:
        return None if Path(source.name).is_file() else 'no such file'
    host = urlsplit(source.name).netloc
    if host not in silent:
        try:
            with _patient():
                CheckpointLoader.load_checkpoint(source.name, 'cpu', logger='silent')
            return None
        except HTTPError as error:  # of this file alone
            return f'it cannot be fetched ({reason(error)})'
        except OSError as error:
            silent[host] = reason(error)
        except Exception as error:
            return f'it cannot be read ({reason(error)})'
    return f'it cannot be fetched ({silent[host]})'


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """A server that keeps silent is not waited for without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
