"""Whether DSKD fits a config, and the config that trains with it."""

from __future__ import annotations

import copy
from typing import Optional

import torch
from mmpose.registry import MODELS
from torch import nn

from ..core.checks import is_whole, refusal
from ..core.deployed import deployed_head
from ..core.random_state import random_states_kept
from ..core.recipe import Figures, Recipe, changed, register, type_name
from .student import known_kind

HOOK = dict(type='DSKDHook', guides='generations', num_guides=2)


def misfit(cfg: dict) -> Optional[str]:
    """Why a config's model cannot be guided by its own earlier selves; None if it can."""
    for key, look in (
        ('custom_hooks', _present),
        ('train_cfg', _too_short),
        ('model', _unknown_head),
    ):
        try:
            reason = look(cfg.get(key))
        except Exception as error:  # a config may be wrong in any way
            reason = f'{key} cannot be used: {type(error).__name__}: {error}'
        if reason is not None:
            return ' '.join(reason.split())
    return None


def distilled(cfg: dict) -> dict:
    """The config with :class:`DSKDHook`, whose defaults go by what the head puts out."""
    return changed(cfg, hooks=(HOOK,))


def _present(hooks: Optional[list]) -> Optional[str]:
    """The hook is in the config already."""
    if any(type_name(hook) == HOOK['type'] for hook in hooks or []):
        return f'custom_hooks: {HOOK["type"]} stands in them already'
    return None


def _too_short(train_cfg: Optional[dict]) -> Optional[str]:
    """The run cannot be cut into generations."""
    settings = train_cfg or {}
    iterations = settings.get('by_epoch') is False
    iterations |= type_name(settings) == 'IterBasedTrainLoop'
    name = 'max_iters' if iterations else 'max_epochs'
    found, least = settings.get(name), HOOK['num_guides'] + 1
    if is_whole(found) and found >= least:
        return None
    return str(refusal(f'train_cfg.{name}', found, f'give {least} or more, one a generation'))


def _unknown_head(model: Optional[dict]) -> Optional[str]:
    """There is no head, or none whose output is known."""
    with random_states_kept():
        head = _deployed_head(model or {})
    if head is None:
        return 'model.head: there is none to guide'
    try:
        known_kind(head, 'DSKD')
    except ValueError as error:
        return str(error)
    return None


def _deployed_head(model: dict) -> Optional[nn.Module]:
    """The head that a config's model predicts with after export, None if it has none."""
    head = model.get('head')
    kinds = [part['type'] for part in (model, head) if part]
    classes = [MODELS.get(kind) if isinstance(kind, str) else kind for kind in kinds]
    if any(hasattr(kind, 'deployed') for kind in classes):  # of another method: it is asked
        whole = MODELS.build(copy.deepcopy(model))
        return dict(whole.named_modules()).get(deployed_head(whole))
    with torch.device('meta'):
        return MODELS.build(copy.deepcopy(head)) if head else None


RECIPE = register(
    Recipe(
        name='dskd',
        title='guided by its own earlier selves; needs no teacher',
        needs_teacher=False,
        misfit=misfit,
        distilled=distilled,
        figures=Figures(
            time='1.2 to 1.8: a forward pass for each guide there is',
            memory="the guides' weights (37 MiB each of MobileNetV2, 109 of HRNet-w32)",
            gain='where the plain model no longer improves +1.2 [+0.3, +2.0] PCK@0.2 (5 seeds); '
            'where it still learns it costs accuracy, up to 6 points',
        ),
        page='dskd.md',
        notes={'DSKDHook': 'the model itself is not changed'},
    )
)
