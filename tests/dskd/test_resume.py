"""DSKDHook: a run that was killed goes on exactly as it would have gone on."""

import random
import signal

import pytest
import torch

from ..helpers.dskd_runs import dskd_config, killed_by, saved, train, value, with_17
from ..helpers.models import build, randomize

pytestmark = pytest.mark.reliability

EPOCHS, STEPS = 4, 4  # of a run, of an epoch

MODES = {
    'generations': dict(guides='generations', num_guides=2),
    'redrawn': dict(guides='generations', num_guides=2, redraw=True),
    'snapshots': dict(guides='snapshots', num_guides=2, interval=1, keep_prob=0.5),
    'checkpoints': dict(guides=['one.pth', 'two.pth'], keep_prob=0.5, cls_target='guides'),
}

SLOW = [pytest.mark.slow]  # the test of killed runs has these modes too


@pytest.fixture
def killed(mode, data, tmp_path):
    """The config of a run that killed itself as no handler could notice, and at which step."""
    settings = dict(MODES[mode])
    if mode == 'checkpoints':
        for seed, name in enumerate(settings['guides']):
            state = randomize(build(with_17()), seed).state_dict()
            torch.save({'state_dict': state}, tmp_path / name)
        settings['guides'] = [str(tmp_path / name) for name in settings['guides']]
    cfg = dskd_config(data, tmp_path / mode, epochs=EPOCHS, **settings)
    # any step but those of the first epoch, after which there is nothing to resume from
    step = random.SystemRandom().randrange(STEPS, EPOCHS * STEPS)
    assert killed_by(signal.SIGKILL, cfg, step) == -signal.SIGKILL
    return cfg, step


@pytest.mark.parametrize(
    'mode',
    [
        'checkpoints',
        *(pytest.param(m, marks=SLOW) for m in ('generations', 'redrawn', 'snapshots')),
    ],
)
def test_after_sigkill_the_following_losses_are_those_of_an_uninterrupted_run(mode, killed):
    cfg, step = killed
    _, whole = train({**cfg, 'work_dir': f'{cfg["work_dir"]}_whole'})
    _, resumed = train(cfg, resume=True)
    assert min(resumed) == step // STEPS * STEPS, f'killed at step {step}'
    assert resumed == {i: whole[i] for i in resumed}, f'killed at step {step}'
    guided = [value(losses['loss_dskd_kd']) for losses in whole.values()]
    assert guided[-1] > 0 and (guided[0] > 0) == (mode == 'checkpoints')
    one, two = (saved(f'{cfg["work_dir"]}{e}/epoch_{EPOCHS}.pth') for e in ('', '_whole'))
    states = one['state_dict'], two['state_dict']
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert one['dskd']['guides'] == two['dskd']['guides']
    assert torch.equal(one['dskd']['draws'], two['dskd']['draws'])
