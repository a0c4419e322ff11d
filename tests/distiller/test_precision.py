"""Frozen models run in half precision on a GPU, near enough to what they are in float32."""

import copy

import pytest
import torch

from mmpose_kd.core.head_output import positions, read_output
from mmpose_kd.distiller.precision import HALVES, constant
from mmpose_kd.distiller.teacher import Teacher

from ..helpers.distillers import distiller
from ..helpers.models import HRNET, K, build, images, plain_config, randomize, samples, total
from ..helpers.ocd import batch_of, codec_of, ocd_of

GPUS = {'Hopper': ((9, 0), torch.bfloat16), 'Turing': ((7, 5), torch.float16)}


def stock(kind='heatmap'):
    """Config of a stock model whose head puts out heatmaps, bins or coordinates."""
    if kind == 'heatmap':
        return plain_config(HRNET)
    config = ocd_of({'bins': 'simcc', 'coordinates': 'regression'}[kind])
    return build(config).head.deployed().config(config)


def frozen(kind='heatmap', **settings):
    teacher = Teacher(stock(kind), None, **settings)
    randomize(teacher.model)
    teacher.ready = True
    return teacher


def on_gpu(teacher, monkeypatch, gpu='Hopper'):
    """What a GPU makes of a teacher, on the CPU."""
    capability = GPUS[gpu][0]
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    device = torch.device('cuda')
    assert teacher.precision.changes_on(device)
    teacher.precision.take(device)
    teacher.precision.cast(teacher.model)
    assert not teacher.precision.changes_on(device)
    return teacher


def kinds_of(module):
    return {p.dtype for p in module.parameters()}


def test_on_a_cpu_nothing_is_cast():
    teacher = frozen()
    weights = copy.deepcopy(teacher.model.state_dict())
    teacher.forward_head(images())
    assert teacher.dtype is None
    assert not teacher.precision.changes_on(torch.device('cpu'))
    found = teacher.model.state_dict()
    assert all(torch.equal(v, found[k]) and v.dtype == found[k].dtype for k, v in weights.items())
    assert found['backbone.conv2.weight'].is_contiguous()


@pytest.mark.parametrize('gpu', GPUS)
def test_on_a_gpu_the_half_that_it_computes_fast_is_taken(gpu, monkeypatch):
    teacher = on_gpu(frozen(), monkeypatch, gpu)
    assert teacher.dtype == GPUS[gpu][1]
    assert kinds_of(teacher.model) == {GPUS[gpu][1]}
    weight = teacher.model.backbone.conv2.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert teacher.model.data_preprocessor.mean.dtype == torch.float32


@pytest.mark.parametrize('settings', [dict(dtype='float32'), dict(dtype=None)], ids=str)
def test_float32_can_be_kept_on_a_gpu(settings, monkeypatch):
    teacher = frozen(channels_last=False, **settings)
    assert not teacher.precision.changes_on(torch.device('cuda'))
    teacher = on_gpu(frozen(**settings), monkeypatch)
    assert kinds_of(teacher.model) == {torch.float32}


@pytest.mark.parametrize('kind', ['bins', 'coordinates'])
def test_heads_whose_outputs_need_more_digits_stay_in_float32(kind, monkeypatch):
    teacher = on_gpu(frozen(kind), monkeypatch)
    assert kinds_of(teacher.model.backbone) == {torch.bfloat16}
    assert kinds_of(teacher.model.head) == {torch.float32}
    output = teacher.forward_head(images())
    assert {x.dtype for x in read_output(kind, output)} == {torch.float32}


def test_a_head_that_a_gradient_passes_stays_in_float32(monkeypatch):
    teacher = frozen()
    teacher.precision.taught_through = True
    on_gpu(teacher, monkeypatch, 'Turing')
    assert kinds_of(teacher.model.head) == {torch.float32}
    feature = (1e-9 * torch.randn(2, 4, 16, 8)).requires_grad_()
    (1e-9 * teacher.through_head(feature).sum()).backward()
    assert feature.grad.abs().max() > 0  # below what float16 can hold
    assert teacher.forward_head(images()).dtype == torch.float32


def test_a_neck_before_such_a_head_stays_in_float32(monkeypatch):
    config = stock()
    config['neck'] = dict(
        type='ChannelMapper', in_channels=[4], out_channels=4, kernel_size=1, norm_cfg=None
    )
    teacher = Teacher(config, None)
    randomize(teacher.model)
    teacher.ready = teacher.precision.taught_through = True
    on_gpu(teacher, monkeypatch)
    assert kinds_of(teacher.model.backbone) == {torch.bfloat16}
    assert kinds_of(teacher.model.neck) == {torch.float32}
    assert teacher.forward_head(images()).dtype == torch.float32


def test_the_weights_are_known_again_whatever_the_device_made_of_them(monkeypatch):
    teacher = frozen()
    known = teacher.digest()
    teacher._digest = known  # as settle() does
    assert on_gpu(teacher, monkeypatch).digest() == known
    teacher.load_weights({k: 2 * v for k, v in teacher.model.state_dict().items()})
    assert teacher.digest() != known


def test_outputs_are_constants_in_float32_and_the_usual_format():
    maps = torch.randn(2, 3, 4, 5, requires_grad=True).bfloat16()
    found = constant(maps.to(memory_format=torch.channels_last))
    assert found.dtype == torch.float32 and found.is_contiguous() and not found.requires_grad
    torch.testing.assert_close(found, maps.detach().float())


@pytest.mark.slow
@pytest.mark.parametrize('half', HALVES, ids=str)
@pytest.mark.parametrize(
    ('kind', 'largest', 'mean', 'pixels'),
    [('heatmap', 0.05, 0.002, 0.5), ('bins', 0.5, 0.02, 0.5), ('coordinates', 0.01, 0.004, 0.4)],
)
def test_a_trained_teacher_says_the_same_in_half_precision(kind, largest, mean, pixels, half):
    """Of heatmaps with a peak of 1, logits of up to 20, and coordinates as shares of a picture.

    Pixels are those of the input, 32 x 64.
    """
    torch.manual_seed(0)
    model, x = build(stock(kind)), images()
    batch = samples() if kind == 'heatmap' else batch_of(codec_of(_name(kind)))
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(150):
        optimiser.zero_grad()
        total(model.loss(x, batch)).backward()
        optimiser.step()
    full, low = (Teacher(stock(kind), None, dtype=d) for d in ('float32', _text(half)))
    for teacher in (full, low):
        teacher.load_weights(model.state_dict())
    expected, found = (
        [constant(y) for y in read_output(kind, teacher.forward_head(x))]
        for teacher in (full, low)
    )
    differences = torch.cat([(a - b).abs().flatten() for a, b in zip(expected, found)])
    assert 0 < differences.max() < largest
    assert differences.mean() < mean
    size = torch.tensor([32, 64])
    moved = ((positions(kind, expected) - positions(kind, found)) * size).abs()
    assert moved.max() <= pixels


def _name(kind):
    return {'bins': 'simcc', 'coordinates': 'regression'}[kind]


def _text(dtype):
    return str(dtype).partition('.')[2]


def test_half_precision_reaches_the_loss_of_a_distiller():
    """The distillation loss of a teacher with a half backbone is close to the full one's."""
    full = distiller()
    half = distiller()
    half.teachers[0].precision.dtype = torch.bfloat16
    half.teachers[0].precision.cast(half.teachers[0].model)
    expected = full.loss(images(), samples())['loss_distill0']
    found = half.loss(images(), samples())['loss_distill0']
    assert found != expected
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)
    assert half.teachers[0].num_keypoints == K
