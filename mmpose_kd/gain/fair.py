"""The same samples for every model: what makes runs comparable, and a resumed one exact."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmpose.registry import DATASETS
from torch.utils.data import Dataset

from ..core.checks import built_by, checked_whole
from ..core.random_state import digest, random_states_kept, seed_libraries
from ..core.runner import datasets_of


def seed_all(*entropy: int) -> None:
    """Seed Python's, numpy's and torch's generators from whole numbers."""
    _seed(entropy, torch)


def _seed(entropy: tuple[int, ...], generator) -> None:
    """Seed Python's and numpy's generators, and torch's (``torch`` itself: the GPU's as well)."""
    words = [int(word) for word in np.random.SeedSequence(entropy).generate_state(3)]
    random.seed(words[0])
    np.random.seed(words[1])
    generator.manual_seed(words[2])


@contextlib.contextmanager
def seeded(*entropy: int):
    """Seed the CPU's generators, and put them back as they were at the end."""
    with random_states_kept():
        _seed(entropy, torch.default_generator)
        yield


@DATASETS.register_module()
class SeededSamples(Dataset):
    """A data set whose augmentation depends on nothing but seed, epoch and index.

    So it is the same whatever the model draws at random, however many workers load, and after
    a run was resumed. Everything else is the wrapped data set's.

    Args:
        dataset (dict): Config of the data set.
        seed (int): Seed of the run, 0 or more.

    Raises:
        ValueError: A setting that cannot be used.
    """

    seeds_only = True  # so a teacher's cache is known by the wrapped data set

    def __init__(self, dataset: dict, seed: int):
        self.dataset = built_by(DATASETS, dataset, 'SeededSamples.dataset')
        self.seed = checked_whole(seed, 'SeededSamples.seed', least=0)
        self.epoch = 0

    def __getattr__(self, name: str):
        if name == 'dataset' or name.startswith('__'):  # asked for while being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    @property
    def pipeline(self):
        """The wrapped data set's: hooks that switch the pipeline set it here."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline) -> None:
        self.dataset.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        with seeded(self.seed, self.epoch, index):
            name = digest(self.seed, self.epoch, index)
            for dataset in datasets_of(self.dataset):
                seed_libraries(getattr(dataset, 'pipeline', None), name)
            return self.dataset[index]


class SeedEpoch(Hook):
    """Seeds every generator at the start of an epoch, and tells the data set the epoch.

    Args:
        seed (int): Seed of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def before_train_epoch(self, runner) -> None:
        """Before the loader starts its workers, which copy the data set."""
        seed_all(self.seed, runner.epoch)
        runner.train_dataloader.dataset.epoch = runner.epoch


def fair(cfg: Config, seed: int) -> Config:
    """The config with :class:`SeededSamples`; :class:`SeedEpoch` has to be registered too."""
    cfg = Config(cfg.to_dict())
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
    loader = cfg.train_dataloader
    loader.dataset = dict(type='SeededSamples', dataset=loader.dataset, seed=seed)
    # a worker that outlives the epoch would not hear of the next one
    loader.persistent_workers = False
    return cfg
