"""A distilled run is another run than that of the config that it inherits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

from .source import Source


def apart(source: Source, method: str, out: Union[str, os.PathLike]) -> dict:
    """The whole config of a source, for a run that leaves the one of that config alone.

    A config that MMEngine dumped has the ``work_dir`` of its run, and may resume it. Here the
    folder is ``./work_dirs/<name of the file>``, or if the source's run has that one,
    ``./work_dirs/<name of the file>_<method>``. It is not set where MMPose's ``train.py`` chooses
    the first by itself.

    Args:
        source: The config that is inherited.
        method: Name of the method.
        out: Where the new config will stand.
    """
    whole, stem = dict(source.whole), Path(out).stem
    own, theirs = f'./work_dirs/{stem}', whole.get('work_dir')
    taken = theirs or f'./work_dirs/{Path(source.name).stem}'
    if os.path.abspath(str(taken)) == os.path.abspath(own):
        whole['work_dir'] = f'{own}_{method}'
    elif theirs:
        whole['work_dir'] = own
    if whole.get('resume'):
        whole['resume'] = False
        if whole.get('load_from'):
            whole['load_from'] = None
    return whole


def folder_of(wanted: dict, out: Union[str, os.PathLike]) -> Path:
    """Where MMPose's ``train.py`` puts the run of a config in the file ``out``."""
    return Path(wanted.get('work_dir') or Path('work_dirs', Path(out).stem))
