"""The same initial weights for what two models share."""

from __future__ import annotations

import copy
from typing import Optional

from mmengine.model import BaseModel
from mmengine.runner import set_random_seed
from mmpose.registry import MODELS
from torch import Tensor


def initial_weights(model: dict, plain: Optional[dict], seed: int) -> dict[str, Tensor]:
    """State dict to start a training from.

    Args:
        model: Config of the model that is trained.
        plain: Config of the plain model: its initial weights replace those of the part of
            ``model`` that is deployed. None: ``model`` is the plain one.
        seed: Seed of the run.

    Raises:
        ValueError: What is deployed of ``model`` is not the plain model.
    """
    built = _initialized(model, seed)
    state = built.state_dict()
    if plain is None:
        return state
    shared = _initialized(plain, seed).state_dict()
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


def training_part(model: BaseModel):
    """The outermost part that exists in training only, None in a plain model."""
    return next((m for m in model.modules() if hasattr(m, 'deployed')), None)


def deployed_names(config: dict, model: BaseModel) -> dict[str, str]:
    """Weights of the deployed student: name in the plain model to name in ``model``.

    Training-only parts are taken off from the outside in, as the export does.
    """
    names = {name: name for name in model.state_dict()}
    part = training_part(model)
    while part is not None:
        deployed = part.deployed()
        names = deployed.state_dict(names)
        config = deployed.config(config)
        part = training_part(MODELS.build(copy.deepcopy(config)))
    return names
