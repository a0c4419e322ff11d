"""One training step of a config, through MMEngine's Runner and all of its hooks."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpose.registry import DATASETS, HOOKS
from mmpose.visualization import PoseLocalVisualizer
from torch.utils.data import Dataset

from ..core.config_file import reason
from ..core.random_state import random_states_kept
from ..core.recipe import type_name
from .made_up import made_up_samples, metainfo_of

BATCH = 2  # BatchNorm after a global pooling needs more than one


class TrialError(ValueError):
    """A config does not train."""


@dataclass
class Trial:
    """What was tried.

    Attributes:
        device: On which.
        losses: The model's losses of the last step.
        missing: Why pictures were made up; None if they were the config's own.
        left_out: What was not as in a training, in words.
    """

    device: str
    losses: dict[str, float]
    missing: Optional[str] = None
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        pictures = 'pictures of the training data' if self.missing is None else 'made-up pictures'
        losses = ', '.join(f'{name} {value:.3g}' for name, value in self.losses.items())
        text = f'a training step on {BATCH} {pictures} ({self.device}): {losses}'
        without = [*([self.missing] if self.missing else []), *self.left_out]
        return f'{text}; {"; ".join(without)}' if without else text


def tried(config: Config) -> Trial:
    """Train a config's model for one step, with two pictures.

    If its training data is there, two pictures of it are taken; else two are made up and go
    through the same pipeline. Where a hook switches the pipeline, a second step is made with the
    other one. Weights that would have to be fetched from an address are not, and no validation is
    made. What MMEngine keeps in the process is afterwards as it was before.

    Args:
        config: A config that can be trained, as read from its file.

    Raises:
        TrialError: It cannot; the message is one line.
    """
    settings, file = copy.deepcopy(config._cfg_dict), config.filename
    cfg = Config(settings, filename=file, format_python_code=False)  # which takes a second
    left_out = [*_without_addresses(cfg)]
    if not torch.cuda.is_available() and type_name(cfg.get('optim_wrapper')) == 'AmpOptimWrapper':
        wrapper = {k: v for k, v in cfg.optim_wrapper.items() if k not in ('dtype', 'loss_scale')}
        cfg.optim_wrapper = {**wrapper, 'type': 'OptimWrapper'}
        left_out.append('in full precision')
    with contextlib.ExitStack() as stack:
        stack.enter_context(_mmengine_as_before())
        stack.enter_context(random_states_kept())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore')
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # data sets print
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='mmpose-kd-'))
        try:
            scope = cfg.get('default_scope') or 'mmpose'
            with DefaultScope.overwrite_default_scope(scope):
                samples, missing = _samples(cfg)
            losses, device = _steps(cfg, samples, folder)
        except Exception as error:  # whatever is wrong in a config
            ours = isinstance(error, ValueError) and ': ' in str(error)
            told = ' '.join(str(error).split()) if ours else reason(error)
            raise TrialError(f'the first training step fails: {told}') from error
    infinite = [name for name, value in losses.items() if not abs(value) < float('inf')]
    if infinite:
        raise TrialError(f'the first training step gives {infinite[0]}={losses[infinite[0]]}')
    return Trial(device, losses, missing, left_out)


# ------------------------------------------------------------------------------- the data


class _Samples(Dataset):
    """Samples in a row, with their data set's meta information."""

    def __init__(self, samples: list[dict], metainfo: dict):
        self.samples, self.metainfo = samples, metainfo

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> dict:
        return self.samples[i]


def _samples(cfg: Config) -> tuple[_Samples, Optional[str]]:
    """A batch of each pipeline, and why it is made up if it is."""
    dataset = cfg['train_dataloader']['dataset']
    hooks = cfg.get('custom_hooks') or []
    switched = [hook['switch_pipeline'] for hook in hooks if 'switch_pipeline' in hook]
    ways = [dataset, *({**dataset, 'pipeline': pipeline} for pipeline in switched)]
    samples: list[dict] = []
    try:
        for way in ways:
            real = DATASETS.build(copy.deepcopy(way))
            count = len(real)
            if not count:
                raise ValueError('train_dataloader.dataset: there are no samples in it')
            samples += [real[i * (count // BATCH) % count] for i in range(BATCH)]
        return _Samples(samples, real.metainfo), None
    except (OSError, AssertionError) as error:  # MMPose asserts that a file is there
        if isinstance(error, AssertionError) and 'exist' not in str(error):
            raise
        missing = f'the training data is not there ({" ".join(str(error).split())})'
    samples = [s for way in ways for s in itertools.islice(made_up_samples(way), BATCH)]
    return _Samples(samples, metainfo_of(dataset)), missing


# ------------------------------------------------------------------------------- the step


class _Enough(Exception):
    """The step is made."""


class _StopAfter(Hook):
    """Ends the training, and keeps the losses."""

    priority = 'LOWEST'

    def __init__(self, iterations: int):
        self.left, self.losses = iterations, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Count."""
        self.losses = {k: float(v) for k, v in (outputs or {}).items() if 'loss' in k}
        self.left -= 1
        if self.left == 0:
            raise _Enough


#: hooks of MMEngine and MMPose that write or draw
WRITING = ('timer', 'logger', 'checkpoint', 'visualization', 'badcase')


def _steps(cfg: Config, samples: _Samples, folder: str) -> tuple[dict[str, float], str]:
    """Losses of the last step, and the device."""
    for name in ('val', 'test'):
        for part in ('dataloader', 'cfg', 'evaluator'):
            cfg[f'{name}_{part}'] = None
    cfg.default_hooks = {
        **{k: v for k, v in (cfg.get('default_hooks') or {}).items() if k not in WRITING},
        **dict.fromkeys(('timer', 'logger', 'checkpoint')),
    }
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or []
        if not getattr(_hook_class(hook), 'needs_validation', False)
    ]
    cfg.update(work_dir=folder, resume=False, log_level='CRITICAL', visualizer=None)
    cfg.update(launcher='none', experiment_name=None)
    runner = Runner.from_cfg(cfg)
    loader = cfg['train_dataloader']
    runner._train_dataloader = dict(  # not in the config, which is logged as a text
        batch_size=BATCH,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=samples,
        **{key: loader[key] for key in ('collate_fn',) if key in loader},
    )
    stop = _StopAfter(len(samples) // BATCH)
    runner.register_hook(stop, 'LOWEST')
    try:
        runner.train()
    except _Enough:
        pass
    finally:
        for handler in list(runner.logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()  # its file is in the folder that goes
    return stop.losses, str(next(runner.model.parameters()).device)


def _hook_class(hook: dict) -> Optional[type]:
    kind = hook.get('type')
    return kind if isinstance(kind, type) else HOOKS.get(type_name(hook))


def _without_addresses(cfg: Config) -> Iterator[str]:
    """Take out what would be fetched, in place; what that was, in words."""

    def is_address(source) -> bool:
        return isinstance(source, str) and '://' in source

    found = set()

    def look(node) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                source = value.get('checkpoint') if isinstance(value, dict) else None
                if (key == 'init_cfg' and is_address(source)) or (
                    key in ('checkpoint', 'pretrained', 'load_from') and is_address(value)
                ):
                    node[key] = None
                    found.add(key)
                else:
                    look(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                look(value)

    look(cfg._cfg_dict)
    if found & {'init_cfg', 'pretrained', 'load_from'}:
        yield 'from random weights, as those to start from stand at an address'
    if 'checkpoint' in found:
        yield 'with an untrained teacher, as its checkpoint stands at an address'


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
