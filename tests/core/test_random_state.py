"""Generators that steps of a pipeline have of their own, as newer albumentations."""

import numpy as np
import torch
from mmengine.dataset import Compose
from mmpose.registry import DATASETS
from torch.utils.data import Dataset

from mmpose_kd.gain.fair import SeededSamples
from mmpose_kd.hooks.exact_resume_hook import SeededPipeline


class Library:
    """What albumentations' Compose is: seeded by nothing but itself."""

    def __init__(self):
        self.generator = np.random.default_rng()

    def set_random_seed(self, seed):
        self.generator = np.random.default_rng(seed)


class Noise:
    """As MMPose's step Albumentation: it holds the library as ``aug``."""

    def __init__(self):
        self.aug = Library()

    def __call__(self, sample):
        return {**sample, 'noise': self.aug.generator.integers(1 << 60)}


def steps():
    return Compose([Compose([Noise()]), lambda sample: sample])


@DATASETS.register_module()
class NoisySamples(Dataset):
    """A data set with such a pipeline."""

    def __init__(self):
        self.pipeline = steps()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.pipeline({'sample_idx': index})['noise']


def test_an_exactly_resumed_run_seeds_them_by_epoch_and_sample():
    found = {
        (epoch, index): {
            SeededPipeline(steps(), 'seed', torch.tensor(epoch))({'sample_idx': index})['noise']
            for _ in range(3)
        }
        for epoch in (1, 2)
        for index in (0, 1)
    }
    assert all(len(same) == 1 for same in found.values())
    assert len(set().union(*found.values())) == 4


def test_the_harness_seeds_them_too():
    runs = [SeededSamples(dict(type='NoisySamples'), seed=3) for _ in range(2)]
    assert [runs[0][i] for i in (0, 1)] == [runs[1][i] for i in (0, 1)]
    assert runs[0][0] != runs[0][1]
    runs[1].epoch = 1
    assert runs[0][0] != runs[1][0]
