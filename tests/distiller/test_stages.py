"""Later stages of a training have the teachers' views, or the run does not begin."""

import pytest

from mmpose_kd.distiller.stages import check_stages

from ..helpers.distillers import distiller_config, untrained
from ..helpers.models import HRNET, build, plain_config

AFFINE = dict(type='TopdownAffine', input_size=(32, 64))
VIEW = dict(type='TeacherView', input_size=(32, 64))
PLAIN, PACK = dict(type='PackPoseInputs'), dict(type='PackPoseViews')


def stages(*pipeline, entry=None, view='teacher', epochs=4, switch_epoch=2):
    """The check of a run whose second stage has this pipeline."""
    teachers = [untrained(plain_config(HRNET), view=view)]
    model = build(distiller_config(entry or {}, teachers=teachers), init=False)
    switch = dict(
        type='mmdet.PipelineSwitchHook', switch_epoch=switch_epoch, switch_pipeline=list(pipeline)
    )
    hooks = [dict(type='SyncBuffersHook'), switch]
    train_cfg = dict(max_epochs=epochs) if epochs else dict(by_epoch=False, max_iters=100)
    check_stages(dict(custom_hooks=hooks, train_cfg=train_cfg), model.distill, model.teachers)


@pytest.mark.parametrize(
    'pipeline',
    [
        [AFFINE, PLAIN],
        [AFFINE, PACK],
        [VIEW, AFFINE, PLAIN],
        [dict(VIEW, name='other'), AFFINE, PACK],
        [dict(type='FixedAugmentations', transforms=[AFFINE]), PACK],
    ],
    ids=['plain', 'no view', 'not packed', 'another view', 'no view inside'],
)
def test_a_later_stage_without_the_view_is_refused_by_its_key(pipeline):
    message = (
        r"^custom_hooks\[1\]\.switch_pipeline=\[.*\]: model\.teachers\[0\]\.view='teacher' is "
        r"needed from epoch 2 on.*TeacherView', name='teacher'.*PackPoseViews"
    )
    with pytest.raises(ValueError, match=message):
        stages(*pipeline)


@pytest.mark.parametrize(
    'pipeline',
    [
        [VIEW, AFFINE, PACK],
        [dict(VIEW, name='other'), VIEW, AFFINE, PACK],
        [dict(type='FixedAugmentations', transforms=[VIEW, AFFINE]), PACK],
        [dict(type='RandomChoice', transforms=[[VIEW, AFFINE], [VIEW, AFFINE]]), PACK],
        [VIEW, AFFINE, dict(type='PackOfMyOwn')],
        [dict(type='ViewOfMyOwn', name='teacher'), AFFINE, PACK],
        [dict(type='RandomApply', transforms=VIEW, prob=1.0), AFFINE, PACK],
    ],
    ids=['with it', 'two', 'inside', 'in either way', 'own packing', 'own view', 'one inside'],
)
def test_a_later_stage_with_the_view_is_fine(pipeline):
    stages(*pipeline)


@pytest.mark.parametrize(
    'settings',
    [
        dict(view=None),
        dict(entry=dict(weight=0.0)),
        dict(entry=dict(schedule=dict(stop=2))),
        dict(entry=dict(schedule=dict(stop=0.5))),
        dict(switch_epoch=4),
        dict(epochs=None),
    ],
    ids=['no view', 'weight 0', 'over by then', 'over at half', 'too short', 'iterations'],
)
def test_a_stage_in_which_the_teacher_is_not_run_needs_no_view(settings):
    stages(AFFINE, PLAIN, **settings)


def test_a_teacher_that_acts_to_the_end_needs_its_view_to_the_end():
    with pytest.raises(ValueError, match='switch_pipeline'):
        stages(AFFINE, PLAIN, entry=dict(schedule=dict(type='linear_decay')))


def test_outside_a_run_nothing_is_asked():
    model = build(distiller_config(), init=False)
    check_stages({}, model.distill, model.teachers)
