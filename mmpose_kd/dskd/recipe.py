"""DSKD on a config of one's own."""

from __future__ import annotations

import copy
from typing import Optional

import torch
from mmpose.registry import MODELS
from torch import nn

from ..core.deployed import deployed_head
from ..core.random_state import random_states_kept
from ..core.recipe import Figures, Recipe, changed, register, type_name
from ..distiller.recipe import checked_teacher
from .student import known_kind

HOOK = 'DSKDHook'


def misfit(cfg: dict) -> Optional[str]:
    """Why a config's model cannot be guided by an earlier training of it; None if it can."""
    for key, look in (('custom_hooks', _present), ('model', _unknown_head)):
        try:
            reason = look(cfg.get(key))
        except Exception as error:  # a config may be wrong in any way
            reason = f'{key} cannot be used: {type(error).__name__}: {error}'
        if reason is not None:
            return ' '.join(reason.split())
    return None


def distilled(cfg: dict, teacher: dict) -> dict:
    """The config with :class:`DSKDHook`, whose defaults go by what the head puts out.

    Args:
        cfg: A whole config.
        teacher: A finished training of the same model, or of another one with such a head:
            arguments of :class:`~mmpose_kd.distiller.Teacher`, ``dict(config=...,
            checkpoint=...)``.

    Raises:
        ValueError: It is none.
    """
    return changed(cfg, hooks=(dict(type=HOOK, guides=[dict(checked_teacher(teacher))]),))


def _present(hooks: Optional[list]) -> Optional[str]:
    """The hook is in the config already."""
    if any(type_name(hook) == HOOK for hook in hooks or []):
        return f'custom_hooks: {HOOK} stands in them already'
    return None


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
        title='guided by finished trainings of the same network',
        needs_teacher=True,
        misfit=misfit,
        distilled=distilled,
        teacher='a finished training of the same model',
        figures=Figures(
            time='1.2 with two guides: a forward pass for each',
            memory="the guides' weights (37 MiB each of MobileNetV2, 109 of HRNet-w32)",
            gain='one guide, pretrained: none (-0.4 PCK@0.2, 2 seeds); two guides: +1.3, from '
            'scratch +0.3 and +1.0 (a search, one and two seeds), for two whole trainings more',
        ),
        page='dskd.md',
        notes={'DSKDHook': 'the model itself is not changed'},
    )
)
