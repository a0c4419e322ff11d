"""PKD on a config of one's own."""

from __future__ import annotations

from ..core.checks import refusal
from ..core.recipe import (
    Recipe,
    changed,
    input_size_of,
    reason_against,
    register,
    type_name,
    without_values,
)
from ..distiller.model_config import model_config
from ..distiller.recipe import VIEW, add_views, checked_teacher, needs_view, resize_for

FEATURE = 'head.deconv_layers'


def distilled(cfg: dict, teacher: dict) -> dict:
    """The config with a teacher whose head has deconvolutions of as many channels.

    A teacher for pictures of another size gets crops of its own, in training and validation.

    Args:
        cfg: A whole config of a model with a heatmap head that has deconvolutions.
        teacher: Arguments of :class:`~mmpose_kd.distiller.Teacher`: ``dict(config=...,
            checkpoint=...)``.

    Raises:
        ValueError: PKD does not fit it, or not this teacher.
    """
    student = _head_of(cfg.get('model'), 'model')
    config = model_config(checked_teacher(teacher)['config'], 'teacher.config')
    head = without_values(_head_of(config, 'teacher.config: model'), 'teacher.config: head')
    own_view = needs_view(teacher, head.decoder, input_size_of(student.get('decoder')))
    if own_view:
        teacher = {**teacher, 'view': VIEW}
    loss = dict(type='PearsonFeatureLoss', loss_weight=0.001)
    entry = dict(name='pkd', loss=loss, student=FEATURE, teacher=FEATURE)
    maps = getattr(head.decoder, 'heatmap_size', None)  # the features are as large
    wanted = (student.get('decoder') or {}).get('heatmap_size')
    if None not in (maps, wanted) and tuple(maps) != tuple(wanted):
        entry['resize'] = resize_for(head.decoder)
    model = dict(type='PoseDistiller', student=cfg['model'], teachers=[teacher], distill=[entry])
    hooks = (dict(type='TeacherMetricsHook'),) if cfg.get('val_dataloader') else ()
    made = changed(cfg, model_config(model, 'model'), hooks)
    if own_view:
        add_views(made, head.decoder)
    without_values(made['model'], 'model')  # whether it can be built
    return made


def _head_of(model, key: str) -> dict:
    """The config of a model's head, which has deconvolutions.

    Raises:
        ValueError: It is another kind of model or head.
    """
    kind = type_name(model if isinstance(model, dict) else None)
    if kind != 'TopdownPoseEstimator':
        raise refusal(f'{key}.type', kind, 'PKD needs TopdownPoseEstimator')
    head = model.get('head')
    kind = type_name(head if isinstance(head, dict) else None)
    if kind != 'HeatmapHead' or not head.get('deconv_out_channels', (256,) * 3):
        raise ValueError(
            f'{key}.head.type={kind!r} has no deconvolutions: name features of student and '
            'teacher in an entry of PoseDistiller yourself'
        )
    return head


RECIPE = register(
    Recipe(
        name='pkd',
        title="features that vary as a bigger model's do",
        needs_teacher=True,
        misfit=reason_against(lambda cfg: _head_of(cfg.get('model'), 'model')),
        distilled=distilled,
        page='pkd.md',
        notes={
            'PoseDistiller': 'the inherited model is the student, and what is exported',
            'model.distill': "the student's features have to vary as the teacher's do",
        },
    )
)
