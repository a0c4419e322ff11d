"""OKDHP on a config of one's own."""

from __future__ import annotations

import copy
from typing import Optional

import torch
from mmengine.registry import DefaultScope
from mmpose.models import TopdownPoseEstimator
from mmpose.models.backbones import HourglassNet, HRNet, LiteHRNet
from mmpose.models.heads import CPMHead, HeatmapHead
from mmpose.registry import MODELS
from torch import nn

from ..core.recipe import (
    Figures,
    Recipe,
    changed,
    register,
    type_name,
    updated,
    validates_branches,
)
from .sibling import light_sibling
from .splits import backbone_steps, built_backbone, unsplittable
from .stacked_hourglass import StackedHourglass

# branches that differ can agree more: see docs/okdhp.md
UNBALANCED_KD = dict(loss_weight=1000.0)

NO_SIBLING = (
    'no light sibling was found, so there are three equal branches, for which no gain was '
    'measured; one needs a HeatmapHead whose maps are the last ones of the backbone enlarged by '
    "the head's deconvolutions alone, and input sides that are multiples of 32"
)


def misfit(cfg: dict) -> Optional[str]:
    """Why OKDHP does not fit a config: the model is built as it would be trained, without weights.

    Args:
        cfg: A whole config.
    """
    model = _dict(cfg.get('model'))
    head, backbone = _dict(model.get('head')), _dict(model.get('backbone'))
    for key, part, kinds in (
        ('model.type', model, (TopdownPoseEstimator,)),
        ('model.head.type', head, (HeatmapHead, CPMHead)),
        ('model.backbone.type', backbone, (nn.Module,)),
    ):
        found, kind = _class(part), part.get('type')
        if found is None:
            package = str(kind).rpartition('.')[0]
            hint = f'; is {package} installed?' if package else ''
            return f'{key}={kind!r}: no such class is registered{hint}'
        if not issubclass(found, kinds):
            wanted = ' or '.join(kind.__name__ for kind in kinds)
            return f'{key}={type_name(part)!r}: OKDHP needs {wanted}, or a subclass'
    why = unsplittable(_class(backbone))
    if why is None:
        try:
            with DefaultScope.overwrite_default_scope('mmpose'), torch.device('meta'):
                MODELS.build(distilled(cfg)['model'])
        except Exception as error:  # whatever is wrong in a config
            # the user's own head and neck are OKDHPHead's settings `head` and `neck`
            why = ' '.join(str(error).split())
            for place in ('head.', 'head.branches.0.'):
                why = why.replace(f'{place}head', 'head')
                if why.startswith(f'{place}neck.'):
                    why = why[len(place) :]
    if why is None or why.startswith('model.'):
        return why
    return f'model.{why}' if why.startswith(('head.', 'neck.', 'backbone.')) else f'model: {why}'


def distilled(cfg: dict) -> dict:
    """The config with branches in the place of backbone, neck and head.

    Beside the deployed branch there is a :func:`light_sibling` where the network has one, else
    (HRNet, hourglasses) two that are alike.

    The backbone is split where the shipped configs split one of its kind, see
    :func:`default_split`. A checkpoint of the whole model that the training starts from
    (``load_from``, ``model.init_cfg``) is loaded as without branches where there is a light
    sibling. Into branches that are alike the backbone alone is loaded, by its ``init_cfg``:
    heads that start from equal weights would stay equal.

    Args:
        cfg: A whole config with a stock top-down heatmap model.

    Raises:
        ValueError, TypeError: Its backbone cannot be built or split.
    """
    reported = validates_branches(cfg)
    cfg = changed(cfg, hooks=(dict(type='BranchMetricsHook'),) if reported else ())
    model = cfg['model'] = updated(cfg['model'])
    backbone, head, neck = model['backbone'], model['head'], model.get('neck')
    sibling = light_sibling(dict(backbone=backbone, head=head, neck=neck))
    checkpoint = None
    if sibling is None:
        checkpoint, others = _start(model.get('init_cfg'))
        if checkpoint is not None:
            model['init_cfg'] = others
        if cfg.get('load_from'):  # is read after init_weights
            checkpoint, cfg['load_from'] = cfg['load_from'], None
    if checkpoint is not None:
        start = dict(type='Pretrained', prefix='backbone.', checkpoint=checkpoint)
        backbone = {**backbone, 'init_cfg': start}
    with torch.device('meta'):
        split = default_split(built_backbone(backbone))
    cut = dict(backbone=backbone, split=split)
    model['backbone'] = dict(type='SharedTrunk', **copy.deepcopy(cut))
    model['head'] = dict(type='OKDHPHead', **cut, head=head)
    if sibling is not None:
        model['head'].update(
            num_branches=2, branches=[dict(), sibling], kd_loss=dict(UNBALANCED_KD)
        )
    if neck is not None:  # comes after the split, so it belongs to the branches
        model['head']['neck'], model['neck'] = neck, None
    if reported:
        model['test_cfg'] = {**(model.get('test_cfg') or {}), 'branch': 'all'}
    return cfg


def _start(init_cfg) -> tuple[Optional[str], Optional[list]]:
    """The checkpoint of ``model.init_cfg``, a dict or a list of them, and the others of a list."""
    entries = list(init_cfg) if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    starts = [entry for entry in entries if _dict(entry).get('checkpoint') is not None]
    others = [entry for entry in entries if entry not in starts]
    # of several MMEngine loads the last one last
    return (starts[-1]['checkpoint'] if starts else None), others or None


def caution(cfg: dict) -> Optional[str]:
    """That a network which usually has a :func:`light_sibling` gets equal branches at its end."""
    head = distilled(cfg)['model']['head']
    return NO_SIBLING if head['split'] == 'end' and 'branches' not in head else None


def default_split(backbone: nn.Module) -> str:
    """The last shared step of a backbone in the shipped configs.

    Half of the stacks of an hourglass, as in the paper; all but the last stage where several
    resolutions run side by side (HRNet; not in the paper); else the whole backbone, as in the
    paper.

    Raises:
        TypeError: Backbones of this type cannot be split.
    """
    names = [step.name for step in backbone_steps(backbone)]
    if isinstance(backbone, (HourglassNet, StackedHourglass)):
        return names[backbone.num_stacks // 2]
    if isinstance(backbone, (HRNet, LiteHRNet)):
        stages = [i for i, name in enumerate(names) if name.startswith('stage')]
        return names[stages[-1] - 1]
    return 'end'


def _dict(cfg) -> dict:
    """A part of a config, of which nothing is known."""
    return cfg if isinstance(cfg, dict) else {}


def _class(cfg: dict) -> Optional[type]:
    """The class that a config names, None if it is not known."""
    kind = cfg.get('type')
    if isinstance(kind, type) or not type_name(cfg):
        return kind if isinstance(kind, type) else None
    try:
        return MODELS.get(kind)
    except Exception:  # a scope whose package cannot be imported
        return None


RECIPE = register(
    Recipe(
        'okdhp',
        'branches of one network teach each other through their ensemble',
        False,
        misfit,
        distilled,
        figures=Figures(
            time='1.1 to 1.2 with a light sibling (MobileNetV2, ResNet-18), 2.2 (HRNet-w32)',
            memory='of HRNet-w32 1.6 times, 1.3 times with head.with_cp=True',
            gain='with a light sibling (networks with deconvolutions) +6.3 [+5.6, +7.1] PCK@0.2 '
            'pretrained (31.0 to 37.4, 5 seeds; at equal wall time +4.2, 4 seeds), +2.7 '
            '[+2.0, +3.5] from scratch (14.5 to 17.2, 2 seeds); equal branches '
            '(HRNet): none measured',
        ),
        page='okdhp.md',
        caution=caution,
        notes={
            'SharedTrunk': 'run once for all branches, up to and with the step `split`',
            'OKDHPHead': 'branch 0, with the inherited head, is deployed; the others are for the '
            'training alone',
            'model.neck': 'comes after the split: each branch has its own, head.neck',
            'model.test_cfg': 'each validation reports every branch and the ensemble',
            'model.init_cfg': 'reaches the backbone alone, so that the heads start apart',
            'load_from': 'reaches the backbone alone, so that the heads start apart',
        },
    )
)
