"""HHD on a config of one's own."""

from __future__ import annotations

from typing import NamedTuple, Optional

from mmpose.models.heads import CPMHead, IntegralRegressionHead
from torch import nn

from ..core.checks import check_keypoint_count, refusal
from ..core.head_output import head_kind, names_of, num_keypoints
from ..core.recipe import (
    Figures,
    Recipe,
    changed,
    input_size_of,
    reason_against,
    register,
    type_name,
    without_values,
)
from ..distiller.model_config import model_config
from ..distiller.recipe import VIEW, add_views, checked_teacher, needs_view
from .loss import maps_layer

WINDOW = 8  # height and width of HHDLoss's windows

# the better mode where both were tried: see docs/hhd.md
LOSS = dict(type='HHDLoss', mode='released')
WEIGHT = 10.0  # times the gradient of the coordinates' own loss: docs/pretrained_search.md


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
    head = _heatmap_head(checked_teacher(teacher), student)
    own_view = needs_view(teacher, head.decoder, student.size)
    if own_view:
        teacher = {**teacher, 'view': VIEW}
    entry = dict(
        name='hhd',
        loss=LOSS,
        balance=True,
        weight=WEIGHT,
        student=student.maps,
        teacher='head[-1]' if isinstance(head, CPMHead) else 'head',
    )
    maps = getattr(head.decoder, 'heatmap_size', None)
    if maps is not None and tuple(maps) != tuple(student.head.heatmap_size):
        entry['resize'] = 'origin'  # the student's position i of W is i / W of the picture
    model = dict(type='PoseDistiller', student=cfg['model'], teachers=[teacher], distill=[entry])
    hooks = (dict(type='TeacherMetricsHook'),) if cfg.get('val_dataloader') else ()
    made = changed(cfg, model_config(model, 'model'), hooks)
    if own_view:
        add_views(made, head.decoder)
    without_values(made['model'], 'model')  # whether it can be built
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
    head = without_values(model.get('head'), 'model.head')
    if not isinstance(head, IntegralRegressionHead) or head_kind(head) != 'coordinates':
        give = 'HHD needs IntegralRegressionHead, DSNTHead or UnbiasedIntegralHead'
        raise refusal('model.head.type', type_name(model['head']), give)
    if min(head.heatmap_size) < WINDOW:
        give = f'maps of {head.heatmap_size} (width, height) are smaller than the windows that are'
        size = model['head'].get('in_featuremap_size')
        raise refusal(
            'model.head.in_featuremap_size', size, f'{give} compared, {WINDOW} x {WINDOW}'
        )
    layer = maps_layer(head)
    if layer is None:
        give = "give dict(kernel_size=1): the teacher's heatmaps are compared with its output"
        raise refusal('model.head.final_layer', None, give)
    return Student(head, f'head.{layer}', input_size_of(model['head'].get('decoder')))


def _heatmap_head(teacher: dict, student: Student) -> nn.Module:
    """The teacher's head.

    Raises:
        ValueError: It makes no heatmaps, or of other keypoints than the student's.
    """
    config = model_config(teacher['config'], 'teacher.config')
    head = without_values(config.get('head'), 'teacher.config: head')
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
    return head


RECIPE = register(
    Recipe(
        name='hhd',
        title='a heatmap teacher for a model that regresses with soft-argmax',
        needs_teacher=True,
        misfit=reason_against(_student_of),
        distilled=distilled,
        figures=Figures(
            time='1.2 to 1.6 with a teacher of its size, 2 to 3.6 with a large one, 1 cached',
            memory="the teacher's weights, and one forward pass of it without gradient",
            gain='from scratch +5.5 [+5.0, +6.0] PCK@0.2 (9.7 to 15.2, 5 seeds; weight of the '
            'release); pretrained +8.6 [+8.1, +9.0] (17.7 to 26.2, 5 seeds; at equal wall '
            'time +7.3, 4 seeds)',
        ),
        page='hhd.md',
        notes={
            'PoseDistiller': 'the inherited model is the student, and what is exported',
            'model.distill': "the teacher's heatmaps teach the maps that coordinates are read of",
        },
    )
)
