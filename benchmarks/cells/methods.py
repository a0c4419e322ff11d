"""What is compared with plain training: this package's recipes, and what others would try."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmpose_kd.core.recipe import RECIPES, changed
from mmpose_kd.dskd import DSKDHook  # noqa: F401  (registers the recipes)

ALL = ('heatmap', 'deeppose', 'integral', 'simcc')


@dataclass(frozen=True)
class Method:
    """A way to train a cell's model.

    Attributes:
        title: For the table.
        heads: Which it is run on.
        make: ``make(cfg, teachers)``: the whole config, of the plain one.
        teachers: How many trained models it needs.
        teacher: Head of these models, None for the student's own.
    """

    title: str
    heads: tuple[str, ...]
    make: Callable[[dict, Sequence[dict]], dict]
    teachers: int = 0
    teacher: str | None = 'heatmap'


def recipe(name: str, **entry) -> Callable[[dict, Sequence[dict]], dict]:
    """What ``mmpose-kd`` makes of a user's config; ``entry`` changes the first distillation."""

    def make(cfg: dict, teachers: Sequence[dict]) -> dict:
        made = RECIPES[name].distilled(cfg, *teachers[:1])
        if entry:
            made['model']['distill'][0].update(copy.deepcopy(entry))
        return made

    return make


def tcd_on_ocd(cfg: dict, teachers: Sequence[dict]) -> dict:
    """Both of the cross-representation methods."""
    return RECIPES['tcd'].distilled(RECIPES['ocd'].distilled(cfg), teachers[0])


def okdhp_without_kd(cfg: dict, teachers: Sequence[dict]) -> dict:
    """OKDHP's branches, each with its own labels only: what the branches alone bring."""
    made = RECIPES['okdhp'].distilled(cfg)
    made['model']['head']['kd_loss']['loss_weight'] = 0.0
    return made


def hook(**settings) -> Callable[[dict, Sequence[dict]], dict]:
    """The plain config with a hook."""
    return lambda cfg, teachers: changed(cfg, hooks=(settings,))


def guided(**settings) -> Callable[[dict, Sequence[dict]], dict]:
    """DSKD whose guides are whole trainings."""

    def make(cfg: dict, teachers: Sequence[dict]) -> dict:
        guides = [teacher['checkpoint'] for teacher in teachers]
        return changed(cfg, hooks=(dict(type='DSKDHook', guides=guides, **settings),))

    return make


def distiller(*entries: dict) -> Callable[[dict, Sequence[dict]], dict]:
    """A teacher with plain entries, as of any package for distillation."""

    def make(cfg: dict, teachers: Sequence[dict]) -> dict:
        model = dict(
            type='PoseDistiller',
            student=cfg['model'],
            teachers=list(teachers[:1]),
            distill=[copy.deepcopy(entry) for entry in entries],
        )
        return changed(cfg, model)

    return make


_MSE = dict(type='KeypointMSELoss', use_target_weight=True)
_BINS = ('head.mlp_head_x', 'head.mlp_head_y')
_DECAY = dict(type='linear_decay')

METHODS = {
    # a memory of 50 steps: MMPose's own 5,000 are more than a whole run here
    'ema': Method(
        'plain with EMAHook',
        ALL,
        hook(type='EMAHook', momentum=0.02, update_buffers=True),
    ),
    'kd-mse': Method(
        "MSE to a teacher's heatmaps",
        ('heatmap',),
        distiller(dict(name='kd', loss=_MSE, student='head', teacher='head')),
        teachers=1,
    ),
    'kd-kl': Method(
        "KL to a teacher's heatmaps",
        ('heatmap',),
        distiller(
            dict(
                name='kd',
                loss=dict(type='HeatmapKLLoss', temperature=0.1),
                student='head',
                teacher='head',
            )
        ),
        teachers=1,
    ),
    'pkd': Method('PKD', ('heatmap',), recipe('pkd'), teachers=1),
    'dwpose': Method(
        "DWPose's two losses",
        ('simcc',),
        distiller(
            dict(
                name='feature',
                loss=dict(type='FeatureMSELoss', divisor='batch', loss_weight=0.00007),
                student='backbone',
                teacher='backbone',
                schedule=_DECAY,
            ),
            dict(
                name='logit',
                loss=dict(type='SimCCKLLoss', use_target_weight=False, loss_weight=0.1),
                student=_BINS,
                teacher=_BINS,
                schedule=_DECAY,
            ),
        ),
        teachers=1,
        teacher=None,
    ),
    'ocd': Method('OCD', ('deeppose', 'integral', 'simcc'), recipe('ocd')),
    'tcd': Method('TCD', ('deeppose', 'integral', 'simcc'), recipe('tcd'), teachers=1),
    'ocd-tcd': Method(
        'TCD on top of OCD', ('deeppose', 'integral', 'simcc'), tcd_on_ocd, teachers=1
    ),
    'hhd': Method('HHD', ('integral',), recipe('hhd'), teachers=1),
    'hhd-aligned': Method(
        'HHD, aligned, weight 0.5',
        ('integral',),
        recipe('hhd', loss=dict(type='HHDLoss', mode='aligned'), balance=False, weight=0.5),
        teachers=1,
    ),
    'hhd-released': Method(
        "HHD, the release's own weight 0.5",
        ('integral',),
        recipe('hhd', balance=False, weight=0.5),
        teachers=1,
    ),
    'dskd': Method('DSKD, one finished training guides', ALL, guided(), teachers=1, teacher=None),
    'dskd-two': Method('DSKD, two of them', ALL, guided(), teachers=2, teacher=None),
    'dskd-generations': Method(
        'DSKD, copies of the run itself',
        ALL,
        hook(type='DSKDHook', guides='generations', num_guides=2),
    ),
    'okdhp': Method('OKDHP', ('heatmap',), recipe('okdhp')),
    'okdhp-labels': Method('OKDHP without distillation', ('heatmap',), okdhp_without_kd),
}
