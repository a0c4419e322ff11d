"""PoseDistiller: the student is plain, and MMPose's own distiller gives the same."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint

from ..helpers.distillers import distiller, distiller_config, gradients, untrained
from ..helpers.models import (
    RESNET,
    SIZE,
    build,
    images,
    plain_config,
    randomize,
    samples,
)


def test_with_all_weights_0_losses_and_gradients_are_those_of_plain_training():
    plain = build(plain_config(RESNET)).train()
    model = build(distiller_config(dict(weight=0.0), dict(weight=0))).train()
    expected = plain.loss(images(), samples())
    losses = model.loss(images(), samples())
    assert {k: v for k, v in losses.items() if 'distill' not in k}.keys() == expected.keys()
    assert all(torch.equal(losses[key], expected[key]) for key in expected)
    assert losses['loss_distill0'] == losses['loss_distill1'] == 0
    one, two = gradients(plain, expected), gradients(model, losses)
    assert two.keys() == {f'student.{name}' for name in one}
    assert all(torch.equal(one[name], two[f'student.{name}']) for name in one)
    # the running statistics moved alike as well
    assert all(
        torch.equal(v, model.state_dict()[f'student.{k}']) for k, v in plain.state_dict().items()
    )


def test_a_loss_of_weight_0_inside_its_module_leaves_the_gradients_as_they_are():
    entry = dict(loss=dict(type='HeatmapKLLoss', loss_weight=0.0))
    model, plain = distiller(entry), build(plain_config(RESNET)).train()
    randomize(plain)
    one = gradients(plain, plain.loss(images(), samples()))
    two = gradients(model, model.loss(images(), samples()))
    assert all(torch.equal(one[name], two[f'student.{name}']) for name in one)


def test_the_students_own_losses_are_untouched():
    model, plain = distiller(dict(weight=3.0)), build(plain_config(RESNET)).train()
    randomize(plain)
    expected = plain.loss(images(), samples())
    losses = model.loss(images(), samples())
    assert losses['loss_distill0'] > 0
    assert all(torch.equal(losses[key], expected[key]) for key in expected)


def test_the_student_starts_from_the_weights_it_would_have_alone():
    plain = build(plain_config(RESNET))
    model = build(
        distiller_config(
            dict(adapter=dict(type='Conv2d', in_channels=5, out_channels=5, kernel_size=1))
        )
    )
    state = model.student.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())


def test_it_predicts_as_the_student_does():
    model = distiller().eval()
    with torch.no_grad():
        one = model(images(), samples(), mode='predict')
        two = model.student.predict(images(), samples())
        assert torch.equal(model(images()), model.student(images(), None, mode='tensor'))
    assert (one[0].pred_instances.keypoints == two[0].pred_instances.keypoints).all()
    model.test_cfg = dict(flip_test=False)
    assert model.student.test_cfg == model.test_cfg == dict(flip_test=False)


def test_a_head_may_be_named_itself():
    """MMPose calls its ``forward`` directly, past all hooks."""
    losses = [
        distiller(entry).loss(images(), samples())['loss_distill0']
        for entry in ({}, dict(student='head', teacher='head'))
    ]
    assert torch.equal(*losses)


def test_nothing_is_left_in_the_models_after_a_step():
    model = distiller(dict(student='head', teacher='head'))
    model.loss(images(), samples())
    for head in (model.student.head, model.teachers[0].model.head):
        assert 'forward' not in vars(head)


def test_a_checkpoint_of_the_plain_student_loads_into_the_student(tmp_path):
    plain = randomize(build(plain_config(RESNET)), seed=5)
    torch.save({'state_dict': plain.state_dict()}, tmp_path / 'plain.pth')
    model = distiller()
    load_checkpoint(model, str(tmp_path / 'plain.pth'))
    state = model.student.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())


@pytest.fixture
def said(monkeypatch):
    lines = []
    where = 'mmpose_kd.distiller.pose_distiller.print_log'
    monkeypatch.setattr(where, lambda msg, *_, **__: lines.append(msg))
    return lines


OWN = plain_config(RESNET)['data_preprocessor']


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (dict(mean=[0.0, 0.0, 0.0]), 'mean=[0.0, 0.0, 0.0] (here [123.675, 116.28, 103.53])'),
        (dict(std=[1.0, 1.0, 1.0]), 'std=[1.0, 1.0, 1.0]'),
        (dict(bgr_to_rgb=False), 'bgr_to_rgb=False (here True)'),
    ],
)
def test_a_preprocessor_that_is_not_used_is_told_if_it_would_do_something_else(said, change, told):
    model = build(distiller_config(data_preprocessor={**OWN, **change}), init=False)
    assert len(said) == 1 and told in said[0] and 'model.student.data_preprocessor' in said[0]
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(OWN['mean'])


def test_a_preprocessor_that_is_the_students_is_nothing_to_tell(said):
    """As the Runner hands over what stands beside the model."""
    for given in (OWN, {**OWN, 'mean': tuple(OWN['mean']), 'pad_size_divisor': 1}):
        build(distiller_config(data_preprocessor=copy.deepcopy(given)), init=False)
    student = plain_config(RESNET)
    del student['data_preprocessor']  # here it is used
    build(distiller_config(student=student, data_preprocessor=OWN), init=False)
    assert said == []


KEYPOINTS = dict(keypoint_id2name={k: f'k{k}' for k in range(5)})
FEATURES = dict(loss=dict(type='FeatureMSELoss'), student='backbone', teacher='backbone')


@pytest.mark.parametrize('maps_from', [0, 1])
def test_keypoints_are_compared_of_teachers_alone_whose_keypoints_are_read(maps_from):
    entries = [dict(from_teachers=[maps_from]), dict(FEATURES, from_teachers=[1 - maps_from])]
    teachers = [untrained(plain_config(RESNET)) for _ in range(2)]
    model = distiller(*entries, teachers=teachers)
    MessageHub.get_current_instance().update_info('dataset_meta', KEYPOINTS)
    other = {k: name.upper() for k, name in KEYPOINTS['keypoint_id2name'].items()}
    model.teachers[1].dataset_meta = dict(keypoint_id2name=other)
    if maps_from == 1:
        with pytest.raises(ValueError, match=r'teachers\[1\] was trained for other keypoints'):
            model.loss(images(), samples())
    else:
        assert model.loss(images(), samples())['loss_distill1'] > 0


def rtmpose(widen):
    config = plain_config(RESNET)
    codec = dict(
        type='SimCCLabel', input_size=SIZE, sigma=2.0, simcc_split_ratio=2.0, normalize=False
    )
    config['backbone'] = dict(
        type='CSPNeXt', deepen_factor=0.167, widen_factor=widen, out_indices=(4,), expand_ratio=0.5
    )
    config['head'] = dict(
        type='RTMCCHead',
        in_channels=int(1024 * widen),
        out_channels=5,
        input_size=SIZE,
        in_featuremap_size=(1, 2),
        simcc_split_ratio=2.0,
        final_layer_kernel_size=1,
        gau_cfg=dict(
            hidden_dims=16,
            s=8,
            expansion_factor=2,
            dropout_rate=0.0,
            drop_path=0.0,
            act_fn='SiLU',
            use_rel_bias=False,
            pos_enc=False,
        ),
        loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10.0, label_softmax=True),
        decoder=codec,
    )
    return config


def simcc_samples():
    batch = samples()
    generator = torch.Generator().manual_seed(0)
    for sample in batch:
        for axis, bins in zip('xy', (64, 128)):
            label = torch.rand(1, 5, bins, generator=generator)
            sample.gt_instance_labels.set_field(label, f'keypoint_{axis}_labels')
    return batch


def test_dwposes_first_stage_gives_the_losses_of_mmposes_dwpose_distiller(tmp_path):
    files = {}
    for name, widen in (('student', 0.125), ('teacher', 0.25)):
        files[name] = str(tmp_path / f'{name}.py')
        Config(dict(model=rtmpose(widen))).dump(files[name])
    align = dict(student_channels=128, teacher_channels=256)
    stock = build(
        dict(
            type='DWPoseDistiller',
            student_cfg=files['student'],
            teacher_cfg=files['teacher'],
            distill_cfg=[
                ConfigDict(
                    methods=[
                        dict(type='FeaLoss', name='loss_fea', use_this=True, **align),
                        dict(type='KDLoss', name='loss_logit', use_this=True, weight=0.1),
                    ]
                )
            ],
        )
    ).train()
    stock.teacher.eval()
    decay = dict(type='linear_decay')
    ours = build(
        distiller_config(
            dict(
                name='fea',
                loss=dict(type='FeatureMSELoss', divisor='batch', loss_weight=0.00007),
                student='backbone',
                teacher='backbone',
                adapter=dict(type='Conv2d', in_channels=128, out_channels=256, kernel_size=1),
                schedule=decay,
            ),
            dict(
                name='logit',
                loss=dict(type='SimCCKLLoss', use_target_weight=False, loss_weight=0.1),
                student=('head.cls_x', 'head.cls_y'),
                teacher=('head.cls_x', 'head.cls_y'),
                schedule=decay,
            ),
            student=files['student'],
            teachers=[untrained(files['teacher'])],
        )
    ).train()
    ours.student.load_state_dict(stock.student.state_dict())
    ours.teachers[0].model.load_state_dict(stock.teacher.state_dict())
    ours.distill[0].adapter.load_state_dict(stock.distill_losses['loss_fea'].align.state_dict())
    hub = MessageHub.get_current_instance()
    hub.update_info('max_epochs', 10)
    hub.update_info('epoch', 3)
    expected, found = (m.loss(images(), simcc_samples()) for m in (stock, ours))
    assert {'loss_kpt', 'loss_fea', 'loss_logit'} <= expected.keys() == found.keys()
    for key in ('loss_kpt', 'loss_fea', 'loss_logit'):
        assert expected[key] > 0
        torch.testing.assert_close(found[key], expected[key])
