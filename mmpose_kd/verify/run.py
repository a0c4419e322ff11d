"""Some steps and a small validation of a config, through MMEngine's Runner and all hooks."""

from __future__ import annotations

import copy
import itertools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpose.registry import DATASETS
from torch.utils.data import Dataset, Sampler

from ..core.dry_run import Enough, close_log, dry_runner, losses_of
from ..core.keypoint_counts import dataset_problem, head_problem
from ..core.runner import unwrapped
from ..core.steps import step
from ..gain.timing import MiddleOfRun
from .costs import Cost, costs_of

STEPS = 3  # the first is a warm-up


@dataclass
class Measured:
    """What a dry run showed.

    Attributes:
        device: Where it computed.
        batch: Pictures in a step.
        persons: Samples of the training data.
        seconds: Of each step, with everything that hooks do.
        loading: Seconds in which one process makes a batch.
        losses: Of the last step.
        memory: Most bytes in use.
        memory_of: Of what, in words.
        costs: Of student, training, and frozen models.
        validated: How many samples were validated; None without a validation.
        validation: How many there are.
        metrics: Names of what the validation measured.
        epochs: Of the whole run; None if it counts iterations.
        iterations: Of the whole run if it counts them.
        drop_last: Whether an epoch's last, smaller batch is left out.
    """

    device: str = ''
    batch: int = 0
    persons: int = 0
    seconds: list[float] = field(default_factory=list)
    loading: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    memory_of: str = ''
    costs: list[Cost] = field(default_factory=list)
    validated: Optional[int] = None
    validation: int = 0
    metrics: list[str] = field(default_factory=list)
    epochs: Optional[int] = None
    iterations: Optional[int] = None
    drop_last: bool = False

    @property
    def step(self) -> float:
        """Seconds of a step: the mean without the first."""
        return sum(self.seconds[1:]) / (len(self.seconds) - 1)


def measured(cfg: Config, device: Optional[str], images: int) -> Measured:
    """Train a config for some steps, then validate it on a few samples.

    Args:
        cfg: See :func:`~mmpose_kd.core.dry_run.leave_nothing`; changed in place.
        device: ``'cpu'``, ``'cuda'``; None: as MMEngine chooses.
        images: How many samples to validate.

    Raises:
        Exception: Whatever is wrong in a config.
    """
    step('building the model')
    model_config = copy.deepcopy(cfg.to_dict()['model'])
    runner = dry_runner(cfg, device)
    found = Measured(device=device_name(runner))
    step('reading the data')
    _prepare_data(runner, cfg, images, found)
    runner.register_hook(MiddleOfRun(check=True), 'VERY_LOW')
    runner.register_hook(_Clock(found, model_config), 'LOWEST')
    try:
        runner.train()
    except Enough:
        if found.validated is not None:
            step(f'validating {found.validated} samples')
            found.metrics = sorted(runner.val_loop.run())
    finally:
        close_log(runner)
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        found.iterations = loop.max_iters
    else:
        found.epochs = loop.max_epochs
    return found


def device_name(runner: Runner) -> str:
    """A GPU's name, or how many threads the CPU computes with."""
    device = next(unwrapped(runner).parameters()).device
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f'{device.type.upper()}, {threads} thread{"s" if threads > 1 else ""}'


# ------------------------------------------------------------------------------- the data


class _First(Dataset):
    """The first samples of a data set, with its meta information."""

    def __init__(self, dataset: Dataset, count: int):
        self.dataset, self.count = dataset, min(count, len(dataset))

    @property
    def metainfo(self) -> dict:
        """Of the whole data set."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict:
        return self.dataset[i]


class _Repeated(Sampler):
    """Gives a sampler's numbers again and again, for more batches than the data is enough for."""

    def __init__(self, sampler: Sampler, count: int):
        self.sampler, self.count = sampler, count

    def __iter__(self) -> Iterator[int]:
        again = itertools.chain.from_iterable(itertools.repeat(self.sampler))
        return itertools.islice(again, self.count)

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """As the runner does."""
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)


def _prepare_data(runner: Runner, cfg: Config, images: int, found: Measured) -> None:
    """Give the runner its loaders: in this process, the validation's for a few samples."""
    own = _in_process(cfg['train_dataloader'])
    loader = runner.build_dataloader(own, seed=runner.seed)
    found.persons, found.drop_last = len(loader.sampler), loader.drop_last
    if not found.persons:
        raise ValueError('train_dataloader.dataset: there are no samples in it')
    meta = loader.dataset.metainfo
    problem = dataset_problem(meta, loader.dataset[0])
    if problem:
        raise ValueError(f'train_dataloader.dataset.metainfo: {problem}')
    problem = head_problem(meta, unwrapped(runner))
    if problem:
        raise ValueError(problem)
    found.batch = loader.batch_size or own['batch_size']
    if found.persons < found.batch * (STEPS + 1):
        sampler = _Repeated(loader.sampler, found.batch * (STEPS + 1))
        own.update(dataset=loader.dataset, sampler=sampler)
        loader = runner.build_dataloader(own, seed=runner.seed)
    runner._train_dataloader = loader
    if runner._val_loop is None:
        return
    val = _in_process(cfg['val_dataloader'])
    whole = DATASETS.build(val['dataset'])
    val['dataset'] = _First(whole, images)
    found.validated, found.validation = len(val['dataset']), len(whole)
    if not found.validated:
        raise ValueError('val_dataloader.dataset: there are no samples in it')
    problem = dataset_problem(whole.metainfo, whole[0])
    if problem:
        raise ValueError(f'val_dataloader.dataset.metainfo: {problem}')
    val['batch_size'] = min(val.get('batch_size', 1), found.validated)
    runner._val_dataloader = val


def _in_process(loader: dict) -> dict:
    """A loader's config without processes of its own."""
    loader = {k: v for k, v in loader.items() if k not in ('prefetch_factor', 'num_workers')}
    return {**copy.deepcopy(loader), 'num_workers': 0, 'persistent_workers': False}


# ------------------------------------------------------------------------------ the steps


class _Clock(Hook):
    """Measures the steps; of the batch that follows it counts what a pass costs, and stops."""

    priority = 'LOWEST'  # last before a step, and last after it

    def __init__(self, found: Measured, model_config: dict):
        self.found, self.model_config = found, model_config
        self.waiting: list[float] = []  # for batches
        self.start = self.end = 0.0

    def before_train(self, runner: Runner) -> None:
        """Begin to wait for the first batch."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        step('loading a batch')
        self.end = _now()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Begin a step."""
        self.waiting.append(_now() - self.end)
        done = len(self.found.seconds)
        if done < STEPS:
            step(f'training step {done + 1} of {STEPS}')
            self.start = _now()
            return
        self.found.loading = min(self.waiting)
        self.found.memory, self.found.memory_of = _memory(runner)
        step('counting operations')
        self.found.costs = costs_of(runner, self.model_config, data_batch)
        raise Enough

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """End a step."""
        self.found.losses = losses_of(outputs)
        self.end = _now()
        self.found.seconds.append(self.end - self.start)


def _now() -> float:
    """The time when all that was started is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _memory(runner: Runner) -> tuple[int, str]:
    """Most bytes that were in use, and of what."""
    device = next(unwrapped(runner).parameters()).device
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device), 'tensors on the GPU'
    try:
        import resource  # not on Windows
    except ModuleNotFoundError:
        return 0, 'not measured here'
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == 'darwin' else 1024
    return most * unit, 'this process, with Python and its libraries; a GPU needs less'


def iterations(persons: int, batch: int, gpus: int, drop_last: bool) -> int:
    """Steps of an epoch: each GPU has its share of the samples, rounded up."""
    share = math.ceil(persons / gpus)
    return share // batch if drop_last else math.ceil(share / batch)
