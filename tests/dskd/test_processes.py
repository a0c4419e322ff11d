"""DSKDHook in two processes."""

import os
import subprocess
import sys

import pytest
import torch

from ..helpers import ROOT
from ..helpers.dskd_runs import with_17
from ..helpers.models import build, randomize

pytestmark = pytest.mark.reliability

DDP = """
import os, sys
from pathlib import Path
import torch
sys.path.insert(0, {root!r})
from tests.helpers.dskd_runs import dskd_config, hook_of, make_runner
from tests.helpers.layout import leave_layout_out
from tests.helpers.models import build, randomize
from tests.helpers.processes import forked
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

leave_layout_out()
seen = dict(gradients=[], kept=[])


class Look(Hook):
    priority = 'VERY_LOW'

    def before_train_epoch(self, runner):
        runner.model.train = lambda mode=True: runner.model  # norm layers stay in evaluation mode

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        hook = hook_of(runner)
        plain = type(hook)._kept_guides
        def keep():
            guides = plain(hook)
            seen['kept'].append([guide.name for guide in guides])
            return guides
        hook._kept_guides = keep


def work():
    rank, world = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    cfg = dskd_config(Path({data!r}), {work!r} + str(world), epochs=4, keep_prob=0.5,
                      guides={guides!r}, log_interval=1)
    cfg['custom_hooks'] = cfg['custom_hooks'][-1:]
    cfg['train_dataloader']['batch_size'] = 8 // world
    cfg['train_dataloader']['sampler']['shuffle'] = False
    cfg['train_dataloader']['dataset']['indices'] = 8  # one step an epoch, no sample twice
    # without random pictures: the same ones in one process and in two
    cfg['train_dataloader']['dataset']['pipeline'][2:4] = []
    cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.0)
    if world > 1:
        torch.distributed.init_process_group('gloo')
        cfg['launcher'] = 'pytorch'
        cfg['model_wrapper_cfg'] = dict(
            type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
    runner = make_runner(cfg, Look())
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    model.load_state_dict(torch.load({guides!r}[0])['state_dict'])
    model._is_init = True
    model.init_weights = lambda: None
    model.eval()
    step = runner.model.train_step
    def train_step(data, optim_wrapper):
        with optim_wrapper.optim_context(runner.model):
            data = model.data_preprocessor(data, True)
            loss, _ = model.parse_losses(runner.model._run_forward(data, mode='loss'))
        model.zero_grad()
        loss.backward()
        seen['gradients'].append({{n: p.grad.clone() for n, p in model.named_parameters()}})
        return dict(loss=loss)
    runner.model.train_step = train_step
    runner.train()
    if rank == 0:
        torch.save(seen, {work!r} + str(world) + '.pth')
    everyone = [None] * world
    if world > 1:
        torch.distributed.all_gather_object(everyone, seen['kept'])
        assert everyone[0] == everyone[1]
    sys.stdout.write(f'SAME {{rank}}\\n')


for world in (1, 2):
    forked(work, world)
"""


@pytest.mark.slow
def test_two_processes_draw_the_same_guides_and_get_the_gradients_of_one(data, tmp_path):
    guides = []
    for seed in range(3):
        guides.append(str(tmp_path / f'{seed}.pth'))
        model = randomize(build(with_17()), seed)
        torch.save({'state_dict': model.state_dict()}, guides[-1])
    code = DDP.format(root=str(ROOT), data=str(data), work=str(tmp_path / 'work'), guides=guides)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('SAME 0') == 2 and 'SAME 1' in done.stdout
    one, two = (torch.load(tmp_path / f'work{world}.pth') for world in (1, 2))
    assert one['kept'] == two['kept'] and len({tuple(kept) for kept in one['kept']}) > 1
    assert len(one['gradients']) == len(two['gradients']) >= 4
    for a, b in zip(one['gradients'], two['gradients']):
        for name in a:
            assert (b[name] - a[name]).abs().max() <= 1e-5 * a[name].abs().max(), name
