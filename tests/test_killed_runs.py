"""Runs of every method that are killed at any step, however, go on as they would have.

Slow: 36 runs. Beside each method stands a quicker test of a run that is stopped between epochs.
"""

import copy
import random
import signal

import pytest
import torch

from .helpers.distillers import saved_teacher
from .helpers.dskd_runs import dskd_config, killed_by, train, with_17, without_dskd
from .helpers.models import RESNET, okdhp_config
from .helpers.ocd import HEADS, codec_of, ocd_of, plain_of
from .helpers.runs import draw
from .helpers.tcd import CROSS, TASK, tcd_of

pytestmark = [pytest.mark.slow, pytest.mark.reliability]

EPOCHS, STEPS = 3, 4  # of a run, of an epoch

EMA = dict(type='EMAHook', ema_type='ExponentialMovingAverage')
CACHE = dict(type='TeacherCacheHook')
MSE = dict(type='KeypointMSELoss', use_target_weight=True)


def okdhp(**head):
    model = okdhp_config(RESNET, 'stage2', **head)
    model['head']['head']['out_channels'] = 17
    return model


def ocd(kind, **settings):
    model = ocd_of(kind, **settings)
    key = 'num_joints' if 'num_joints' in HEADS[kind]['head'] else 'out_channels'
    model['head']['deploy']['head'][key] = 17
    model['head']['heatmap']['out_channels'] = 17
    return model


def distiller(teacher, *entries, student=None):
    return dict(
        type='PoseDistiller', student=student or with_17(), teachers=[teacher], distill=entries
    )


def coordinates(kind):
    """A plain student of coordinates."""
    student = plain_of(kind)
    student['head']['num_joints'] = 17
    return student


def hhd(teacher):
    maps = 'head.simplebaseline_head.final_layer'
    entry = {**HEATMAPS, 'loss': dict(type='HHDLoss'), 'student': maps}
    return distiller(teacher, entry, student=coordinates('integral'))


def tcd(teacher):
    entries = {**TASK, 'balance': dict(interval=2)}, CROSS
    return tcd_of(*entries, teachers=[teacher], student=coordinates('regression'))


HEATMAPS = dict(loss=MSE, student='head.final_layer', teacher='head.final_layer')
PKD = dict(
    loss=dict(type='PearsonFeatureLoss'),
    student='backbone',
    teacher='backbone',
    adapter=dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1),
    resize='areas',
    schedule=dict(type='linear_decay'),
)

# from a teacher to a model, hooks, the codec's kind if it is not the heatmaps', DSKD's settings
SETUPS = {
    'OKDHP': lambda t: (okdhp(), [], None, None),
    'OKDHP with EMA': lambda t: (okdhp(), [EMA], None, None),
    'OCD': lambda t: (ocd('regression', balance=dict(interval=3)), [], 'regression', None),
    'OCD on SimCC': lambda t: (ocd('simcc'), [], 'simcc', None),
    'HHD': lambda t: (hhd(t), [], 'integral', None),
    'heatmaps, teacher cached': lambda t: (distiller(t, HEATMAPS), [CACHE], None, None),
    'PKD with EMA': lambda t: (distiller(t, PKD), [EMA], None, None),
    'TCD': lambda t: (tcd(t), [], 'regression', None),
    'DSKD': lambda t: (with_17(), [], None, dict(num_guides=2)),
    'DSKD redrawn': lambda t: (with_17(), [], None, dict(num_guides=2, redraw=True)),
    'DSKD snapshots': lambda t: (
        with_17(),
        [],
        None,
        dict(guides='snapshots', interval=1, keep_prob=0.5),
    ),
    'DSKD on OKDHP': lambda t: (okdhp(), [], None, dict(num_guides=2)),
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    return saved_teacher(tmp_path_factory.mktemp('teacher'))


def config(setup, data, folder, teacher):
    model, hooks, kind, dskd = SETUPS[setup](teacher)
    hooks = copy.deepcopy(hooks)
    cfg = dskd_config(data, folder / 'work', model, hooks, epochs=EPOCHS, **(dskd or {}))
    if dskd is None:
        cfg = without_dskd(cfg)
    pipeline = cfg['train_dataloader']['dataset']['pipeline']
    if kind is not None:
        pipeline[-2]['encoder'] = codec_of(kind)
    if CACHE in hooks:
        cfg['custom_hooks'][-1]['path'] = str(folder / 'cache')
        fixed = pipeline[2:-2]  # from the first random step to the picture's cut
        pipeline[2:-2] = [dict(type='FixedAugmentations', transforms=fixed, variants=2)]
        pipeline[-1] = dict(type='PackPoseViews')
    return cfg


@pytest.mark.parametrize('setup', SETUPS)
def test_a_killed_run_goes_on_as_it_would_have(setup, data, tmp_path, teacher):
    whole, final = train_whole(config(setup, data, tmp_path / 'whole', teacher))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        cfg = config(setup, data, tmp_path / number.name, teacher)
        step = random.SystemRandom().randrange(STEPS, EPOCHS * STEPS)
        said = f'{number.name} at step {step}'
        assert killed_by(number, cfg, step) == (1 if number == signal.SIGINT else -number), said
        resumed, again = train_whole(cfg, resume=True)
        assert min(resumed) == step // STEPS * STEPS, said
        assert resumed == {i: whole[i] for i in resumed}, said
        assert all(torch.equal(final[name], again[name]) for name in final), said


def train_whole(cfg, **changes):
    runner, losses = train(cfg, **changes)
    return losses, runner.model.state_dict()
