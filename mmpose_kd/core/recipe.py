"""How a method answers for itself: whether it fits a config, and what it makes of it.

Each method's folder has a ``recipe.py`` that registers a :class:`Recipe`. A command that advises
or wraps asks :data:`RECIPES` and holds no list of methods of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable, Optional

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.models.utils import check_and_update_config
from mmpose.registry import MODELS
from torch import Tensor, nn

from .checks import built_by, checked_size, is_list
from .random_state import random_states_kept

#: every method's recipe by its name, in the order of registration
RECIPES: dict[str, Recipe] = {}


@dataclass(frozen=True)
class Figures:
    """What was measured of a method, in words; None: it was not.

    Attributes:
        time: Of a training step, in steps of the plain model.
        memory: Of the training, beside the plain model's.
        gain: What it brought, and on what.
    """

    time: Optional[str] = None
    memory: Optional[str] = None
    gain: Optional[str] = None


@dataclass(frozen=True)
class Recipe:
    """A method, as seen from a config.

    Attributes:
        name: Its name on a command line: ``'okdhp'``.
        title: What it does, in half a sentence.
        needs_teacher: Whether :attr:`distilled` takes ``teacher``, the arguments of
            :class:`~mmpose_kd.distiller.Teacher`: ``dict(config=..., checkpoint=...)``.
        misfit: ``misfit(cfg)``: why the method does not fit a whole config (a dict, all of its
            bases merged), naming the key; None if it fits.
        distilled: ``distilled(cfg)`` or ``distilled(cfg, teacher)``: the whole config with which
            the method trains that model. The one given stays as it is; what is taken out of
            it is set to None, as a config that inherits it can do.
        teacher: What that teacher is, in half a sentence.
        figures: What it costs and what it brought where that was measured.
        page: The page of the docs that tells how, of which the figures are.
        notes: Comments for a config that shows what the method changes, by the place
            (``'model.test_cfg'``) or by the ``type`` of the dict that they are about.
        caution: ``caution(cfg)`` of a config that the method fits: what its user should know
            before the training, in one line; None if there is nothing.
    """

    name: str
    title: str
    needs_teacher: bool
    misfit: Callable[[dict], Optional[str]]
    distilled: Callable[..., dict]
    teacher: str = 'a trained model on heatmaps'
    figures: Figures = Figures()
    page: str = 'architecture.md'
    notes: Mapping[str, str] = field(default_factory=dict)
    caution: Callable[[dict], Optional[str]] = lambda cfg: None


def register(recipe: Recipe) -> Recipe:
    """Add a method to :data:`RECIPES`; its name must be new."""
    if RECIPES.setdefault(recipe.name, recipe) is not recipe:
        raise ValueError(f'there is a recipe called {recipe.name!r} already')
    return recipe


# --------------------------------------------------------------- what recipes have in common


def changed(cfg: dict, model: Optional[dict] = None, hooks: tuple[dict, ...] = ()) -> dict:
    """A copy of a config that imports this package.

    Args:
        cfg: A whole config.
        model: In place of its ``model``.
        hooks: Added to its ``custom_hooks``, if no hook of that type is there.
    """
    cfg = Config(copy.deepcopy(dict(cfg))).to_dict()
    if model is not None:
        cfg['model'] = model
    imports = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    names = imports['imports']
    names = [names] if isinstance(names, str) else list(names)
    names += [] if 'mmpose_kd' in names else ['mmpose_kd']
    cfg['custom_imports'] = {**imports, 'imports': names}
    own = list(cfg.get('custom_hooks') or [])
    present = {type_name(hook) for hook in own}
    cfg['custom_hooks'] = own + [hook for hook in hooks if hook['type'] not in present]
    return cfg


def type_name(cfg) -> str:
    """The name of a config's ``type``, which may be a class or have a scope; '' without one."""
    kind = cfg.get('type', '') if isinstance(cfg, dict) else ''
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.rpartition('.')[2]


def training_pipelines(cfg: dict) -> Iterator[list]:
    """Every pipeline that training pictures go through, as lists that may be changed in place.

    Of the training data set and the data sets that it is made of, and of hooks that switch the
    pipeline (``PipelineSwitchHook``).
    """

    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    yield from (pipeline for pipeline in pipelines_of(dataset) if isinstance(pipeline, list))
    for hook in cfg.get('custom_hooks') or []:
        if isinstance(hook.get('switch_pipeline'), list):
            yield hook['switch_pipeline']


def pipelines_of(dataset: dict) -> Iterator[Sequence]:
    """The pipelines of a data set's config, and of those that it is made of; the outermost first.

    ``RepeatDataset`` has a ``dataset``, ``ConcatDataset`` and ``CombinedDataset`` ``datasets``.
    """
    if is_list(dataset.get('pipeline')):
        yield dataset['pipeline']
    for inner in [*(dataset.get('datasets') or []), dataset.get('dataset')]:
        if isinstance(inner, dict):
            yield from pipelines_of(inner)


def input_size_of(codec) -> Optional[tuple[int, int]]:
    """Width and height of the input that a head's codec is for, None if its config does not say.

    Raises:
        ValueError: It says something else.
    """
    size = codec.get('input_size') if isinstance(codec, dict) else None
    return None if size is None else checked_size(size, 'model.head.decoder.input_size')


def updated(model: dict) -> dict:
    """A model's config with the neck and head that MMPose makes of older settings of a head.

    Such as ``input_transform='resize_concat'``, ``input_index`` and ``extra``, which MMPose takes
    in a whole model alone. Without them it is as it was.
    """
    neck, head = model.get('neck'), model.get('head')
    if not isinstance(head, dict) or not isinstance(neck, (dict, type(None))):
        return model
    new_neck, new_head = check_and_update_config(copy.deepcopy(neck), copy.deepcopy(head))
    return model if new_head == head else {**model, 'neck': new_neck, 'head': new_head}


def backbone_features(model: dict, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """What a model's backbone puts out for one picture, on meta tensors: shapes, no arithmetic.

    Args:
        model: Config of a model with a ``backbone``.
        size: Width and height of the input.

    Returns:
        Feature maps (1, C, h, w).

    Raises:
        Exception: What the backbone raises; a config may be wrong in any way.
    """
    backbone = backbone_without_values(model)
    mean = (model.get('data_preprocessor') or {}).get('mean')
    channels = model['backbone'].get('in_channels') or (3 if mean is None else len(mean))
    found = backbone(torch.empty(1, channels, size[1], size[0], device='meta'))
    return (found,) if isinstance(found, Tensor) else tuple(found)


def backbone_without_values(model: dict) -> nn.Module:
    """The backbone of a model's config, on the meta device.

    Raises:
        ValueError: It cannot be built.
    """
    config = {k: v for k, v in model['backbone'].items() if k not in ('init_cfg', 'pretrained')}
    return without_values(config, 'model.backbone')


def without_values(config: dict, key: str) -> nn.Module:
    """A model, or a part, that has shapes but no values; random numbers stay as they were.

    It is built on the meta device, or where a constructor looks at values, with values first.

    Raises:
        ValueError: It cannot be built; the message names the key.
    """
    with random_states_kept(), DefaultScope.overwrite_default_scope('mmpose'):
        try:
            with torch.device('meta'):
                part = built_by(MODELS, config, key)
        except Exception:  # a constructor may do anything
            part = built_by(MODELS, config, key).to('meta')
    part.requires_grad_(False)
    part.eval()  # of some backbones it returns None
    return part


def validates_branches(cfg: dict) -> bool:
    """Whether there is a validation that :class:`BranchMetricsHook` can extend."""
    evaluators = [cfg.get(key) for key in ('val_evaluator', 'test_evaluator')]
    special = [
        one
        for one in evaluators
        if isinstance(one, dict) and 'metrics' in one and type_name(one) not in ('', 'Evaluator')
    ]
    return bool(evaluators[0]) and not special


def reason_against(make: Callable[[dict], object]) -> Callable[[dict], Optional[str]]:
    """A ``misfit`` that tries: what is raised when something is made of a config, in one line."""

    def misfit(cfg: dict) -> Optional[str]:
        try:
            make(cfg)
        except ValueError as error:
            return ' '.join(str(error).split())
        except Exception as error:  # a config may be wrong in any way
            return ' '.join(f'model: {type(error).__name__}: {error}'.split())
        return None

    return misfit
