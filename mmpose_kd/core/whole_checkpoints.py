"""Runs that always have a whole checkpoint to go on from."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, find_latest_checkpoint

from .checkpoints import is_whole_checkpoint, whole_checkpoints
from .checks import refusal
from .whole_files import BACKEND

KEPT = 2  # MMEngine removes the older checkpoint before it writes the newer one


def keep_whole_checkpoints(runner: Runner) -> None:
    """Let a run, before it starts, keep a whole checkpoint at any time, and go on from one.

    ``CheckpointHook`` writes whole files if it writes to a folder and has no other backend, and
    keeps two where it is to keep one.

    Raises:
        ValueError: See :func:`resume_from_whole_checkpoint`.
    """
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        on_server = '://' in str(hook.out_dir or '')
        if hook.backend_args is None and hook.file_client_args is None and not on_server:
            hook.backend_args = dict(backend=BACKEND)
        if 0 < hook.max_keep_ckpts < KEPT:
            runner.logger.info(
                f'default_hooks.checkpoint.max_keep_ckpts={hook.max_keep_ckpts}: two checkpoints '
                'are kept, as the older one is removed before the newer one is written'
            )
            hook.max_keep_ckpts = KEPT
    resume_from_whole_checkpoint(runner)


def resume_from_whole_checkpoint(runner: Runner) -> None:
    """Pass over a checkpoint that was cut, before MMEngine resumes from it.

    Raises:
        ValueError: There is none before it; or it is the one that ``load_from`` names.
    """
    if not runner._resume:
        return
    named = runner._load_from
    if named is not None:
        if os.path.isfile(named) and not is_whole_checkpoint(named):
            raise refusal('load_from', named, 'it was cut or is damaged, give the one before it')
        return
    latest = find_latest_checkpoint(runner.work_dir)
    # what is on a server, or a folder, is not ours to read
    elsewhere = latest is not None and ('://' in latest or os.path.isdir(latest))
    if latest is None or elsewhere or is_whole_checkpoint(latest):
        return
    folder = Path(latest).parent if latest else Path(runner.work_dir)
    whole = [path for path in whole_checkpoints(folder) if path != Path(latest)]
    name = latest or f'{runner.work_dir}/last_checkpoint'
    if not whole:
        raise ValueError(
            f'resume=True: {name} was cut or is missing, and there is no whole checkpoint before '
            f'it in {folder}: give one as load_from, or begin anew without resume'
        )
    runner._load_from = str(whole[-1])
    runner.logger.warning(
        f'resume: {name} was cut or is missing; the run goes on from {whole[-1]}, the one before'
    )
