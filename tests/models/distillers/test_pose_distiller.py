"""PoseDistiller: the student is plain, the teachers are constants, mistakes are told."""

import copy

import numpy as np
import pytest
import torch
from build import HRNET, RESNET, SIZE, build, images, plain_config, randomize, samples, total
from mmengine.config import Config, ConfigDict
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmengine.logging import MessageHub
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.runner import load_checkpoint
from mmengine.structures import BaseDataElement
from torch import nn

from mmpose_kd.models.distillers.distillation import resized
from mmpose_kd.models.distillers.teacher import num_keypoints
from mmpose_kd.models.losses import heatmap_kl

MSE = dict(type='KeypointMSELoss', use_target_weight=True)
ENTRY = dict(loss=MSE, student='head.final_layer', teacher='head.final_layer')


def untrained(config, **settings):
    """A teacher with random weights."""
    return dict(config=config, checkpoint=None, **settings)


def distiller_config(*entries, student=None, teachers=None, **changes):
    return dict(
        type='PoseDistiller',
        student=student or plain_config(RESNET),
        teachers=teachers or [untrained(plain_config(HRNET))],
        distill=[{**ENTRY, **entry} for entry in entries or [{}]],
        **changes,
    )


def distiller(*entries, **settings):
    model = build(distiller_config(*entries, **settings))
    randomize(model.student)
    for n, teacher in enumerate(model.teachers):
        randomize(teacher.model, seed=n + 1)
    return model.train()


def gradients(model, losses):
    model.zero_grad()
    total(losses).backward()
    return {name: p.grad for name, p in model.named_parameters()}


# ------------------------------------------------------------------ the student is plain


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


# ------------------------------------------------------------------ the loss


def test_the_loss_is_the_named_loss_of_the_named_outputs():
    entry = dict(loss=dict(type='HeatmapKLLoss', temperature=0.5), weight=2.0, name='heatmaps')
    model = distiller(entry)
    twin = copy.deepcopy(model.student)
    losses = model.loss(images(), samples())
    student = twin(images(), None, mode='tensor')
    with torch.no_grad():
        teacher = model.teachers[0].model(images(), None, mode='tensor')
    weight = torch.cat([s.gt_instance_labels.keypoint_weights for s in samples()])
    expected = 2.0 * heatmap_kl(student, teacher, weight, temperature=0.5)
    assert expected > 0
    torch.testing.assert_close(losses['loss_heatmaps'], expected)


def test_the_weight_follows_the_schedule_and_an_idle_teacher_is_not_run(monkeypatch):
    model = distiller(
        dict(schedule=dict(type='linear_decay'), weight=2.0), dict(schedule=dict(start=3))
    )
    calls = []
    forward = model.teachers[0].model.forward
    monkeypatch.setattr(
        model.teachers[0].model, 'forward', lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    hub = MessageHub.get_current_instance()
    hub.update_info('max_epochs', 4)
    seen = {}
    for epoch in (0, 2, 3, 4):
        hub.update_info('epoch', epoch)
        with torch.no_grad():
            seen[epoch] = model.loss(images(), samples())
    base = float(seen[0]['loss_distill0'])
    assert base > 0
    assert float(seen[2]['loss_distill0']) == pytest.approx(base / 2)
    assert seen[4]['loss_distill0'] == 0
    assert [float(s['loss_distill1']) > 0 for s in seen.values()] == [False, False, True, True]
    assert len(calls) == 4  # at every epoch one entry is at work, and no more than one pass
    hub.update_info('epoch', 4)
    model.distill[1].weight = 0
    model.loss(images(), samples())
    assert len(calls) == 4


def test_features_are_aligned_by_an_adapter_that_trains_and_is_saved():
    adapter = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    entry = dict(
        loss=dict(type='FeatureMSELoss'),
        student='backbone',
        teacher='backbone',
        adapter=adapter,
        resize='areas',
    )
    model = distiller(entry)
    grads = gradients(model, model.loss(images(), samples()))
    assert grads['distill.0.adapter.weight'].abs().sum() > 0
    assert grads['student.backbone.conv1.weight'].abs().sum() > 0
    assert {'distill.0.adapter.weight', 'distill.0.adapter.bias'} <= model.state_dict().keys()
    # processes that train together: every parameter has a gradient at every step
    model.distill[0].weight = 0.0
    grads = gradients(model, model.loss(images(), samples()))
    assert grads['distill.0.adapter.weight'].abs().sum() == 0


def test_maps_of_another_size_need_a_way_to_resize():
    fine = plain_config(HRNET)
    fine['head'].update(deconv_out_channels=(8,), deconv_kernel_sizes=(4,))
    teachers = [untrained(fine)]
    with pytest.raises(
        ValueError, match=r'\(2, 5, 16, 8\).*\(2, 5, 32, 16\).*distill\[0\].resize'
    ):
        distiller(teachers=teachers).loss(images(), samples())
    assert distiller(dict(resize='origin'), teachers=teachers).loss(images(), samples())


@pytest.mark.parametrize(
    ('how', 'place'),
    [
        ('corners', lambda i, new, old: i * (new - 1) / (old - 1)),
        ('origin', lambda i, new, old: i * new / old),
        ('areas', lambda i, new, old: (i + 0.5) * new / old - 0.5),
    ],
)
@pytest.mark.parametrize('new', [(12, 18), (48, 36)])
def test_a_resized_bump_lies_where_its_codec_puts_it(how, place, new):
    old, x, y = (24, 32), 9.0, 14.0
    columns, rows = torch.arange(old[1]), torch.arange(old[0])[:, None]
    bump = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)[None, None]
    out = resized(bump, new, how)[0, 0]
    out = out / out.sum()
    found_x = (out.sum(0) * torch.arange(new[1])).sum()
    found_y = (out.sum(1) * torch.arange(new[0])).sum()
    assert float(found_x) == pytest.approx(place(x, new[1], old[1]), abs=0.05)
    assert float(found_y) == pytest.approx(place(y, new[0], old[0]), abs=0.05)


def test_keypoints_in_another_order_give_the_same_loss_as_in_the_students_order():
    order = [3, 0, 4, 1, 2]
    model = distiller(teachers=[untrained(plain_config(HRNET), keypoints=order)])
    same = distiller()
    layer = same.teachers[0].model.head.final_layer
    layer.weight.data, layer.bias.data = layer.weight.data[order], layer.bias.data[order]
    one = model.loss(images(), samples())['loss_distill0']
    two = same.loss(images(), samples())['loss_distill0']
    torch.testing.assert_close(one, two)
    plain = distiller().loss(images(), samples())['loss_distill0']
    assert abs(float(one - plain)) > 1e-4


def test_a_keypoint_the_teacher_does_not_have_is_not_taught():
    wide = plain_config(HRNET)
    wide['head']['out_channels'] = 7
    model = distiller(teachers=[untrained(wide, keypoints=[6, -1, 0, 1, 2])])
    maps = []
    model.student.head.final_layer.register_forward_hook(
        lambda m, i, o: o.retain_grad() or maps.append(o)
    )
    model.loss(images(), samples())['loss_distill0'].backward()
    taught = maps[0].grad.flatten(2).abs().sum((0, 2)) > 0
    assert taught.tolist() == [True, False, True, True, True]


# ------------------------------------------------------------------ several teachers


TWO = [
    untrained(plain_config(HRNET)),
    untrained(plain_config(RESNET)),
]


def test_two_teachers_add_up_with_their_weights():
    both = distiller(dict(from_teachers=[0, 1], teacher_weights=[0.25, 3.0]), teachers=TWO)
    one = distiller(dict(weight=0.25), dict(from_teachers=[1], weight=3.0), teachers=TWO)
    expected = one.loss(images(), samples())
    torch.testing.assert_close(
        both.loss(images(), samples())['loss_distill0'],
        expected['loss_distill0'] + expected['loss_distill1'],
    )


def test_the_more_confident_teacher_of_a_keypoint_teaches_it():
    model = distiller(dict(from_teachers=[0, 1], teacher_weights='confidence'), teachers=TWO)
    entry = model.distill[0]
    flat, sure = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    sure[0, 0, 1, 2] = 1.0  # the second teacher knows keypoint 0 only
    flat[0, 1, 3, 3] = 0.5  # the first keypoint 1 only
    student = torch.rand(1, 2, 4, 4)
    loss = entry([student], {0: [flat], 1: [sure]}, model.teachers, torch.ones(1, 2))
    best = torch.stack([sure[:, 0], flat[:, 1]], 1)
    torch.testing.assert_close(loss, (student - best).square().mean())


def test_confidence_is_finite_where_no_teacher_sees_anything():
    model = distiller(dict(from_teachers=[0, 1], teacher_weights='confidence'), teachers=TWO)
    nothing = {n: [torch.zeros(1, 5, 4, 4)] for n in (0, 1)}
    loss = model.distill[0]([torch.rand(1, 5, 4, 4)], nothing, model.teachers, torch.ones(1, 5))
    assert loss == 0


# ------------------------------------------------------------------ teachers are constants


def test_teachers_never_change_in_training():
    model = distiller(dict(weight=1.0))
    teacher = model.teachers[0].model
    before = copy.deepcopy(teacher.state_dict())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    for mode in (True, False, True):
        model.train(mode)
        wrapper.update_params(total(model.loss(images(), samples())))
    assert not any(m.training for m in teacher.modules())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


def test_teachers_are_outside_parameters_modules_and_state():
    model = distiller()
    inside = {id(m) for m in model.modules()}
    assert not inside & {id(m) for m in model.teachers[0].model.modules()}
    assert all(key.startswith('student.') for key in model.state_dict())
    assert all(name.startswith('student.') for name, _ in model.named_parameters())


def test_an_average_of_the_model_shares_its_teachers():
    model = distiller()
    ema = ExponentialMovingAverage(model)
    assert ema.module.teachers[0] is model.teachers[0]
    ema.update_parameters(model)
    assert all(key.startswith(('module.student.', 'steps')) for key in ema.state_dict())


def test_device_and_type_moves_reach_the_teachers():
    model = distiller().double()
    assert {p.dtype for p in model.teachers[0].model.parameters()} == {torch.float64}
    losses = model.loss(images(dtype=torch.float64), samples(dtype=torch.float64))
    assert losses['loss_distill0'] > 0
    model.to('meta')
    assert {p.device.type for p in model.teachers[0].model.parameters()} == {'meta'}


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_a_teacher_in_half_precision_gives_float32_near_the_full_one(dtype):
    full = distiller()
    teachers = [untrained(plain_config(HRNET), dtype=dtype, channels_last=True)]
    conv = build(distiller_config(teachers=teachers)).teachers[0].model.backbone.conv1.weight
    assert conv.dtype == getattr(torch, dtype)
    assert conv.is_contiguous(memory_format=torch.channels_last)
    half = distiller(teachers=teachers)
    half.teachers[0].model.load_state_dict(full.teachers[0].model.state_dict())
    expected = full.loss(images(), samples())['loss_distill0']
    found = half.loss(images(), samples())['loss_distill0']
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


def test_a_teacher_with_another_normalisation_sees_the_same_pixels():
    other = plain_config(HRNET)
    other['data_preprocessor'] = dict(
        type='PoseDataPreprocessor',
        mean=[0.0, 10.0, 20.0],
        std=[255.0, 200.0, 100.0],
        bgr_to_rgb=False,
    )
    model = distiller(teachers=[untrained(other)])
    pixels = torch.randint(
        0, 256, (2, 3, 64, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    batch = {'inputs': list(pixels), 'data_samples': samples()}
    own = model.data_preprocessor(copy.deepcopy(batch))
    expected = model.teachers[0].model.data_preprocessor(copy.deepcopy(batch))['inputs']
    found = model.teachers[0].images(own['inputs'], own['data_samples'], model.data_preprocessor)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - own['inputs']).abs().max() > 0.1


# ------------------------------------------------------------------ checkpoints


def test_checkpoints_are_read_in_init_weights_and_must_fit(tmp_path):
    teacher = randomize(build(plain_config(HRNET)))
    file = tmp_path / 'teacher.pth'
    torch.save(
        {'state_dict': teacher.state_dict(), 'meta': {'dataset_meta': {'dataset_name': 'x'}}}, file
    )
    config = distiller_config(teachers=[dict(config=plain_config(HRNET), checkpoint=str(file))])
    model = build(config, init=False)
    with pytest.raises(RuntimeError, match=r'teachers\[0\].*init_weights'):
        model.loss(images(), samples())
    model.init_weights()
    state = model.teachers[0].model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in teacher.state_dict().items())
    assert model.teachers[0].dataset_meta == {'dataset_name': 'x'}

    config['teachers'][0]['config'] = plain_config(RESNET)
    with pytest.raises(ValueError, match=r'teachers\[0\].checkpoint=.*teachers\[0\].config'):
        build(config)


@pytest.mark.parametrize('content', ['missing', 'truncated', 'unsafe'])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path, content):
    file = tmp_path / 'teacher.pth'
    if content == 'truncated':
        torch.save(build(plain_config(HRNET)).state_dict(), file)
        file.write_bytes(file.read_bytes()[:1000])
    elif content == 'unsafe':
        torch.save({'state_dict': nn.Linear(1, 1)}, file)
    config = distiller_config(teachers=[dict(config=plain_config(HRNET), checkpoint=str(file))])
    with pytest.raises(ValueError, match=r'teachers\[0\].checkpoint='):
        build(config)


def test_configs_may_be_files_dicts_or_installed_names(tmp_path):
    file = tmp_path / 'student.py'
    Config(dict(model=plain_config(RESNET), train_cfg=dict(max_epochs=1))).dump(file)
    folder = 'mmpose::body_2d_keypoint/topdown_heatmap/mpii'
    name = f'{folder}/td-hm_mobilenetv2_8xb64-210e_mpii-256x256.py'
    teachers = [untrained(Config.fromfile(file)), untrained(name, keypoints=[0, 1, 2, 3, 4])]
    entry = dict(from_teachers=[0, 1])
    model = build(distiller_config(entry, student=str(file), teachers=teachers), init=False)
    assert model.student_config['backbone'] == plain_config(RESNET)['backbone']
    assert num_keypoints(model.teachers[0].model) == 5
    assert num_keypoints(model.teachers[1].model) == 16


# ------------------------------------------------------------------ mistakes


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


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
def test_a_teachers_precision_holds_inside_mixed_precision(dtype):
    config = plain_config(HRNET)
    model = distiller(teachers=[untrained(config, dtype=dtype)])
    teacher = model.teachers[0]
    taps = model.distill[0].teacher_taps[0]
    (alone,) = teacher.outputs(images().to(teacher.dtype), taps)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        (inside,) = teacher.outputs(images().to(teacher.dtype), taps)
    assert torch.equal(inside, alone)


def test_a_half_precision_teacher_normalises_in_full_precision():
    half = distiller(teachers=[untrained(plain_config(HRNET), dtype='bfloat16')]).teachers[0]
    preprocessor = distiller().data_preprocessor
    assert torch.equal(half.model.data_preprocessor.mean, preprocessor.mean)
    found = half.images(images(), samples(), preprocessor)
    assert torch.equal(found, images().bfloat16())


def test_a_view_of_another_part_of_the_picture_is_refused():
    model = distiller(teachers=[untrained(plain_config(HRNET), view='v')])
    batch = samples()
    for sample in batch:
        size = dict(input_size=(64, 64), input_scale=np.array([128.0, 128.0]))
        sample.set_data({'view_v': BaseDataElement(metainfo=size, img=torch.zeros(3, 64, 64))})
    with pytest.raises(ValueError, match=r"teachers\[0\].view='v'.*\(32, 64\), found \(64, 64\)"):
        model.loss(images(), batch)


def test_a_checkpoint_of_the_plain_student_loads_into_the_student(tmp_path):
    plain = randomize(build(plain_config(RESNET)), seed=5)
    torch.save({'state_dict': plain.state_dict()}, tmp_path / 'plain.pth')
    model = distiller()
    load_checkpoint(model, str(tmp_path / 'plain.pth'))
    state = model.student.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())


# ------------------------------------------------------------------ against MMPose's own


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
