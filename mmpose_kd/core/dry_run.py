"""A run of MMEngine's Runner that is tried and not kept: it leaves nothing behind."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpose.registry import HOOKS
from mmpose.visualization import PoseLocalVisualizer

from .config_file import reason
from .random_state import random_states_kept
from .recipe import type_name

#: names of default hooks of MMEngine and MMPose that write or draw
WRITING = ('timer', 'logger', 'checkpoint', 'visualization', 'badcase')


class Enough(Exception):
    """Raised by a hook: what was to be tried is done."""


class DryRunner(Runner):
    """MMEngine's Runner in one process, see :func:`dry_runner`."""

    device: Optional[str] = None

    def wrap_model(self, model_wrapper_cfg, model):
        """Move the model to the device that was asked for."""
        if self.device is None:
            return super().wrap_model(model_wrapper_cfg, model)
        return revert_sync_batchnorm(model.to(self.device))


def dry_runner(cfg: Config, device: Optional[str] = None) -> Runner:
    """A runner on a device: ``'cpu'``, ``'cuda'``, or None, as MMEngine chooses."""
    return type('DryRunner', (DryRunner,), dict(device=device)).from_cfg(cfg)


def copied(config: Config) -> Config:
    """A config that may be changed, and is not laid out when a Runner logs it."""
    settings = copy.deepcopy(config._cfg_dict)
    # which takes a second
    return Config(settings, filename=config.filename, format_python_code=False)


def leave_nothing(
    cfg: Config, folder: str, validates: bool = False, device: Optional[str] = None
) -> list[str]:
    """Take out of a config, in place, what writes, draws, or needs another process.

    Args:
        cfg: The config of a run.
        folder: For what MMEngine writes all the same; see :func:`apart`.
        validates: Whether validations are made; else they, and hooks that need them, go too.
        device: See :func:`dry_runner`.

    Returns:
        What is not as in the run itself, in words.
    """
    left_out = []
    on_gpu = device != 'cpu' and torch.cuda.is_available()
    if not on_gpu and type_name(cfg.get('optim_wrapper')) == 'AmpOptimWrapper':
        wrapper = {k: v for k, v in cfg.optim_wrapper.items() if k not in ('dtype', 'loss_scale')}
        cfg.optim_wrapper = {**wrapper, 'type': 'OptimWrapper'}
        left_out.append('in full precision')
    _leave_out(cfg, 'test')
    if not validates:
        without_validation(cfg)
    cfg.default_hooks = {
        **{k: v for k, v in (cfg.get('default_hooks') or {}).items() if k not in WRITING},
        **dict.fromkeys(('timer', 'logger', 'checkpoint')),
    }
    hooks = []
    for hook in cfg.get('custom_hooks') or []:
        if getattr(_hook_class(hook), 'keeps_files', False):
            left_out.append(f'without {type_name(hook)}')
        else:
            hooks.append(hook)
    cfg.custom_hooks = hooks
    cfg.update(work_dir=folder, resume=False, log_level='CRITICAL', visualizer=None)
    cfg.update(launcher='none', experiment_name=None)
    return left_out


def without_validation(cfg: Config) -> None:
    """Take validation, and the hooks that need it, out of a config, in place."""
    _leave_out(cfg, 'val')
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or []
        if not getattr(_hook_class(hook), 'needs_validation', False)
    ]


def _leave_out(cfg: Config, name: str) -> None:
    for part in ('dataloader', 'cfg', 'evaluator'):
        cfg[f'{name}_{part}'] = None


def _hook_class(hook: dict) -> Optional[type]:
    kind = hook.get('type')
    return kind if isinstance(kind, type) else HOOKS.get(type_name(hook))


@contextlib.contextmanager
def apart(scope: str = 'mmpose') -> Iterator[str]:
    """A folder for a run, and the process as it was before when the context is left.

    MMEngine's current objects and random numbers are put back, the folder is removed, also after
    an interruption. Inside, warnings are not shown, nor what data sets print.

    Args:
        scope: The default scope of registries inside.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_mmengine_as_before())
        stack.enter_context(random_states_kept())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore')
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(DefaultScope.overwrite_default_scope(scope))
        yield stack.enter_context(tempfile.TemporaryDirectory(prefix='mmpose-kd-'))


@contextlib.contextmanager
def _mmengine_as_before() -> Iterator[None]:
    """A Runner becomes the current one of the process; take that back."""
    managers = (MMLogger, MessageHub, DefaultScope, Visualizer, PoseLocalVisualizer)
    saved = [manager._instance_dict.copy() for manager in managers]
    try:
        yield
    finally:
        for manager, instances in zip(managers, saved):
            manager._instance_dict.clear()
            manager._instance_dict.update(instances)


def losses_of(outputs: Optional[dict]) -> dict[str, float]:
    """The losses among what a training step returns to hooks."""
    return {k: float(v) for k, v in (outputs or {}).items() if 'loss' in k}


def close_log(runner: Runner) -> None:
    """Close a runner's log: its file lies in a folder that goes."""
    for handler in list(runner.logger.handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()


def told(error: Exception) -> str:
    """What was raised inside a run, in one line: what a check of ours says needs no class."""
    ours = isinstance(error, ValueError) and ': ' in str(error)
    return ' '.join(str(error).split()) if ours else reason(error)
