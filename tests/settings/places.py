"""Every place where a user gives settings of ours: the public classes, and the dicts in them."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import Registry
from mmpose.registry import DATASETS, HOOKS, KEYPOINT_CODECS, MODELS, TRANSFORMS

import mmpose_kd
from mmpose_kd.core.checks import built
from mmpose_kd.core.gradient_balance import GradientBalance
from mmpose_kd.core.schedule import Schedule
from mmpose_kd.distiller.cache import TeacherCache
from mmpose_kd.distiller.distillation import Distillation
from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.okdhp.fitting import check_branches

from ..helpers.distillers import ENTRY, MSE, untrained
from ..helpers.models import CODEC, RESNET, K, build, plain_config
from ..helpers.ocd import HEADS, codec_of, ocd_of
from ..helpers.tcd import TASK, tcd_of

#: a backbone of one stage: thousands of models are built of it
BACKBONE = dict(RESNET, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
HEAD = dict(
    type='HeatmapHead',
    in_channels=8,
    out_channels=K,
    deconv_out_channels=None,
    loss=MSE,
    decoder=CODEC,
)
MODEL = dict(plain_config(RESNET), backbone=BACKBONE, head=HEAD)
TRUNK = dict(backbone=BACKBONE, split='end')
OKDHP = dict(TRUNK, head=HEAD, num_branches=2)
OCD = {k: v for k, v in ocd_of('regression')['head'].items() if k != 'type'}


@functools.cache
def public_classes() -> dict[str, type]:
    """What ``mmpose_kd`` names as public, and what its modules register anywhere."""
    for module in pkgutil.walk_packages(mmpose_kd.__path__, 'mmpose_kd.'):
        if not module.name.endswith('__main__'):
            importlib.import_module(module.name)
    found = [getattr(mmpose_kd, name) for name in mmpose_kd.__all__]
    ours = [module for name, module in sys.modules.items() if name.startswith('mmpose_kd')]
    registries = {id(r): r for m in ours for r in vars(m).values() if isinstance(r, Registry)}
    for registry in registries.values():
        registered = registry.module_dict.values()
        found += [one for one in registered if one.__module__.startswith('mmpose_kd')]
    return {cls.__name__: cls for cls in found if inspect.isclass(cls)}


def settings_of(kind: type) -> dict[str, inspect.Parameter]:
    """The parameters that a class can be given by name, also by way of ``**settings``."""
    found = {}
    for cls in kind.__mro__:
        if '__init__' not in vars(cls):
            continue
        own = [*inspect.signature(cls.__init__).parameters.values()][1:]
        found = {**{p.name: p for p in own}, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in found.items() if p.kind not in variable}


class Place(NamedTuple):
    """Where settings are given.

    Attributes:
        kind: The class whose settings they are.
        build: Builds from a dict of them, and does what looks at them before the first step.
        good: Settings with which it builds.
        given: Names of arguments that the place gives itself; a user must not.
        needed: Settings without which another one, by its name, has no meaning.
        others: Whether MMPose reads other names there.
    """

    kind: type
    build: Callable[[dict], object]
    good: dict = {}
    given: tuple[str, ...] = ()
    needed: dict[str, dict] = {}
    others: bool = False


def of(registry: Registry, name: str) -> Callable[[dict], object]:
    """Builds a registered class as MMEngine does."""
    return lambda settings: registry.build({'type': name, **settings})


@functools.cache
def compared_branches() -> tuple:
    """What OKDHPHead finds out of its branches, which are always the same here."""
    keys = ['head.head'] * 2
    return check_branches(
        BACKBONE, [dict(backbone=BACKBONE, neck=None, head=HEAD)] * 2, 'end', keys
    )


def okdhp(settings: dict) -> object:
    with mock.patch('mmpose_kd.okdhp.head.check_branches', lambda *_: compared_branches()):
        return MODELS.build({**OKDHP, **settings, 'type': 'OKDHPHead'})


def ocd(settings: dict) -> object:
    return MODELS.build({**OCD, **settings, 'type': 'OCDHead'})


@functools.cache
def student_run() -> SimpleNamespace:
    """What DSKDHook reads of a runner to get ready."""
    return SimpleNamespace(cfg=Config(dict(model=MODEL)), model=build(MODEL, init=False), seed=0)


def dskd(settings: dict) -> object:
    hook = HOOKS.build({'type': 'DSKDHook', 'guides': 'generations', **settings})
    hook.start(student_run(), length=6)
    return hook


def cache(settings: dict) -> object:
    hook = HOOKS.build({'type': 'TeacherCacheHook', **settings})
    TeacherCache(hook.path / f'{hook.settings}.sqlite', {}, **hook.settings).close()
    return hook


@functools.cache
def made_distiller(entry: str) -> object:
    """A distiller into which entries and teachers can be put."""
    heatmaps = dict(
        type='PoseDistiller', student=MODEL, teachers=[untrained(MODEL)], distill=[ENTRY]
    )
    return build(heatmaps if entry == 'Distillation' else tcd_of(TASK), init=False)


def entry(name: str) -> Callable[[dict], object]:
    """Builds an entry as the distiller does."""
    return lambda settings: made_distiller(name)._entry({'type': name, **settings}, 0)


def teacher(settings: dict) -> object:
    one = built(Teacher, settings, 'model.teachers[0]')
    one.check_keypoint_count(made_distiller('Distillation').student.head, partly=True)
    one.load()
    return one


def inside(outer: Callable[[dict], object], name: str, several: bool = False):
    """Builds the outer settings with a dict of inner ones."""
    return lambda settings: outer({name: [settings] if several else settings})


@functools.cache
def made_head(method: str) -> object:
    return okdhp({}) if method == 'OKDHPHead' else ocd({})


def given_to_test(method: str) -> Callable[[dict], object]:
    def give(settings: dict) -> None:
        made_head(method).test_cfg = settings

    return give


class ModelTestCfg:
    """What our heads read of ``model.test_cfg``."""

    def __init__(self, branch='deploy'):
        pass


class Deploy:
    """What ``OCDHead.deploy`` holds."""

    def __init__(self, head: dict, neck: dict | None = None):
        pass


class Branch:
    """What an entry of ``OKDHPHead.branches`` holds."""

    def __init__(
        self,
        backbone: dict = {},  # noqa: B006
        neck: dict | None = None,
        head: dict = {},  # noqa: B006
        stop: str | None = None,
    ):
        pass


@functools.cache
def places() -> dict[str, Place]:
    """All of them, by the name of the class and the path of the settings in it."""
    public = public_classes()
    ramp = dict(type='ramp_up', epochs=0.5)
    schedule = functools.partial(Place, Schedule, good=ramp, given=('key',))
    balance = functools.partial(Place, GradientBalance, given=('key',))
    model = untrained(MODEL)
    sizes = dict(in_channels=4, num_keypoints=5, num_branches=2)
    head = dict(in_channels=4, in_featuremap_size=(6, 8), num_joints=3)
    no_layers = dict(deconv_out_channels=None, deconv_kernel_sizes=None)
    deconv = dict(deconv_out_channels=(4,), deconv_kernel_sizes=(4,))
    conv = dict(conv_out_channels=(4,), conv_kernel_sizes=(3,))
    of_entry = ('model', 'teachers', 'key')

    def part(name: str, **more) -> Place:
        return Place(public[name], of(MODELS, name), **more)

    def hook(name: str, **more) -> Place:
        return Place(public[name], of(HOOKS, name), **more)

    def step(name: str, **more) -> Place:
        return Place(public[name], of(TRANSFORMS, name), **more)

    return {
        # ------------------------------------------------------------ losses
        'CrossCoordinateLoss': part('CrossCoordinateLoss'),
        'CrossHeatmapLoss': part('CrossHeatmapLoss'),
        'CrossSimCCLoss': part('CrossSimCCLoss'),
        'FeatureMSELoss': part('FeatureMSELoss'),
        'HHDLoss': part('HHDLoss'),
        'HeatmapClassificationLoss': part(
            'HeatmapClassificationLoss',
            needed=dict(focus=dict(form='focal'), pos_weight=dict(form='bce')),
        ),
        'HeatmapKLLoss': part('HeatmapKLLoss'),
        'JointsMSELoss': part('JointsMSELoss'),
        'PearsonFeatureLoss': part('PearsonFeatureLoss'),
        'SimCCKLLoss': part('SimCCKLLoss'),
        # ------------------------------------------------------------ parts of models
        'FAU': part('FAU', good=sizes),
        'PixelShuffleHead': part(
            'PixelShuffleHead',
            good=dict(in_channels=4, out_channels=3, mid_channels=4, num_upsamples=1),
        ),
        'SharedTrunk': part('SharedTrunk', good=TRUNK),
        'StackedHourglass': part(
            'StackedHourglass',
            good=dict(out_channels=3, num_stacks=1, downsample_times=1, feat_channels=4),
        ),
        'UnbiasedIntegralHead': part(
            'UnbiasedIntegralHead',
            good={**head, **no_layers},
            needed=dict(
                deconv_kernel_sizes=deconv,
                deconv_out_channels=deconv,
                conv_kernel_sizes=conv,
                conv_out_channels=conv,
            ),
        ),
        'CrossRepresentationLabel': Place(
            public['CrossRepresentationLabel'],
            of(KEYPOINT_CODECS, 'CrossRepresentationLabel'),
            {k: v for k, v in codec_of('regression').items() if k != 'type'},
        ),
        # ------------------------------------------------------------ OKDHP
        'OKDHPHead': part('OKDHPHead', good=OKDHP),
        'OKDHPHead.fau': Place(public['FAU'], inside(okdhp, 'fau'), given=tuple(sizes)),
        'OKDHPHead.kd_loss': Place(public['HeatmapKLLoss'], inside(okdhp, 'kd_loss')),
        'OKDHPHead.kd_schedule': schedule(inside(okdhp, 'kd_schedule')),
        'OKDHPHead.branches': Place(
            Branch, lambda s: of(MODELS, 'OKDHPHead')({**OKDHP, 'branches': [{}, s]})
        ),
        'OKDHPHead.test_cfg': Place(ModelTestCfg, given_to_test('OKDHPHead'), others=True),
        # ------------------------------------------------------------ OCD
        'OCDHead': part('OCDHead', good=OCD),
        'OCDHead.deploy': Place(Deploy, inside(ocd, 'deploy'), HEADS['regression']),
        'OCDHead.cross': Place(
            public['CrossCoordinateLoss'],
            lambda s: ocd(dict(cross={'type': 'CrossCoordinateLoss', **s})),
        ),
        'OCDHead.balance': balance(inside(ocd, 'balance')),
        'OCDHead.cross_schedule': schedule(inside(ocd, 'cross_schedule')),
        'OCDHead.assistant_schedule': schedule(inside(ocd, 'assistant_schedule')),
        'OCDHead.test_cfg': Place(ModelTestCfg, given_to_test('OCDHead'), others=True),
        # ------------------------------------------------------------ a distiller
        'PoseDistiller': Place(
            public['PoseDistiller'],
            of(MODELS, 'PoseDistiller'),
            dict(student=MODEL, teachers=[model], distill=[ENTRY]),
        ),
        'PoseDistiller.teachers': Place(Teacher, teacher, model, given=('key',)),
        'Distillation': Place(Distillation, entry('Distillation'), ENTRY, given=of_entry),
        'Distillation.schedule': schedule(
            lambda s: entry('Distillation')({**ENTRY, 'schedule': s})
        ),
        'Distillation.balance': balance(lambda s: entry('Distillation')({**ENTRY, 'balance': s})),
        'ThroughTeacherHead': Place(
            public['ThroughTeacherHead'],
            entry('ThroughTeacherHead'),
            {k: v for k, v in TASK.items() if k != 'type'},
            given=of_entry,
        ),
        'ThroughTeacherHead.schedule': schedule(
            lambda s: entry('ThroughTeacherHead')({**TASK, 'schedule': s})
        ),
        'ThroughTeacherHead.balance': balance(
            lambda s: entry('ThroughTeacherHead')({**TASK, 'balance': s})
        ),
        # ------------------------------------------------------------ DSKD
        'DSKDHook': Place(
            public['DSKDHook'],
            dskd,
            dict(guides='generations'),
            needed=dict(interval=dict(guides='snapshots')),
        ),
        'DSKDHook.cls': Place(
            public['HeatmapClassificationLoss'],
            inside(dskd, 'cls'),
            given=('key',),
            needed=dict(focus=dict(form='focal'), pos_weight=dict(form='bce')),
        ),
        'DSKDHook.alpha_schedule': schedule(inside(dskd, 'alpha_schedule')),
        'DSKDHook.gamma_schedule': schedule(inside(dskd, 'gamma_schedule')),
        'DSKDHook.teachers': Place(
            Teacher, inside(dskd, 'teachers', several=True), model, given=('key',)
        ),
        'DSKDHook.guides': Place(
            Teacher, inside(dskd, 'guides', several=True), model, given=('key',)
        ),
        # ------------------------------------------------------------ other hooks
        'BranchMetricsHook': hook('BranchMetricsHook'),
        'BranchStatisticsHook': hook('BranchStatisticsHook'),
        'ExactResumeHook': hook('ExactResumeHook'),
        'AccuracyIntervalHook': hook('AccuracyIntervalHook'),
        'DistillationVisualizationHook': hook('DistillationVisualizationHook'),
        'TeacherMetricsHook': hook('TeacherMetricsHook'),
        'TeacherCacheHook': Place(
            public['TeacherCacheHook'],
            cache,
            dict(path='cache'),
            needed=dict(region_size=dict(store='regions')),
        ),
        # ------------------------------------------------------------ data
        'FixedAugmentations': step(
            'FixedAugmentations', good=dict(transforms=[dict(type='RandomFlip')])
        ),
        'PackPoseViews': step('PackPoseViews'),
        'TeacherView': step('TeacherView', good=dict(input_size=(48, 64))),
        'SeededSamples': Place(
            public['SeededSamples'],
            of(DATASETS, 'SeededSamples'),
            dict(dataset=dict(type=BaseDataset, lazy_init=True), seed=0),
        ),
    }


#: dicts in which only settings of stock parts stand; these refuse theirs as MMPose does
STOCK = {
    'CrossCoordinateLoss.heatmap_codec',
    'CrossHeatmapLoss.heatmap_codec',
    'CrossSimCCLoss.heatmap_codec',
    'CrossRepresentationLabel.deploy',
    'CrossRepresentationLabel.heatmap',
    'Distillation.adapter',
    'Distillation.loss',
    'FixedAugmentations.transforms',
    'OCDHead.assistant',
    'OCDHead.heatmap',
    'OCDHead.init_cfg',
    'OKDHPHead.backbone',
    'OKDHPHead.head',
    'OKDHPHead.init_cfg',
    'OKDHPHead.neck',
    'PixelShuffleHead.decoder',
    'PixelShuffleHead.init_cfg',
    'PixelShuffleHead.loss',
    'PoseDistiller.data_preprocessor',
    'PoseDistiller.init_cfg',
    'PoseDistiller.student',
    'PoseDistiller.train_cfg',
    'SeededSamples.dataset',
    'SharedTrunk.backbone',
    'StackedHourglass.init_cfg',
    'ThroughTeacherHead.adapter',
    'ThroughTeacherHead.loss',
    'UnbiasedIntegralHead.decoder',
    'UnbiasedIntegralHead.final_layer',
    'UnbiasedIntegralHead.init_cfg',
    'UnbiasedIntegralHead.loss',
}


def fresh(place: Place, name: str | None = None) -> dict:
    """Settings of a place that build, with those that another one by its name needs."""
    return copy.deepcopy({**place.good, **place.needed.get(name, {})})
