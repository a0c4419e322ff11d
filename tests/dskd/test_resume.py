"""DSKDHook: a run that was killed goes on exactly as it would have gone on."""

import os
import random
import signal
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from ..helpers import ROOT
from ..helpers.dskd_runs import dskd_config, saved, train, value, with_17
from ..helpers.models import build, randomize

pytestmark = pytest.mark.reliability

EPOCHS, STEPS = 4, 4  # of a run, of an epoch

MODES = {
    'generations': dict(guides='generations', num_guides=2),
    'redrawn': dict(guides='generations', num_guides=2, redraw=True),
    'snapshots': dict(guides='snapshots', num_guides=2, interval=1, keep_prob=0.5),
    'checkpoints': dict(guides=['one.pth', 'two.pth'], keep_prob=0.5, cls_target='guides'),
}

# Each run in a process of its own, which kills itself as no handler could notice.
KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from tests.helpers.dskd_runs import Record, make_runner
from tests.helpers.layout import leave_layout_out
from mmengine.config import Config

leave_layout_out()
children = []
for config, step in {runs!r}:
    children.append(os.fork())
    if children[-1] == 0:
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        make_runner(Config.fromfile(config).to_dict(), Record(step, kill)).train()
        os._exit(1)  # never comes here
for child in children:
    print('\\nENDED', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope='module')
def killed(data, tmp_path_factory):
    """For each mode the config of a run that was killed, and the step at which it was."""
    folder = tmp_path_factory.mktemp('killed')
    for seed, name in enumerate(('one.pth', 'two.pth')):
        torch.save({'state_dict': randomize(build(with_17()), seed).state_dict()}, folder / name)
    found = {}
    for mode, settings in MODES.items():
        if mode == 'checkpoints':
            settings = {**settings, 'guides': [str(folder / g) for g in settings['guides']]}
        cfg = dskd_config(data, folder / mode, epochs=EPOCHS, **settings)
        Config(cfg).dump(folder / f'{mode}.py')
        # any step but those of the first epoch, after which there is nothing to resume from
        found[mode] = cfg, random.SystemRandom().randrange(STEPS, EPOCHS * STEPS)
    script = KILLED.format(
        root=str(ROOT),
        runs=[(str(folder / f'{mode}.py'), step) for mode, (_, step) in found.items()],
    )
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script],
        capture_output=True, text=True, env=env, timeout=300,
    )  # fmt: skip
    assert done.stdout.count(f'ENDED {-signal.SIGKILL}') == len(MODES), done.stderr[-3000:]
    return found


@pytest.mark.parametrize('mode', MODES)
def test_after_sigkill_the_following_losses_are_those_of_an_uninterrupted_run(mode, killed):
    cfg, step = killed[mode]
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
