"""HHD on a config of one's own."""

from __future__ import annotations

import copy
from typing import NamedTuple, Optional

from mmengine.registry import DefaultScope
from mmpose.codecs import UDPHeatmap
from mmpose.models.heads import CPMHead, IntegralRegressionHead
from mmpose.registry import MODELS
from torch import nn

from ..core.checks import built_by, check_keypoint_count, refusal
from ..core.head_output import head_kind, names_of, num_keypoints
from ..core.random_state import random_states_kept
from ..core.recipe import (
    Recipe,
    changed,
    input_size_of,
    register,
    training_pipelines,
    type_name,
)
from ..distiller.model_config import model_config

WINDOW = 8  # height and width of HHDLoss's windows

# the better mode where both were tried: see docs/hhd.md
LOSS = dict(type='HHDLoss', mode='released', loss_weight=0.5)


class Student(NamedTuple):
    """What HHD needs to know of a config's model.

    Attributes:
        head: Its head.
        maps: The submodule that puts out its maps, before beta and softmax.
        size: Width and height of its input; None if its codec does not say.
    """

    head: IntegralRegressionHead
    maps: str
    size: Optional[tuple[int, int]]


def misfit(cfg: dict) -> Optional[str]:
    """Why HHD does not fit a config: its student regresses with soft-argmax.

    Args:
        cfg: A whole config.
    """
    try:
        _student_of(cfg)
    except Exception as error:  # whatever is wrong in a config
        why = str(error) if isinstance(error, ValueError) else f'model: {error!r}'
        return ' '.join(why.split())
    return None


def distilled(cfg: dict, teacher: dict) -> dict:
    """The config in which a teacher's heatmaps teach the student's maps.

    A teacher for pictures of another size gets crops of its own, in training and validation.

    Args:
        cfg: A whole config of a model that regresses with soft-argmax.
        teacher: Arguments of :class:`~mmpose_kd.distiller.Teacher`: ``dict(config=...,
            checkpoint=...)``.

    Raises:
        ValueError: HHD does not fit it, or not this teacher.
    """
    student = _student_of(cfg)
    if not isinstance(teacher, dict) or 'config' not in teacher:
        raise refusal('teacher', teacher, 'give dict(config=..., checkpoint=...)')
    head = _heatmap_head(teacher, student)
    size = getattr(head.decoder, 'input_size', None)
    needs_view = 'view' not in teacher and None not in (size, student.size)
    needs_view = needs_view and tuple(size) != student.size
    if needs_view:
        teacher = {**teacher, 'view': 'teacher'}
    entry = dict(
        name='hhd',
        loss=LOSS,
        student=student.maps,
        teacher='head[-1]' if isinstance(head, CPMHead) else 'head',
    )
    maps = getattr(head.decoder, 'heatmap_size', None)
    if maps is not None and tuple(maps) != tuple(student.head.heatmap_size):
        entry['resize'] = 'origin'  # the student's position i of W is i / W of the picture
    model = dict(type='PoseDistiller', student=cfg['model'], teachers=[teacher], distill=[entry])
    hooks = (dict(type='TeacherMetricsHook'),) if cfg.get('val_dataloader') else ()
    made = changed(cfg, model_config(model, 'model'), hooks)
    if needs_view:
        _add_views(made, tuple(size), isinstance(head.decoder, UDPHeatmap))
    _built(made['model'], 'model')
    return made


def _student_of(cfg: dict) -> Student:
    """The student of a whole config.

    Raises:
        ValueError: It has none that HHD can teach.
    """
    model = cfg.get('model')
    kind = type_name(model if isinstance(model, dict) else None)
    if kind != 'TopdownPoseEstimator':
        raise refusal('model.type', kind, 'HHD needs TopdownPoseEstimator')
    head = _built(model.get('head'), 'model.head')
    if not isinstance(head, IntegralRegressionHead) or head_kind(head) != 'coordinates':
        give = 'HHD needs IntegralRegressionHead, DSNTHead or UnbiasedIntegralHead'
        raise refusal('model.head.type', type_name(model['head']), give)
    if min(head.heatmap_size) < WINDOW:
        give = f'maps of {head.heatmap_size} (width, height) are smaller than the windows that are'
        size = model['head'].get('in_featuremap_size')
        raise refusal(
            'model.head.in_featuremap_size', size, f'{give} compared, {WINDOW} x {WINDOW}'
        )
    maps = 'head.final_layer'
    if head.simplebaseline_head is not None:
        maps = 'head.simplebaseline_head.final_layer'
    elif head.final_layer is None:
        give = "give dict(kernel_size=1): the teacher's heatmaps are compared with its output"
        raise refusal('model.head.final_layer', None, give)
    return Student(head, maps, input_size_of(model['head'].get('decoder')))


def _heatmap_head(teacher: dict, student: Student) -> nn.Module:
    """The teacher's head.

    Raises:
        ValueError: It makes no heatmaps, or of other keypoints or another part of the picture
            than the student's.
    """
    config = model_config(teacher['config'], 'teacher.config')
    head = _built(config.get('head'), 'teacher.config: head')
    if head_kind(head) != 'heatmap':
        give = f'HHD needs a teacher that makes heatmaps ({names_of("heatmap")})'
        raise refusal('teacher.config: head.type', type_name(config['head']), give)
    if teacher.get('keypoints') is None:
        check_keypoint_count(
            num_keypoints(head),
            student.head.num_joints,
            'teacher.config has',
            'the student',
            "give teacher.keypoints, for each of the student's the teacher's number of it, or -1",
        )
    size = getattr(head.decoder, 'input_size', None)
    if None not in (size, student.size) and size[0] * student.size[1] != size[1] * student.size[0]:
        raise ValueError(
            f'teacher.config: its input is {size[0]} x {size[1]}, that of the student '
            f'{student.size[0]} x {student.size[1]}: give a teacher whose input has that shape'
        )
    return head


def _add_views(cfg: dict, size: tuple[int, int], udp: bool) -> None:
    """A second crop for the teacher in all pipelines of training and validation, in place.

    Args:
        cfg: A whole config.
        size: Width and height of the teacher's input.
        udp: Whether the teacher was trained on UDP's crops.

    Raises:
        ValueError: There is no pipeline that crops and packs.
    """
    view = dict(type='TeacherView', name='teacher', input_size=size, use_udp=udp)
    validation = {'train_dataloader': cfg.get('val_dataloader')}
    for key, part in (('train_dataloader', cfg), ('val_dataloader', validation)):
        found = set()
        for pipeline in training_pipelines(part):
            names = [type_name(step) for step in pipeline]
            found.update(names)
            if 'PackPoseInputs' in names:
                pipeline[names.index('PackPoseInputs')]['type'] = 'PackPoseViews'
            if 'TopdownAffine' in names and 'TeacherView' not in names:
                pipeline.insert(names.index('TopdownAffine'), copy.deepcopy(view))
        for name in ('TopdownAffine', 'PackPoseInputs'):
            if part['train_dataloader'] and name not in found:
                raise ValueError(
                    f'{key}.dataset.pipeline: there is no {name} in it to give the teacher a view '
                    'of its own'
                )


def _built(config: dict, key: str) -> nn.Module:
    """A model or a part of one; random numbers stay as they were."""
    with random_states_kept(), DefaultScope.overwrite_default_scope('mmpose'):
        return built_by(MODELS, config, key)


RECIPE = register(
    Recipe(
        name='hhd',
        title='a heatmap teacher for a model that regresses with soft-argmax',
        needs_teacher=True,
        misfit=misfit,
        distilled=distilled,
    )
)
