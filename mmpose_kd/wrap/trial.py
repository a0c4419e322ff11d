"""One training step of a config, through MMEngine's Runner and all of its hooks."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import Optional

from mmengine.config import Config
from mmengine.hooks import Hook
from mmpose.registry import DATASETS
from torch.utils.data import Dataset

from ..core.dry_run import (
    Enough,
    apart,
    close_log,
    copied,
    dry_runner,
    leave_nothing,
    losses_of,
    told,
)
from ..core.facts import flip_problem
from ..core.keypoint_counts import dataset_problem, head_problem
from ..core.weight_sources import take_out, weight_sources
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
    cfg = copied(config)
    without = take_out([s for s in weight_sources(cfg._cfg_dict) if s.is_address], cfg._cfg_dict)
    left_out = [f'{words}, as the weights stand at an address' for words in without]
    with apart(cfg.get('default_scope') or 'mmpose') as folder:
        left_out += leave_nothing(cfg, folder)
        try:
            samples, missing = _samples(cfg)
            meta = samples.metainfo
            problem = flip_problem(meta) or dataset_problem(meta, samples[0])
            if problem:
                raise ValueError(f'train_dataloader.dataset.metainfo: {problem}')
            losses, device = _steps(cfg, samples)
        except Exception as error:  # whatever is wrong in a config
            raise TrialError(f'the first training step fails: {told(error)}') from error
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
        if isinstance(error, AssertionError) and 'does not exist' not in str(error):
            raise
        missing = f'the training data is not there ({" ".join(str(error).split())})'
    samples = [s for way in ways for s in itertools.islice(made_up_samples(way), BATCH)]
    return _Samples(samples, metainfo_of(dataset)), missing


# ------------------------------------------------------------------------------- the step


class _StopAfter(Hook):
    """Ends the training, and keeps the losses."""

    priority = 'LOWEST'

    def __init__(self, iterations: int):
        self.left, self.losses = iterations, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Count."""
        self.losses = losses_of(outputs)
        self.left -= 1
        if self.left == 0:
            raise Enough


def _steps(cfg: Config, samples: _Samples) -> tuple[dict[str, float], str]:
    """Losses of the last step, and the device."""
    runner = dry_runner(cfg)
    loader = cfg['train_dataloader']
    runner._train_dataloader = dict(  # not in the config, which is logged as a text
        batch_size=BATCH,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=samples,
        **{key: loader[key] for key in ('collate_fn',) if key in loader},
    )
    problem = head_problem(samples.metainfo, runner.model)
    if problem:
        raise ValueError(problem)
    stop = _StopAfter(len(samples) // BATCH)
    runner.register_hook(stop, 'LOWEST')
    try:
        runner.train()
    except Enough:
        pass
    finally:
        close_log(runner)
    return stop.losses, str(next(runner.model.parameters()).device)
