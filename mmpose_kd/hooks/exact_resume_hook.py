"""A run that is resumed goes on exactly as it would have: the same order, pictures and draws."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable

import numpy as np
import torch
from mmengine.dataset import RepeatDataset
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpose.registry import HOOKS

from ..core.random_state import random_states_kept, seed_libraries
from ..core.runner import check_hooks, datasets_of
from ..core.whole_checkpoints import keep_whole_checkpoints


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

    Checkpoints are written whole or not at all, unless ``CheckpointHook`` is given a backend, and
    two of them are kept where it is to keep one (``max_keep_ckpts=1``), as MMEngine removes the
    older one before it writes the newer. If the newest one was cut all the same (of a run without
    this hook, a copy that broke off), a warning names it and ``--resume`` goes on from the one
    before, if there is one.

    Raises:
        ValueError: Before the training: ``randomness.seed`` is not set; the run counts
            iterations instead of epochs; a ``RepeatDataset`` or ``sample_ratio_factor`` shows a
            sample several times in an epoch, which would be the same picture each time; an
            epoch ends between two steps of the optimizer (``accumulative_counts``), whose half
            sum of gradients no checkpoint holds; there is no whole checkpoint to resume from.
    """

    priority = 'VERY_LOW'  # after hooks that switch the pipeline

    def __init__(self):
        # one for all: workers that stay read it, also when a training goes on that was stopped
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def before_run(self, runner: Runner) -> None:
        """See to whole checkpoints; look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)
        keep_whole_checkpoints(runner)

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
        for dataset in datasets_of(runner.train_dataloader.dataset):
            if isinstance(dataset, RepeatDataset):
                raise ValueError(
                    'train_dataloader.dataset: with ExactResumeHook a RepeatDataset would show '
                    'the same pictures several times in an epoch; give the data set in it, and '
                    'more epochs'
                )
            if getattr(dataset, 'resample', False):
                raise ValueError(
                    'train_dataloader.dataset.sample_ratio_factor: with ExactResumeHook samples '
                    'cannot be drawn anew in each epoch; leave it out'
                )
        self._check_accumulation(runner)
        self.seed = runner.cfg.randomness.seed

    def _check_accumulation(self, runner: Runner) -> None:
        wrapper, steps = runner.optim_wrapper, len(runner.train_dataloader)
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        for each in wrappers:
            count = each._accumulative_counts
            if steps % count:
                raise ValueError(
                    f'optim_wrapper.accumulative_counts={count}: with ExactResumeHook it must '
                    f'divide the {steps} iterations of an epoch, whose end would fall between '
                    'two steps of the optimizer; give a divisor, or another batch_size'
                )

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the generators; tell the samples the epoch."""
        self.epoch.fill_(runner.epoch)
        self._unseed(runner)
        for number, dataset in enumerate(datasets_of(runner.train_dataloader.dataset)):
            if getattr(dataset, 'pipeline', None) is not None:
                seed = f'{self.seed} {number}'
                combined = hasattr(dataset, 'datasets')
                dataset.pipeline = SeededPipeline(dataset.pipeline, seed, self.epoch, combined)
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
        combined: Whether the data set is made of several, in which the numbers of the samples
            repeat: the picture's name and the annotation's id count then too.
    """

    def __init__(self, pipeline: Callable, seed: str, epoch: torch.Tensor, combined: bool = False):
        self.pipeline, self.seed, self.epoch = pipeline, seed, epoch
        self.combined = combined

    def __getattr__(self, name: str):
        if name == 'pipeline' or name.startswith('__'):  # asked for while being unpickled
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def __call__(self, sample: dict):
        key = (self.seed, int(self.epoch), sample.get('sample_idx'))
        if self.combined:
            key += (os.path.basename(str(sample.get('img_path'))), sample.get('id'))
        with random_states_kept(_digest(*key)):
            seed_libraries(self.pipeline, _digest(*key))
            packed = self.pipeline(sample)
        if packed is None:  # the data set draws another sample
            np.random.seed(int(_digest(*key, 'another')[:8], 16))
        return packed


def _digest(*parts) -> str:
    return hashlib.sha256(' '.join(map(str, parts)).encode()).hexdigest()
