"""Real training: MMPose's runner, resumed runs, several processes, the command line."""

import json
import os
import subprocess
import sys
import uuid

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.export import export_student

from .helpers import ROOT
from .helpers.models import HRNET, RESNET, okdhp_config, plain_config
from .helpers.runs import draw, run_config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


class Stop(Hook):
    """Ends a run as a crash would, at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def train(cfg: dict, stop_at=None, **changes):
    cfg = Config(cfg)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    if stop_at is not None:
        runner.register_hook(Stop(stop_at))
    runner.train()
    return runner


def weights(path):
    return read_checkpoint(path)['state_dict']


def test_a_resumed_run_ends_with_the_same_weights_to_the_last_bit(data, tmp_path):
    model = okdhp_config(HRNET, 'stage3', kd_schedule=dict(type='ramp_up', epochs=2))
    model['head']['head']['out_channels'] = 17
    whole, parts = (run_config(data, tmp_path / name, model) for name in ('whole', 'parts'))
    train(whole, train_cfg__max_epochs=3)
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop_at=1, train_cfg__max_epochs=3)
    assert not (tmp_path / 'parts/epoch_2.pth').exists()
    runner = train(parts, train_cfg__max_epochs=3, resume=True)
    assert runner.epoch == 3
    one, two = (weights(tmp_path / name / 'epoch_3.pth') for name in ('whole', 'parts'))
    assert one.keys() == two.keys()
    different = [key for key in one if not torch.equal(one[key], two[key])]
    assert different == []


def test_ema_trains_and_resumes(data, tmp_path):
    cfg = run_config(data, tmp_path)
    cfg['custom_hooks'].append(dict(type='EMAHook'))
    train(cfg, train_cfg__max_epochs=1)
    runner = train(cfg, train_cfg__max_epochs=2, resume=True)
    assert runner.epoch == 2
    saved = read_checkpoint(tmp_path / 'epoch_2.pth')
    assert 'ema_state_dict' in saved
    assert all(torch.isfinite(v).all() for v in saved['state_dict'].values())


DDP_STEP = """
import os, sys
import torch, torch.distributed as dist
sys.path.insert(0, {root!r})
from tests.helpers.models import build, images, randomize, samples, total
from tests.helpers.processes import forked
from mmengine.model import MMDistributedDataParallel
from torch import nn


def step(name, config, rank):
    model = randomize(build(config))
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.eval()
    x, batch = images(4), samples(4)
    alone = dict(total=total(model.loss(x, batch)))
    alone['total'].backward()
    expected = {{n: p.grad.clone() for n, p in model.named_parameters()}}
    model.zero_grad()
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False)  # no find_unused_parameters
    for step in range(2):  # a parameter left out of the first step fails in the second
        ddp.zero_grad()
        half = slice(2 * rank, 2 * rank + 2)
        total(ddp(x[half], batch[half], mode='loss')).backward()
    for n, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[n], rtol=1e-4, atol=1e-7, msg=n)
    sys.stdout.write(f'SAME {{name}} {{rank}}\\n')  # at once: two processes write here
    sys.stdout.flush()


def work():
    from tests.test_training import IN_TWO_PROCESSES

    dist.init_process_group('gloo')
    for name, config in IN_TWO_PROCESSES.items():
        step(name, config, int(os.environ['RANK']))


forked(work)
"""


IN_TWO_PROCESSES = {
    'OKDHP': okdhp_config(HRNET, 'stage3'),
    # With an entry that rests: its adapter must take part all the same.
    'PoseDistiller': dict(
        type='PoseDistiller',
        student=plain_config(RESNET),
        teachers=[dict(config=plain_config(HRNET), checkpoint=None)],
        distill=[
            dict(
                loss=dict(type='HeatmapKLLoss'),
                weight=weight,
                student='head.final_layer',
                teacher='head.final_layer',
                adapter=dict(type='Conv2d', in_channels=5, out_channels=5, kernel_size=1),
            )
            for weight in (1.0, 0.0)
        ],
    ),
}


def test_two_processes_get_the_gradients_of_one_with_the_joined_batch():
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', DDP_STEP.format(root=str(ROOT))],
        capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(
        f'SAME {name} {rank}' in done.stdout for name in IN_TWO_PROCESSES for rank in (0, 1)
    )


def call(folder, *command, **env):
    """Run a module's command in a folder."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', *command],
        capture_output=True, text=True, cwd=folder, env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def config_in(folder, data):
    config = Config(run_config(data, folder / 'work'))
    config.log_level = 'INFO'
    config.dump(folder / 'okdhp.py')


def metrics_without_mmpose_kd(folder):
    """The metrics of student/student.pth, where a package that fails shadows the real one."""
    (folder / 'shadow').mkdir()
    (folder / 'shadow/mmpose_kd.py').write_text('raise ImportError("not here")')
    call(
        folder, 'mim', 'test', 'mmpose', 'student/student.py', '--checkpoint',
        'student/student.pth', '--work-dir', 'student_tested',
        PYTHONPATH=str(folder / 'shadow'),
    )  # fmt: skip
    return metrics(folder / 'student_tested')


def metrics(work_dir):
    return json.loads(max(work_dir.glob('*/*.json')).read_text())


def logged(work_dir):
    """What the logger wrote, a dict a line."""
    files = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_mim_trains_and_tests_the_student_where_there_is_no_mmpose_kd(data, tmp_path):
    """Two of the README's commands, from another folder; the slow test has them all."""
    config_in(tmp_path, data)
    call(tmp_path, 'mim', 'train', 'mmpose', 'okdhp.py', '--cfg-options', 'train_cfg.max_epochs=1')
    export_student(tmp_path / 'okdhp.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'student')
    student = metrics_without_mmpose_kd(tmp_path)
    *_, trained = (line for line in logged(tmp_path / 'work') if 'EPE' in line)
    assert student['EPE'] == trained['EPE'] == trained['branch0/EPE']
    assert student['coco/AP'] == trained['coco/AP']


@pytest.mark.slow
def test_mim_trains_tests_and_resumes_and_the_student_needs_no_mmpose_kd(data, tmp_path):
    """The commands of the README, from another folder."""
    config_in(tmp_path, data)
    train = ['mim', 'train', 'mmpose', 'okdhp.py']
    call(tmp_path, *train, '--cfg-options', 'train_cfg.max_epochs=1')
    call(tmp_path, *train, '--resume')
    last = 'work/epoch_2.pth'
    call(
        tmp_path, 'mim', 'test', 'mmpose', 'okdhp.py', '--checkpoint', last,
        '--work-dir', 'tested',
    )  # fmt: skip
    call(tmp_path, 'mmpose_kd.cli', 'export', 'okdhp.py', last, 'student', '--branch', '0')
    trained, student = metrics(tmp_path / 'tested'), metrics_without_mmpose_kd(tmp_path)
    assert student['EPE'] == trained['EPE'] == trained['branch0/EPE']
    assert student['coco/AP'] == trained['coco/AP']


def test_training_lowers_the_loss_of_every_output(data, tmp_path):
    cfg = run_config(data, tmp_path)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=12)
    train(cfg, train_cfg__max_epochs=12, train_cfg__val_interval=12)
    steps = [line for line in logged(tmp_path) if 'loss' in line]
    for key in ('loss_kpt', 'loss_kpt_branch1', 'loss_kpt_branch2', 'loss_ensemble'):
        assert steps[-1][key] < 0.9 * steps[0][key], key
