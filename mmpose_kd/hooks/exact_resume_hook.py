"""A run that is resumed goes on exactly as it would have: the same order, pictures and draws."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import numpy as np
import torch
from mmengine.dataset import RepeatDataset
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpose.registry import HOOKS

from ..core.random_state import random_states_kept
from ..core.runner import check_hooks, datasets_of


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Let every random number of an epoch depend on the run's seed and the epoch alone.

    MMEngine's checkpoints hold no random state: after a resume augmentations, dropout and the
    like are others than they would have been. With this hook all generators are seeded anew at
    the start of an epoch, and each sample's augmentation draws from the run's seed, the epoch,
    the data set and the sample's number, whichever worker loads it. So a run that is resumed
    from the checkpoint of an epoch gives the same losses as one that was never stopped, to the
    last bit where the arithmetic is (on the CPU).

    The pipeline's steps must draw from ``random``, ``numpy.random`` or torch, as MMPose's do.

    Raises:
        ValueError: Before the training: ``randomness.seed`` is not set, the run counts
            iterations instead of epochs, or a ``RepeatDataset`` shows a sample several times in
            an epoch, which would be the same picture each time.
    """

    priority = 'VERY_LOW'  # after hooks that switch the pipeline

    def __init__(self):
        # one for all: workers that stay read it, also when a training goes on that was stopped
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def before_run(self, runner: Runner) -> None:
        """Look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)

    def before_train(self, runner: Runner) -> None:
        """Look at the settings."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                'custom_hooks: ExactResumeHook needs train_cfg.by_epoch=True: a run of iterations '
                'begins its data anew when it is resumed'
            )
        if (runner.cfg.get('randomness') or {}).get('seed') is None:
            raise ValueError(
                'custom_hooks: ExactResumeHook needs randomness=dict(seed=...): without it the '
                'order of the data is another one after a resume'
            )
        if any(isinstance(d, RepeatDataset) for d in datasets_of(runner.train_dataloader.dataset)):
            raise ValueError(
                'train_dataloader.dataset: with ExactResumeHook a RepeatDataset would show the '
                'same pictures several times in an epoch; give the data set in it, and more epochs'
            )
        self.seed = runner.cfg.randomness.seed

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the generators; tell the samples the epoch."""
        self.epoch.fill_(runner.epoch)
        self._unseed(runner)
        for number, dataset in enumerate(datasets_of(runner.train_dataloader.dataset)):
            if getattr(dataset, 'pipeline', None) is not None:
                seed = f'{self.seed} {number}'
                dataset.pipeline = SeededPipeline(dataset.pipeline, seed, self.epoch)
        number = int(_digest(self.seed, runner.epoch, 'rank', get_rank())[:16], 16)
        random.seed(number)
        np.random.seed(number % 2**32)
        torch.manual_seed(number % 2**63)

    def after_train(self, runner: Runner) -> None:
        """Take the seeds off the data set."""
        self._unseed(runner)

    def _unseed(self, runner: Runner) -> None:
        for dataset in datasets_of(runner.train_dataloader.dataset):
            if isinstance(getattr(dataset, 'pipeline', None), SeededPipeline):
                dataset.pipeline = dataset.pipeline.pipeline


class SeededPipeline:
    """A pipeline whose random numbers depend on seed, epoch and sample.

    Args:
        pipeline: The data set's; its own attributes can be reached here too.
        seed: The run's and the data set's.
        epoch: A number in memory that processes share.
    """

    def __init__(self, pipeline: Callable, seed: str, epoch: torch.Tensor):
        self.pipeline, self.seed, self.epoch = pipeline, seed, epoch

    def __getattr__(self, name: str):
        if name == 'pipeline' or name.startswith('__'):  # asked for while being unpickled
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def __call__(self, sample: dict):
        key = (self.seed, int(self.epoch), sample.get('sample_idx'))
        with random_states_kept(_digest(*key)):
            packed = self.pipeline(sample)
        if packed is None:  # the data set draws another sample
            np.random.seed(int(_digest(*key, 'another')[:8], 16))
        return packed


def _digest(*parts) -> str:
    return hashlib.sha256(' '.join(map(str, parts)).encode()).hexdigest()
