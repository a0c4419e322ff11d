"""Whether OCD and TCD fit a config, and the config that each makes of it.

Weights and codecs are those of ``configs/ocd_*`` and ``configs/tcd_*``; what depends on the model
(channels, sizes, adapters) is found by running its backbone on shapes without values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mmpose.models.heads import HeatmapHead
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor, nn

from ..core.checks import built_by, refusal
from ..core.head_output import num_keypoints
from ..core.recipe import (
    Figures,
    Recipe,
    backbone_features,
    backbone_without_values,
    changed,
    input_size_of,
    reason_against,
    register,
    training_pipelines,
    type_name,
    updated,
    validates_branches,
    without_values,
)
from ..distiller.model_config import model_config
from ..distiller.recipe import VIEW, add_views, checked_teacher, needs_view, resize_for
from .entry import head_input_size, teaching_head
from .representation import representation_of

#: the heads that can be taught, and which part of their output: all of it, or these of several
OUTPUTS = dict(
    RegressionHead=('',),
    RLEHead=('',),
    IntegralRegressionHead=('[0]',),
    DSNTHead=('[0]',),
    SimCCHead=('[0]', '[1]'),
    RTMCCHead=('[0]', '[1]'),
)

# RLE's own loss pulls hundreds of times harder than others: see docs/ocd.md
RLE_CROSS, RLE_WEIGHT = dict(type='CrossCoordinateLoss', beta=0.01), 300.0

# of the heatmap head's decoder, MMPose's first
WIDTHS = (256, 128, 64)

PIPELINE = 'train_dataloader.dataset.pipeline'


@dataclass(frozen=True)
class Student:
    """What both methods need to know of the model of a config.

    Attributes:
        model: Its config.
        size: Width and height of its input.
        keypoints: K.
        place: The submodule whose output is its feature, ``'backbone'`` or ``'neck'``.
        features: That output for one picture, before any global pooling: maps (1, C, h, w),
            the last of which heads read; on the meta device.
    """

    model: dict
    size: tuple[int, int]
    keypoints: int
    place: str
    features: tuple[Tensor, ...]

    @classmethod
    def of(cls, cfg: dict) -> Student:
        """Of a whole config.

        Raises:
            ValueError: It has no model that coordinates or bins can be taught.
        """
        model = cfg.get('model')
        if type_name(model) != 'TopdownPoseEstimator':
            raise refusal('model.type', type_name(model), 'only TopdownPoseEstimator fits')
        head, heads = model.get('head'), ', '.join(OUTPUTS)
        if type_name(head) not in OUTPUTS:
            give = f'only heads that predict coordinates or bins fit ({heads})'
            raise refusal('model.head.type', type_name(head), give)
        model = updated(model)
        head, size = model['head'], input_size_of(head.get('decoder'))
        if size is None:
            raise ValueError('model.head.decoder: there is no input_size in it')
        steps = list(_steps(cfg, 'GenerateTarget'))
        if not steps:
            raise ValueError(f'{PIPELINE}: there is no GenerateTarget in it')
        for step in steps:
            if not isinstance(step.get('encoder'), dict):
                give = 'only one codec fits'
                raise refusal(f'{PIPELINE}: GenerateTarget.encoder', step.get('encoder'), give)
        with _named('model.backbone'):
            place, features = 'backbone', backbone_features(model, size)
        seen = features  # by the head
        if model.get('neck'):
            neck = without_values(model['neck'], 'model.neck')
            seen = _outputs(neck, 'model.neck', features)
            if not _is_pooled(model):
                place, features = 'neck', seen
        if features[-1].ndim != 4:
            give = f'it gives {tuple(features[-1].shape)}, heads of heatmaps need (B, C, h, w)'
            raise ValueError(f'model.{place}: {give}')
        light = without_values(head, 'model.head')
        representation_of(light, 'model.head')
        _outputs(light, 'model.head', seen)
        return cls(model, size, num_keypoints(light), place, features)


# ------------------------------------------------------------------------------------- OCD


def with_ocd(cfg: dict) -> dict:
    """The config in which a heatmap head teaches the head that is there.

    Args:
        cfg: A whole config of a stock model.

    Raises:
        ValueError: OCD does not fit it.
    """
    student = Student.of(cfg)
    model = student.model
    heatmap = _heatmap_head(student, _crops_by_udp(cfg))
    pooled = _is_pooled(model)
    deploy = dict(neck=model['neck'], head=model['head']) if pooled else dict(head=model['head'])
    head = dict(type='OCDHead', deploy=deploy, heatmap=heatmap)
    if type_name(model['head']) == 'RLEHead':
        head.update(cross=RLE_CROSS, cross_weight=RLE_WEIGHT)
    hooks, test_cfg = (), dict(model.get('test_cfg') or {})
    if validates_branches(cfg):
        hooks, test_cfg['branch'] = (dict(type='BranchMetricsHook'),), 'all'
    rest = {**model, 'neck': None} if pooled else model
    taught = model_config({**rest, 'head': head, 'test_cfg': test_cfg}, 'model')
    made = changed(cfg, taught, hooks)
    encoder = _add_heatmaps(made, heatmap['decoder'])
    if type_name(made.get('codec')) == type_name(encoder['deploy']):
        made['codec'] = copy.deepcopy(encoder)  # from which the steps of the pipeline came

    without_values(made['model']['head'], 'model.head')  # whether it can be built
    return made


def _heatmap_head(student: Student, udp: bool) -> dict:
    """MMPose's decoder of heatmaps, with maps of a quarter of the input or a little more."""
    _, channels, height, width = student.features[-1].shape
    enlarge = 0
    while 4 * width * 2**enlarge < student.size[0] or 4 * height * 2**enlarge < student.size[1]:
        enlarge += 1
    codec = dict(
        type='UDPHeatmap' if udp else 'MSRAHeatmap',
        input_size=student.size,
        heatmap_size=(width * 2**enlarge, height * 2**enlarge),
        sigma=max(max(student.size) / 128, 1.0),  # as in MMPose: 2 for 256 x 192, 3 for 384 x 288
    )
    if not udp:
        codec['unbiased'] = True  # else Gaussians stand on whole pixels, and teach rounded places
    backbone = backbone_without_values(student.model)
    decoder_width = _decoder_width(
        channels, enlarge, sum(p.numel() for p in backbone.parameters())
    )
    return dict(
        type='HeatmapHead',
        in_channels=channels,
        out_channels=student.keypoints,
        deconv_out_channels=(decoder_width,) * enlarge or None,
        deconv_kernel_sizes=(4,) * enlarge or None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec,
    )


def _decoder_width(channels: int, deconvs: int, limit: int) -> int:
    """The widest decoder that is no larger than the backbone, else the narrowest.

    MMPose's 256 channels on top of a MobileNet cost a training step more than the MobileNet.

    Args:
        channels: Of the feature that it reads, which it is no wider than.
        deconvs: Its transposed convolutions, with kernels of 4 x 4.
        limit: Parameters of the backbone.
    """
    smaller = (w for w in WIDTHS if 16 * w * (channels + (deconvs - 1) * w) <= limit)
    return min(next(smaller, WIDTHS[-1]), channels)


# ------------------------------------------------------------------------------------- TCD


def with_tcd(cfg: dict, teacher: dict) -> dict:
    """The config in which the heatmaps of a teacher, and its frozen head, teach the model.

    A config that OCD was added to has a heatmap head of its own, which keeps the place of the
    frozen one: there the teacher's heatmaps alone are added.

    Args:
        cfg: A whole config of a stock model, or what :func:`with_ocd` makes of one.
        teacher: Arguments of :class:`~mmpose_kd.distiller.Teacher`: ``dict(config=...,
            checkpoint=...)``.

    Raises:
        ValueError: TCD does not fit it, or not this teacher.
    """
    student = Student.of(_deployed(cfg))
    teacher_model = model_config(checked_teacher(teacher)['config'], 'teacher.config')
    head = teaching_head(without_values(teacher_model, 'teacher.config'), 'teacher.config')
    own_view = needs_view(teacher, head.decoder, student.size)
    if own_view:
        teacher = {**teacher, 'view': VIEW}

    name, has_ocd = type_name(student.model['head']), _has_ocd(cfg)
    if has_ocd:
        distill = [dict(name='teacher', **_cross(name, 'head.deploy.head'))]
    else:
        feature = student.place + ('[-1]' if len(student.features) > 1 else '')
        task = dict(type='ThroughTeacherHead', name='task', student=feature)
        task.update(balance=True, weight=1.0, **_adapter(student.features[-1], head))
        distill = [task, dict(name='cross', **_cross(name, 'head'))]
    model = dict(type='PoseDistiller', student=cfg['model'], teachers=[teacher], distill=distill)
    hooks = (dict(type='TeacherMetricsHook'),) if cfg.get('val_dataloader') else ()
    made = changed(cfg, model_config(model, 'model'), hooks)
    if not has_ocd:
        _add_heatmaps(made, {**teacher_model['head']['decoder'], 'input_size': student.size})
    if own_view:
        add_views(made, head.decoder)
    without_values(made['model'], 'model')  # whether it can be built
    return made


def _has_ocd(cfg: dict) -> bool:
    model = cfg.get('model')
    head = model.get('head') if isinstance(model, dict) else None
    return isinstance(head, dict) and type_name(head) == 'OCDHead'


def _deployed(cfg: dict) -> dict:
    """A config whose model is the one that OCD deploys; any other config is as it was."""
    if not _has_ocd(cfg):
        return cfg
    model = dict(cfg['model'])
    deploy = model.pop('head').get('deploy')
    if not isinstance(deploy, dict):
        raise refusal('model.head.deploy', deploy, 'give dict(neck=None or a config, head=...)')
    return {**cfg, 'model': {**model, **deploy}}


def _cross(head: str, place: str) -> dict:
    """What teaches across representations, for a head of this name that is found there."""
    paths = tuple(place + output for output in OUTPUTS[head])
    entry = dict(student=paths if len(paths) > 1 else paths[0], teacher='head')
    if head == 'RLEHead':
        return dict(**entry, loss=RLE_CROSS, weight=RLE_WEIGHT)
    if len(paths) > 1:
        return dict(**entry, loss=dict(type='CrossSimCCLoss'), weight=0.1)
    return dict(**entry, loss=dict(type='CrossCoordinateLoss'), weight=1.0)


def _adapter(feature: Tensor, head: HeatmapHead) -> dict:
    """What brings the student's feature to the teacher's head: see :class:`ThroughTeacherHead`."""
    _, channels, height, width = feature.shape
    wanted = head_input_size(head, 'teacher.config')
    adapter = dict(type='Conv2d', in_channels=channels, out_channels=head.in_channels)
    times = wanted[0] // height
    if times > 1 and wanted == (times * height, times * width):
        adapter.update(type='pixel_shuffle', scale_factor=times, upsample_kernel=1)
        return dict(adapter=adapter)
    adapter.update(kernel_size=1)
    if wanted == (height, width):
        return dict(adapter=adapter)
    return dict(adapter=adapter, resize=resize_for(head.decoder))


# ------------------------------------------------------------------------ what both need


def _steps(cfg: dict, name: str) -> Iterator[dict]:
    """The steps of one type in all pipelines of the training."""
    for pipeline in training_pipelines(cfg):
        yield from (step for step in pipeline if type_name(step) == name)


def _add_heatmaps(cfg: dict, heatmap: dict) -> dict:
    """Let every training pipeline make heatmaps beside its labels; the codec that does so."""
    if type_name(heatmap) == 'MSRAHeatmap':
        heatmap = {**heatmap, 'unbiased': True}
    for step in _steps(cfg, 'GenerateTarget'):
        codec = dict(
            type='CrossRepresentationLabel', deploy=step['encoder'], heatmap=copy.deepcopy(heatmap)
        )
        if step.get('use_dataset_keypoint_weights'):
            codec['use_dataset_keypoint_weights'] = True
        built_by(KEYPOINT_CODECS, codec, f'{PIPELINE}: GenerateTarget.encoder')
        step['encoder'] = codec
    return codec


def _is_pooled(model: dict) -> bool:
    return type_name(model.get('neck')) == 'GlobalAveragePooling'


def _crops_by_udp(cfg: dict) -> bool:
    return any(step.get('use_udp') for step in _steps(cfg, 'TopdownAffine'))


def _outputs(part: nn.Module, key: str, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a neck or head makes of features.

    Raises:
        ValueError: It does not fit them.
    """
    with _named(key):
        output = part(features)
    return (output,) if isinstance(output, Tensor) else tuple(output)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Whatever is raised names a config key: a part may be wrong in any way."""
    try:
        yield
    except Exception as error:
        raise ValueError(f'{key}: it cannot be run: {type(error).__name__}: {error}') from error


OCD = register(
    Recipe(
        name='ocd',
        title='a heatmap head on the same feature teaches a head of coordinates or bins',
        needs_teacher=False,
        misfit=reason_against(with_ocd),
        distilled=with_ocd,
        figures=Figures(
            time='1.2 to 1.4 (DeepPose), 1.2 on a GPU to 1.9 on a CPU (RTMPose-s)',
            memory='that of a heatmap head in training',
            gain='DeepPose: from scratch +5.5 [+4.9, +6.1] PCK@0.2 (8.2 to 13.7, 5 seeds), '
            'pretrained +4.6 [+4.3, +5.0] (16.4 to 21.0, 4 seeds; at equal wall time +3.6); '
            'SimCC pretrained +1.8 and +3.8 (a search)',
        ),
        page='ocd.md',
        notes={
            'OCDHead': 'the inherited head is deployed; the heatmap head beside it is for the '
            'training alone',
            'model.neck': 'the heatmap head needs the feature before it is pooled',
            'model.test_cfg': 'each validation reports the deployed head and the heatmap head',
            'CrossRepresentationLabel': "makes the labels of both: the inherited codec's and "
            'heatmaps',
        },
    )
)
TCD = register(
    Recipe(
        name='tcd',
        title='a heatmap teacher teaches a model of coordinates or bins',
        needs_teacher=True,
        misfit=reason_against(lambda cfg: Student.of(_deployed(cfg))),
        distilled=with_tcd,
        figures=Figures(
            time='1.4 with a teacher of its size, 2.2 with a large one',
            memory="the teacher's weights, and one forward pass of it without gradient",
            gain='DeepPose: from scratch 7.2 to 12.0 PCK@0.2 (one seed), pretrained +2.9 to +4.7 '
            '(a search); OCD, without a teacher, brought more',
        ),
        page='tcd.md',
        notes={
            'PoseDistiller': 'the inherited model is the student, and what is exported',
            'ThroughTeacherHead': "the student's feature has to suit the teacher's frozen head",
            'CrossRepresentationLabel': "makes the labels of both: the student's and heatmaps",
        },
    )
)
