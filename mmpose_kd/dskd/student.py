"""The student as its guides have to know it: what is deployed of the model in training."""

from __future__ import annotations

import copy
import hashlib
from typing import Union

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.deployed import deployed_head, deployments_outside_in
from ..core.head_output import HEADS, head_kind, names_of, read_output
from ..core.random_state import random_states_kept
from ..core.runner import unwrapped
from .losses import OwnLoss, own_loss


class GuidedStudent:
    """The part of a run's model that is deployed.

    Args:
        runner: Built from a config.
        key: Name of the config key that asks, for messages.

    Attributes:
        model: The model in training, without a wrapper.
        config: Of the deployed model, a stock one.
        head: The deployed head, in ``model``.
        kind: What the head puts out, see :func:`head_kind`.

    Raises:
        ValueError: The model's config is not known, or what its head puts out.
    """

    def __init__(self, runner: Runner, key: str):
        self.model, self.key = unwrapped(runner), key
        self._whole = _model_config(runner, key)
        self._parts = list(deployments_outside_in(self._whole, self.model))
        self.config = self._whole
        for part in self._parts:
            self.config = part.config(self.config)
        path = deployed_head(self.model)
        if path not in dict(self.model.named_modules()):
            name = type(self.model).__name__
            raise ValueError(f'{key}: model.type={name} has no {path} to guide')
        self.head = self.model.get_submodule(path)
        self.kind = known_kind(self.head, key)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of the deployed model, as they are now."""
        state = self.model.state_dict()
        for part in self._parts:
            state = part.state_dict(state)
        return state

    def output(self, returned: list) -> list[Tensor]:
        """What the head said, see :func:`read_output`.

        Args:
            returned: What its ``forward`` returned each time it was run.

        Raises:
            ValueError: It was not run.
        """
        if not returned:
            raise ValueError(
                f'{self.key}: {type(self.head).__name__}.loss() does not call its own forward(), '
                'so that what it puts out is not known'
            )
        return read_output(self.kind, returned[-1])

    def own_loss(self, returned: list) -> OwnLoss:
        """The loss of one guide for a batch, see :func:`own_loss`.

        Args:
            returned: As for :meth:`output`.
        """
        return own_loss(self.kind, self.head, returned[-1])

    def draw_anew(self, seed: str, optim_wrapper: Union[OptimWrapper, OptimWrapperDict]) -> None:
        """Give the whole model new weights, and the optimiser an empty state.

        Args:
            seed: The same one gives the same weights.
            optim_wrapper: The run's.
        """
        with random_states_kept(hashlib.sha256(seed.encode()).hexdigest()):
            fresh = MODELS.build(copy.deepcopy(self._whole))
            fresh.init_weights()
        self.model.load_state_dict(fresh.state_dict())
        several = isinstance(optim_wrapper, OptimWrapperDict)
        for one in optim_wrapper.values() if several else [optim_wrapper]:
            one.zero_grad()
            one.optimizer.state.clear()


def _model_config(runner: Runner, key: str) -> dict:
    """The config of the model in training, with the data preprocessor that the Runner gave it."""
    config = runner.cfg.get('model')
    if not isinstance(config, dict) or 'type' not in config:
        raise ValueError(
            f'{key} needs the config of the model to make copies of it; build the runner from a '
            'config'
        )
    config = copy.deepcopy(dict(config))
    if runner.cfg.get('data_preprocessor') is not None:
        config.setdefault('data_preprocessor', copy.deepcopy(runner.cfg.data_preprocessor))
    return config


def known_kind(head: nn.Module, key: str) -> str:
    """:func:`head_kind` of a head that guides or is guided.

    Args:
        head: The head that is deployed.
        key: Name of the config key that asks, for messages.

    Raises:
        ValueError: It is not known what the head puts out.
    """
    kind = head_kind(head)
    if kind is None:
        codec = getattr(head, 'decoder', None)
        if getattr(codec, 'heatmap_type', None) == 'combined':
            raise ValueError(
                f"{key} does not know model.head.decoder.heatmap_type='combined', heatmaps with "
                "offsets: give 'gaussian'"
            )
        raise ValueError(
            f'{key} does not know what model.head.type={type(head).__name__} puts out: give one '
            f'of {names_of(*HEADS)}, or let the head have an attribute output_kind, one of '
            f'{list(HEADS)}'
        )
    return kind
