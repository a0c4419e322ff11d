"""A distiller's wrong settings are refused by their key."""

import pytest
from mmengine.config import Config
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmpose.apis import init_model

from ..helpers.distillers import TWO, distiller, distiller_config, untrained
from ..helpers.models import (
    HRNET,
    RESNET,
    build,
    images,
    plain_config,
    samples,
)


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (
            dict(student='head.final_layr'),
            r"distill\[0\].student='head.final_layr'.*head.final_layer",
        ),
        (dict(teacher='final_layer'), r"distill\[0\].teacher='final_layer'.*head.final_layer"),
        (dict(student=3), r'distill\[0\].student=3'),
        (dict(student=[]), r'distill\[0\].student=\[\]'),
        (dict(student=['backbone', 'head.final_layer']), 'as many outputs'),
        (dict(weight=-1), r'distill\[0\].weight=-1'),
        (dict(weight='1'), r"distill\[0\].weight='1'"),
        (dict(resize='linear'), r"distill\[0\].resize='linear'"),
        (dict(schedule=dict(type='up')), r"distill\[0\].schedule.type='up'"),
        (dict(from_teachers=[1]), r'distill\[0\].from_teachers=\[1\].*1 teachers'),
        (dict(from_teachers=0), r'distill\[0\].from_teachers=0'),
        (dict(from_teachers=[0, 0]), 'twice'),
        (dict(teacher_weights=[1, 2]), r'distill\[0\].teacher_weights=\[1, 2\]'),
        (dict(teacher_weights='peak'), r"distill\[0\].teacher_weights='peak'.*confidence"),
        (dict(wight=1), r'distill\[0\].*wight'),
        (
            dict(
                loss=dict(type='HeatmapKLLoss', use_target_weight=False),
                teacher_weights='confidence',
            ),
            r'distill\[0\].teacher_weights.*use_target_weight=True',
        ),
        (dict(loss=dict(type='SimCCKLLoss')), r'SimCCKLLoss.beta=None'),
        (
            dict(loss=dict(type='FeatureMSELoss'), teacher_weights='confidence'),
            r'distill\[0\].teacher_weights.*FeatureMSELoss',
        ),
    ],
)
def test_a_wrong_entry_is_told_by_its_key_when_the_model_is_built(entry, message):
    with pytest.raises(ValueError, match=message):
        build(distiller_config(entry), init=False)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (dict(dtype='half'), r"teachers\[0\].dtype='half'.*float16"),
        (dict(keypoints=[0, 1, 2, 3, 9]), r'teachers\[0\].keypoints has 9'),
        (dict(keypoints=[0, 1]), r'teachers\[0\].keypoints names 2 keypoints, the student has 5'),
        (dict(config='nowhere.py'), r"teachers\[0\].config='nowhere.py'"),
        (dict(config='mmpose::body/none.py'), r"teachers\[0\].config='mmpose::body/none.py'"),
        (dict(config=dict(a=1)), r'teachers\[0\].config=.*no model'),
        (dict(chekpoint=1), r'teachers\[0\].*chekpoint'),
    ],
)
def test_a_wrong_teacher_is_told_by_its_key_when_the_model_is_built(teacher, message):
    teachers = [{'config': plain_config(HRNET), 'checkpoint': None, **teacher}]
    with pytest.raises(ValueError, match=message):
        build(distiller_config(teachers=teachers), init=False)


def test_other_keypoint_counts_are_refused_without_a_mapping():
    wide = plain_config(HRNET)
    wide['head']['out_channels'] = 7
    with pytest.raises(ValueError, match=r'teachers\[0\] has 7 keypoints, the student has 5'):
        build(distiller_config(teachers=[untrained(wide)]), init=False)


def test_an_unknown_keypoint_needs_a_loss_that_respects_weights():
    entry = dict(loss=dict(type='HeatmapKLLoss', use_target_weight=False))
    teachers = [untrained(plain_config(HRNET), keypoints=[0, 1, 2, 3, -1])]
    with pytest.raises(ValueError, match=r'distill\[0\].loss.use_target_weight'):
        build(distiller_config(entry, teachers=teachers), init=False)


def test_a_teacher_for_another_image_size_is_refused():
    other = plain_config(HRNET)
    other['head']['decoder'] = dict(
        type='MSRAHeatmap', input_size=(64, 128), heatmap_size=(16, 32), sigma=1
    )
    model = distiller(teachers=[untrained(other)])
    with pytest.raises(ValueError, match=r'teachers\[0\] is for images of 64 x 128.*TeacherView'):
        model.loss(images(), samples())


def test_a_submodule_that_is_not_called_is_told():
    model = distiller(dict(student='data_preprocessor'))
    with pytest.raises(
        RuntimeError, match=r"distill\[0\].student='data_preprocessor'.*not called"
    ):
        model.loss(images(), samples())


def test_a_submodule_with_several_outputs_needs_a_number():
    model = distiller(dict(teacher='backbone.stage3'))
    with pytest.raises(ValueError, match=r"distill\[0\].teacher='backbone.stage3'.*stage3\[-1\]"):
        model.loss(images(), samples())


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match='not all different'):
        build(distiller_config(dict(name='a'), dict(name='a')), init=False)
    with pytest.raises(ValueError, match=r"distill\[0\].name='kpt'"):
        distiller(dict(name='kpt')).loss(images(), samples())


def test_a_teacher_without_a_checkpoint_must_say_so():
    with pytest.raises(ValueError, match=r'teachers\[0\].*checkpoint'):
        build(distiller_config(teachers=[dict(config=plain_config(HRNET))]), init=False)


def test_a_teacher_that_no_entry_uses_is_refused():
    with pytest.raises(ValueError, match=r'teachers\[1\] teaches nothing.*from_teachers'):
        build(distiller_config(teachers=TWO), init=False)


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_an_output_that_is_changed_in_place_afterwards_is_refused(side):
    entry = dict(
        loss=dict(type='FeatureMSELoss'),
        student='backbone.layer1.0.conv1',
        teacher='backbone.layer1.0.conv1',
    )
    model = distiller(entry, teachers=[untrained(plain_config(RESNET))])
    assert model.loss(images(), samples())['loss_distill0'] > 0
    entry[side] = 'backbone.layer1.0.bn1'  # an in-place ReLU follows
    model = distiller(entry, teachers=[untrained(plain_config(RESNET))])
    with pytest.raises(ValueError, match=rf"distill\[0\].{side}='.*bn1'.*in place"):
        model.loss(images(), samples())


def test_a_student_output_without_gradient_is_refused():
    model = distiller()
    model.student.requires_grad_(False)
    with pytest.raises(ValueError, match=r"distill\[0\].student='head.final_layer'.*no gradient"):
        model.loss(images(), samples())


def test_init_model_is_told_to_export_first():
    """mmpose.apis.init_model sets model.train_cfg=None."""
    with pytest.raises(ValueError, match=r'model\.train_cfg=None.*export it first'):
        build(dict(distiller_config(), train_cfg=None), init=False)


def test_init_model_with_options_says_export_it_first(tmp_path):
    cfg = Config(dict(default_scope='mmpose', model=distiller_config()))
    with pytest.raises(ValueError, match='export it first'):
        init_model(cfg, device='cpu', cfg_options={})


def test_a_training_setting_belongs_to_the_student():
    message = r"model.train_cfg=\{'compute_acc': False\}: give it in model.student"
    with pytest.raises(ValueError, match=message):
        build(dict(distiller_config(), train_cfg=dict(compute_acc=False)), init=False)
