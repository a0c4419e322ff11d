"""A dry run of a config: its files, its model, three steps, a small validation, an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
from mmengine.config import Config

from ..core.checks import checked_choice, checked_whole
from ..core.config_file import merge_options, read_config
from ..core.dry_run import apart, copied, leave_nothing, told
from ..core.steps import step
from ..core.weight_sources import take_out, weight_sources
from ..distiller.model_config import model_config
from .data import missing_files, put_at
from .report import Report
from .run import measured
from .weights import missing_weights

#: settings of evaluators that name files to write
WRITTEN = ('outfile_prefix', 'out_file_path')


class VerifyError(ValueError):
    """A config cannot be run; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """What to verify, and how.

    Attributes:
        config: Path of a config, of ours or any other, or an installed one's name.
        data_root: Folder of the data, see :func:`~mmpose_kd.verify.data.put_at`; None: where the
            config says.
        batch_size: Pictures in a step; None: the config's.
        num_images: How many samples are validated.
        device: ``'cpu'``, ``'cuda'``; None: as MMEngine chooses.
        gpus: How many GPUs the whole run is to have, for the estimate.
        weights: Whether checkpoints are read; else everything starts from random weights.
        options: Changes to the config, by their keys.
    """

    config: str
    data_root: Optional[str] = None
    batch_size: Optional[int] = None
    num_images: int = 8
    device: Optional[str] = None
    gpus: int = 1
    weights: bool = True
    options: Optional[dict] = None


def verify(settings: Settings) -> Report:
    """Look for everything that a training needs, and run a little of it.

    Nothing is written: what MMEngine writes goes into a folder that is removed. Weights that
    stand at an address are fetched into torch's cache, as the training would.

    Args:
        settings: See :class:`Settings`.

    Raises:
        VerifyError: Something is missing or wrong.
        ConfigError: The config cannot be read.
        FileNotFoundError: The folder of the data is not there.
        ValueError: A setting that cannot be used. (The first two are ``ValueError`` as well.)
    """
    checked_whole(settings.batch_size, '--batch-size', least=1, optional=True)
    checked_whole(settings.num_images, '--num-images', least=1)
    checked_whole(settings.gpus, '--gpus', least=1)
    checked_choice(settings.device, '--device', ('cpu', 'cuda'), optional=True)
    if settings.device == 'cuda' and not torch.cuda.is_available():
        raise VerifyError('--device cuda: torch finds no GPU here; give cpu, or leave it out')
    cfg = _config_of(settings)
    stated = cfg.train_dataloader.get('batch_size')
    workers = cfg.train_dataloader.get('num_workers', 0)
    length = dict(cfg.train_cfg)
    left_out = _check_what_is_needed(cfg, settings)
    if settings.batch_size is not None:
        cfg.train_dataloader['batch_size'] = settings.batch_size
    with apart(cfg.get('default_scope') or 'mmpose') as folder:
        validates = cfg.get('val_dataloader') is not None
        left_out += leave_nothing(cfg, folder, validates, settings.device)
        _write_into(folder, cfg.get('val_evaluator'))
        try:
            found = measured(cfg, settings.device, settings.num_images)
        except Exception as error:  # whatever is wrong in a config
            raise VerifyError(f'the dry run fails: {told(error)}') from error
    if found.epochs is None:  # the run's own length, of which a dry run may need more
        found.iterations = length.get('max_iters', found.iterations)
    else:
        found.epochs = length.get('max_epochs', found.epochs)
    infinite = [name for name, value in found.losses.items() if not abs(value) < float('inf')]
    if infinite:
        raise VerifyError(f'the dry run gives {infinite[0]}={found.losses[infinite[0]]}')
    return Report(settings.config, found, settings.gpus, stated, workers, left_out)


def _config_of(settings: Settings) -> Config:
    cfg = copied(read_config(settings.config))
    merge_options(cfg, settings.options)
    for key in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not isinstance(cfg.get(key), dict):
            raise VerifyError(f'{settings.config} has no {key}: give the config of a training')
    student = cfg.model.get('student')
    if isinstance(student, str):  # so that the weights it starts from are seen
        cfg.model['student'] = model_config(student, 'model.student')
    return cfg


def _check_what_is_needed(cfg: Config, settings: Settings) -> list[str]:
    """Look for files and weights; what is left out of them, in words.

    What stands at an address is asked for when all else is there.
    """
    if settings.data_root is not None:
        put_at(cfg, settings.data_root)
    missing = list(missing_files(cfg))
    sources = weight_sources(cfg._cfg_dict)
    left_out = []
    if not settings.weights:
        left_out = take_out(sources, cfg._cfg_dict)
        sources = []
    missing += missing_weights([one for one in sources if not one.is_address])
    if not missing:
        for source in (one for one in sources if one.is_address):
            step(f'fetching {source.name}, if it is not there')
        missing += missing_weights([one for one in sources if one.is_address])
    if missing:
        raise VerifyError('; '.join(missing))
    return left_out


def _write_into(folder: str, evaluator) -> None:
    """Let evaluators write into a folder, in place."""
    if isinstance(evaluator, (list, tuple)):
        for one in evaluator:
            _write_into(folder, one)
    elif isinstance(evaluator, dict):
        for name in WRITTEN:
            if evaluator.get(name):
                evaluator[name] = f'{folder}/results.pkl'
        _write_into(folder, evaluator.get('metrics'))
