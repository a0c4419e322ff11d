"""What recipes with a teacher have in common."""

import pytest
from mmpose.registry import KEYPOINT_CODECS

from mmpose_kd.core.recipe import type_name
from mmpose_kd.distiller.recipe import add_views

from ..helpers.models import CODEC

AFFINE = dict(type='TopdownAffine', input_size=(16, 32))
VIEW = dict(type='TeacherView', name='teacher', input_size=(32, 64), use_udp=False)


def with_views(*pipeline):
    cfg = dict(train_dataloader=dict(dataset=dict(pipeline=list(pipeline))))
    add_views(cfg, KEYPOINT_CODECS.build(CODEC))
    return cfg['train_dataloader']['dataset']['pipeline']


@pytest.mark.parametrize('pack', ['PackPoseInputs', 'PackPoseViews'])
def test_a_crop_is_made_before_the_students(pack):
    assert with_views(AFFINE, dict(type=pack)) == [VIEW, AFFINE, dict(type='PackPoseViews')]


def test_it_is_made_inside_fixed_augmentations():
    fixed = dict(type='FixedAugmentations', transforms=[dict(type='RandomFlip'), AFFINE])
    made = with_views(fixed, dict(type='PackPoseViews'))
    assert [type_name(step) for step in made] == ['FixedAugmentations', 'PackPoseViews']
    assert made[0]['transforms'] == [dict(type='RandomFlip'), VIEW, AFFINE]


def test_a_crop_that_is_there_stays_the_only_one():
    pipeline = [VIEW, AFFINE, dict(type='PackPoseViews')]
    assert with_views(*pipeline) == pipeline


@pytest.mark.parametrize('pipeline', [[AFFINE], [dict(type='PackPoseInputs')]])
def test_a_pipeline_without_a_place_for_it_is_refused(pipeline):
    with pytest.raises(ValueError, match=r'train_dataloader\.dataset\.pipeline: there is no'):
        with_views(*pipeline)
