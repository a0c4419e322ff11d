"""Teachers are constants, read from checkpoints that fit, and see what they were trained for."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from torch import nn

from mmpose_kd.distiller.teacher import Teacher

from ..helpers.distillers import distiller, distiller_config, untrained
from ..helpers.models import (
    HRNET,
    RESNET,
    K,
    build,
    images,
    plain_config,
    randomize,
    samples,
    total,
)


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


def test_an_average_on_another_device_leaves_the_teachers_where_they_are():
    """EMAHook(device='cpu') on a GPU."""
    model = distiller()
    average = ExponentialMovingAverage(model, device=torch.device('meta'))
    assert average.module.teachers[0] is model.teachers[0]
    assert {p.device.type for p in average.module.student.parameters()} == {'meta'}
    assert {p.device.type for p in model.teachers[0].model.parameters()} == {'cpu'}
    model.to('meta')
    assert {p.device.type for p in model.teachers[0].model.parameters()} == {'meta'}


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
    (teacher,) = model.teachers
    found = teacher.own_images(own['inputs'], own['data_samples'], model.data_preprocessor)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - own['inputs']).abs().max() > 0.1


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
    assert model.teachers[0].num_keypoints == 5
    assert model.teachers[1].num_keypoints == 16


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
def test_a_teachers_precision_holds_inside_mixed_precision(dtype):
    config = plain_config(HRNET)
    model = distiller(teachers=[untrained(config, dtype=dtype)])
    teacher = model.teachers[0]
    paths = model.distill[0].teacher_paths[0]
    (alone,) = teacher.outputs(images().to(teacher.dtype), paths)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        (inside,) = teacher.outputs(images().to(teacher.dtype), paths)
    assert torch.equal(inside, alone)


def test_a_half_precision_teacher_normalises_in_full_precision():
    half = distiller(teachers=[untrained(plain_config(HRNET), dtype='bfloat16')]).teachers[0]
    preprocessor = distiller().data_preprocessor
    assert torch.equal(half.model.data_preprocessor.mean, preprocessor.mean)
    found = half.own_images(images(), samples(), preprocessor)
    assert torch.equal(found, images())


def test_a_view_of_another_part_of_the_picture_is_refused():
    model = distiller(teachers=[untrained(plain_config(HRNET), view='v')])
    batch = samples()
    for sample in batch:
        size = dict(input_size=(64, 64), input_scale=np.array([128.0, 128.0]))
        sample.set_data({'view_v': BaseDataElement(metainfo=size, img=torch.zeros(3, 64, 64))})
    with pytest.raises(ValueError, match=r"teachers\[0\].view='v'.*\(32, 64\), found \(64, 64\)"):
        model.loss(images(), batch)


def digest(**weights):
    """The digest of a teacher with these weights."""
    model = SimpleNamespace(state_dict=lambda: weights)
    return Teacher.digest(SimpleNamespace(model=model, _digest=None))


def test_the_digest_is_of_every_weight_with_its_name_type_and_shape():
    weights = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()
    known = digest(**weights)
    assert known == digest(**dict(reversed(copy.deepcopy(weights).items())))
    for name in weights:  # also the running statistics and their count
        changed = copy.deepcopy(weights)
        one = changed[name].view(-1).view(torch.uint8)
        one[-1] ^= 1
        assert digest(**changed) != known, name
        assert digest(**{f'{n}x' if n == name else n: v for n, v in weights.items()}) != known
    zero = torch.zeros(2, 3)
    found = {digest(a=x) for x in (zero, zero.T, zero.int(), torch.zeros(3, 4).half(), zero[0])}
    assert len(found) == 5
    assert digest(a=zero.bfloat16()) == digest(a=zero.bfloat16())


def test_of_merged_data_sets_teacher_and_student_are_tested_on_the_same_keypoints():
    """A student of more keypoints than its validation has chooses: output_keypoint_indices."""
    order, chosen = [*range(K), -1, -1], list(range(K))
    config = plain_config(HRNET)
    config['test_cfg'] = dict(flip_test=True, output_keypoint_indices=[1, 0])
    teacher = Teacher(config, None, keypoints=order)
    randomize(teacher.model)
    teacher.ready = True
    batch = samples()
    every, tested = (teacher.predict(images(), batch, one) for one in (None, chosen))
    for all_of, some_of in zip(every, tested):
        one, two = all_of.pred_instances, some_of.pred_instances
        assert one.keypoints.shape[1] == K + 2 and two.keypoints.shape[1] == K
        assert (one.keypoints[:, :K] == two.keypoints).all()
        assert (one.keypoint_scores[:, K:] == 0).all() and (two.keypoint_scores != 0).any()
