"""Trainings in several processes on CPUs, which a test starts as a user does, by torchrun:

    torchrun --nproc_per_node 2 -m tests.helpers.several_processes NAME DATA FOLDER

What each process found is written to ``FOLDER/NAME_<rank>.pth``.
"""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmpose_kd.core.runner import unwrapped

from .distillers import ENTRY
from .dskd_runs import dskd_config, hook_of, make_runner
from .every_method import BALANCED, METHODS, batch_for
from .models import HRNET, RESNET, build, images, plain_config, randomize, total
from .runs import run_config

#: for a runner of processes without GPUs; with them MMEngine's own defaults do
ON_CPUS = dict(
    launcher='pytorch',
    model_wrapper_cfg=dict(
        type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None
    ),
)


def methods(data: Path, folder: Path) -> dict:
    """Gradients of two steps of every method, and those that one process would have."""
    return {name: gradients(name, config) for name, config in METHODS.items()}


def gradients(name: str, config: dict) -> dict:
    """A parameter that is left out of the first step would fail in the second."""
    rank, world = dist.get_rank(), dist.get_world_size()
    model = randomize(build(config))
    for one in getattr(model, 'teachers', ()):
        randomize(one.model)
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.eval()
    x, batch = images(2, seed=rank), batch_for(name, 2, seed=rank)
    alone = None
    if name not in BALANCED:
        total(model(x, batch, mode='loss')).backward()
        alone = {n: p.grad.clone() / world for n, p in model.named_parameters() if p.requires_grad}
        for gradient in alone.values():
            dist.all_reduce(gradient)
        model.zero_grad()
    parallel = MMDistributedDataParallel(model, broadcast_buffers=False)
    for _ in range(2):
        parallel.zero_grad()
        losses = parallel(x, copy.deepcopy(batch), mode='loss')
        total(losses).backward()
    together = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    return dict(
        together=together,
        alone=alone,
        factors=[float(v) for k, v in losses.items() if k.endswith('factor')],
        sharded=sharded(model, x, batch),
    )


def sharded(model: nn.Module, x: list, batch: list) -> dict:
    """Gradients where each process holds a half of the parameters; the model is theirs then."""
    model.zero_grad(set_to_none=True)
    cpu = torch.device('cpu')
    parallel = FullyShardedDataParallel(model, use_orig_params=True, device_id=cpu)
    total(parallel(x, batch, mode='loss')).backward()
    with FullyShardedDataParallel.summon_full_params(parallel, with_grads=True):
        return {
            name.replace('_fsdp_wrapped_module.', ''): p.grad.clone()
            for name, p in parallel.named_parameters()
            if p.requires_grad
        }


def with_17(backbone: dict) -> dict:
    config = plain_config(backbone)
    config['head']['out_channels'] = 17
    return config


def cache(data: Path, folder: Path) -> dict:
    """A run that fills a teacher's cache and one that reads it; both processes write to it."""
    teacher = dict(config=with_17(HRNET), checkpoint=None, dtype='float32')
    model = dict(
        type='PoseDistiller', student=with_17(RESNET), teachers=[teacher], distill=[ENTRY]
    )
    cfg = run_config(data, folder / 'cached', model)
    for key in [k for k in cfg if k.startswith(('val_', 'test_'))]:
        del cfg[key]
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    steps = cfg['train_dataloader']['dataset']['pipeline']
    flips = [dict(type='RandomFlip'), steps[2]]
    steps[2:3] = [dict(type='FixedAugmentations', transforms=flips, variants=1)]
    steps[-1] = dict(type='PackPoseViews')
    hook = dict(type='TeacherCacheHook', path=str(folder / 'cache'))
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook'), hook]
    found = {}
    for turn in ('cold', 'warm'):
        runner = make_runner({**cfg, **ON_CPUS})
        counted = []
        teacher_model = unwrapped(runner).teachers[0].model
        teacher_model.backbone.register_forward_hook(
            lambda module, inputs, output, counted=counted: counted.append(len(inputs[0]))
        )
        randomize(teacher_model)  # the same in all processes and both runs
        runner.train()
        weights = {k: v.clone() for k, v in unwrapped(runner).state_dict().items()}
        found[turn] = dict(weights=weights, taught=sum(counted))
        dist.barrier()
    return found


def dskd(data: Path, folder: Path) -> dict:
    """A run that makes guides of itself, and one that goes on from its second checkpoint."""
    cfg = dskd_config(data, folder / 'dskd', epochs=3, num_guides=2)
    cfg['custom_hooks'] = [hook for hook in cfg['custom_hooks'] if 'Exact' not in hook['type']]
    found = {}
    for turn in ('whole', 'resumed'):
        runner = make_runner({**cfg, **ON_CPUS})
        if turn == 'resumed':
            runner._resume, runner._load_from = True, str(folder / 'dskd' / 'epoch_2.pth')
        runner.train()
        bank = hook_of(runner).bank
        found[turn] = dict(
            guides=[(guide.name, guide.fingerprint) for guide in bank.guides],
            weights={k: v.clone() for k, v in unwrapped(runner).state_dict().items()},
        )
        dist.barrier()
    return found


RUNS = dict(methods=methods, cache=cache, dskd=dskd)


def main() -> None:
    name, data, folder = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group('gloo')  # MMEngine's launcher would look for GPUs
    found = RUNS[name](Path(data), Path(folder))
    torch.save(found, Path(folder, f'{name}_{os.environ["RANK"]}.pth'))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
