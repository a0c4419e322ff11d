"""Every method in MMEngine's mixed precision: finite, with a loss scale that settles."""

import copy
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmpose_kd.dskd.hook import DSKDHook

from .helpers.dskd_runs import dskd_config
from .helpers.every_method import METHODS, AmpOnCpu, batch_for
from .helpers.models import SIZE, build
from .helpers.runs import draw

#: heads of theirs measure the training's accuracy in numpy, whatever train_cfg says
NO_BFLOAT16 = ('HHD', 'OCD, coordinates', 'OCD, RLE', 'OCD, bins', 'TCD')

RUNS = [
    pytest.param(method, dtype, marks=pytest.mark.slow)
    for method in METHODS
    for dtype in ('bfloat16', 'float16')
    if dtype == 'float16' or method not in NO_BFLOAT16
]


def batch_with_pictures(method, batch=2):
    """What a data loader gives a model."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, SIZE[1], SIZE[0])
    pictures = [
        torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for _ in range(batch)
    ]
    return dict(inputs=pictures, data_samples=batch_for(method, batch))


def without_accuracy(config):
    config = copy.deepcopy(config)
    config.get('student', config)['train_cfg'] = dict(compute_acc=False)
    return config


@pytest.mark.parametrize(('method', 'dtype'), RUNS)
def test_steps_are_finite_and_the_scale_settles(method, dtype):
    config = without_accuracy(METHODS[method])
    model = build(config).train()
    wrapper = AmpOnCpu(dtype, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3))
    before = copy.deepcopy(model.state_dict())
    scales = []
    for _ in range(20):
        losses = model.train_step(batch_with_pictures(method), wrapper)
        assert all(math.isfinite(float(x)) for x in losses.values()), losses
        scales.append(wrapper.loss_scaler.get_scale())  # halved where a gradient overflowed
    assert len(set(scales[-3:])) == 1
    assert scales[-1] >= 2**4
    after = model.state_dict()
    assert all(bool(torch.isfinite(x).all()) for x in after.values())
    assert any(not torch.equal(x, before[name]) for name, x in after.items())
    assert {x.dtype for x in model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize('method', ['OCD, coordinates', 'TCD'])
def test_the_balance_is_the_same_whatever_the_loss_scale(method):
    """It measures gradients of losses, not of scaled ones."""
    factors = []
    for scale in (2.0, 2.0**16):
        torch.manual_seed(0)
        model = build(METHODS[method]).train()
        wrapper = AmpOnCpu('float16', optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
        wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)
        losses = model.train_step(batch_with_pictures(method), wrapper)
        factors.append([float(v) for k, v in losses.items() if k.endswith('factor')])
    assert factors[0] and factors[0] == factors[1]


@pytest.mark.parametrize('method', ['OCD, coordinates', 'PKD'])
def test_bfloat16_where_numpy_is_needed_is_refused_with_the_key(method):
    model = build(METHODS[method]).train()
    wrapper = AmpOnCpu('bfloat16', optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TypeError, match=r"optim_wrapper.dtype='bfloat16'.*'float16'.*compute_acc"):
        model.train_step(batch_with_pictures(method), wrapper)


@pytest.mark.slow
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_dskd_runs_with_copies_of_itself(tmp_path, dtype):
    cfg = dskd_config(draw(tmp_path / 'data'), tmp_path / 'work', epochs=3, num_guides=1)
    cfg['model']['train_cfg'] = dict(compute_acc=False)
    cfg['optim_wrapper'].update(type='AmpOnCpu', dtype=dtype)
    runner = Runner.from_cfg(Config(cfg))
    runner.train()
    (hook,) = (h for h in runner.hooks if isinstance(h, DSKDHook))
    assert len(hook.bank) == 1
    found = runner.message_hub.log_scalars['train/loss_dskd_kd'].data[0]
    assert all(math.isfinite(x) for x in found) and found[-1] > 0
    assert all(bool(torch.isfinite(p).all()) for p in runner.model.parameters())
