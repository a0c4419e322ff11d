"""The same initial weights for what a plain and a distilled model share."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Optional

import torch
from mmengine.model import BaseModel
from mmengine.runner import set_random_seed
from mmengine.runner.checkpoint import load_state_dict
from mmpose.registry import MODELS
from torch import Tensor

from ..core.checkpoints import read_checkpoint
from ..core.deployed import deployments_outside_in
from ..core.weights import state_of


def initial_weights(
    model: dict, plain: Optional[dict], seed: int, load_from: Optional[str] = None
) -> dict[str, Tensor]:
    """State dict to start a training from.

    Args:
        model: Config of the model that is trained.
        plain: Config of the plain model: its initial weights replace those of the part of
            ``model`` that is deployed. None: ``model`` is the plain one.
        seed: Seed of the run.
        load_from: Checkpoint (file or address) whose weights the plain model starts from.

    Raises:
        ValueError: What is deployed of ``model`` is not the plain model, or the checkpoint has
            none of its weights.
    """
    built = _initialized(model, seed)
    if plain is None:
        return _loaded(built, load_from).state_dict()
    state = built.state_dict()
    shared = _loaded(_initialized(plain, seed), load_from).state_dict()
    names = deployed_names(model, built)
    wrong = [f'{name} (only in one of them)' for name in names.keys() ^ shared.keys()]
    wrong += [
        f'{name} ({tuple(state[names[name]].shape)} against {tuple(shared[name].shape)} in plain)'
        for name in names.keys() & shared.keys()
        if state[names[name]].shape != shared[name].shape
    ]
    if wrong:
        some = ', '.join(sorted(wrong)[:3])
        raise ValueError(
            f'the part of the distilled model that is deployed is not the plain model: {some}'
            f'{f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""}; '
            'give a pair of configs with the same student'
        )
    return {**state, **{names[name]: value for name, value in shared.items()}}


def _initialized(model: dict, seed: int) -> BaseModel:
    set_random_seed(seed)
    built = MODELS.build(copy.deepcopy(model))
    built.init_weights()
    return built


def _loaded(model: BaseModel, load_from: Optional[str]) -> BaseModel:
    """The model with what fits of a checkpoint, as MMEngine's Runner loads it."""
    if not load_from:
        return model
    saved = state_of(read_checkpoint(load_from), load_from)
    state = OrderedDict((key.removeprefix('module.'), value) for key, value in saved.items())
    # by its version a head knows whether to convert the names
    state._metadata = getattr(saved, '_metadata', OrderedDict())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_state_dict(model, state, strict=False)
    after = model.state_dict()
    if all(torch.equal(after[k], v) for k, v in before.items() if v.is_floating_point()):
        raise ValueError(
            f'load_from: {load_from} has no weights of the plain model: give a checkpoint of it, '
            'or init_cfg=dict(type="Pretrained", ...) to the backbone'
        )
    return model


def deployed_names(config: dict, model: BaseModel) -> dict[str, str]:
    """Weights of the deployed student: name in the plain model to name in ``model``.

    Training-only parts are taken off from the outside in, as the export does.
    """
    names = {name: name for name in model.state_dict()}
    for part in deployments_outside_in(config, model):
        names = part.state_dict(names)
    return names
