"""Short real runs with DSKDHook, for the tests of it."""

from __future__ import annotations

import copy
import os
import uuid

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpose_kd.core.checkpoints import read_checkpoint

from .models import RESNET, plain_config
from .runs import run_config

# untrained students have low peaks: all of them are to teach here
HOOK = dict(type='DSKDHook', guides='generations', floor=1e-6, alpha=10.0, log_interval=1)


def with_17(backbone=RESNET):
    config = plain_config(backbone)
    config['head']['out_channels'] = 17
    return config


def dskd_config(data, work_dir, model=None, hooks=(), epochs=6, **settings):
    """A run with random augmentation that is exact; ``settings`` are the hook's."""
    cfg = run_config(data, work_dir, copy.deepcopy(model) if model else with_17())
    hook = [{**HOOK, **settings}] if settings is not None else []
    cfg['custom_hooks'] = [
        dict(type='SyncBuffersHook'),
        dict(type='ExactResumeHook'),
        *hook,
        *hooks,
    ]
    cfg['train_dataloader']['dataset']['pipeline'][2:2] = [
        dict(type='RandomFlip'),
        dict(type='RandomBBoxTransform'),
    ]
    # nothing is measured: validation would only take time
    for key in [k for k in cfg if k.startswith(('val_', 'test_'))]:
        del cfg[key]
    cfg['optim_wrapper']['optimizer'] = dict(type='Adam', lr=1e-2)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=epochs)
    return cfg


def without_dskd(cfg):
    hooks = [hook for hook in cfg['custom_hooks'] if hook['type'] != 'DSKDHook']
    return {**cfg, 'custom_hooks': hooks}


class Record(Hook):
    """Keeps every step's losses, to the last bit; ``end`` is called before the given step."""

    priority = 'VERY_LOW'

    def __init__(self, end_at=None, end=None):
        self.losses = {}
        self.end_at, self.end = end_at, end

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.end_at:
            self.end()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses[runner.iter] = {k: float(v).hex() for k, v in outputs.items() if 'loss' in k}


class Watch(Hook):
    """Looks at the guides while they teach."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.before, self.modes, self.trained = {}, [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for guide in hook_of(runner).bank.guides:
            model = guide.teacher.model
            state = {k: v.clone() for k, v in model.state_dict().items()}
            known = self.before.setdefault(guide.name, state)
            self.modes += [m.training for m in model.modules()]
            self.trained += [k for k in known if not torch.equal(known[k], state[k])]
            self.trained += [
                p for p in model.parameters() if p.requires_grad or p.grad is not None
            ]


def make_runner(cfg, *hooks, **changes):
    cfg = Config(copy.deepcopy(cfg))
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def train(cfg, **changes):
    """The finished runner and its losses by step."""
    record = Record()
    runner = make_runner(cfg, record, **changes)
    runner.train()
    return runner, record.losses


def hook_of(runner):
    return next(hook for hook in runner.hooks if type(hook).__name__ == 'DSKDHook')


def saved(path):
    return read_checkpoint(path)


def value(text):
    return float.fromhex(text)


def traces(model):
    """What hangs on a model beside its weights."""
    return {
        name: (sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in model.named_modules()
    }


def losses_of(runner):
    return next(hook for hook in runner.hooks if type(hook) is Record).losses


def killed_by(number, cfg, step):
    """How a process ended that kills itself before a step of the run."""
    child = os.fork()
    if child == 0:
        try:
            record = Record(step, lambda: os.kill(os.getpid(), number))
            make_runner(cfg, record).train()
        finally:
            os._exit(1)  # after SIGINT, which is an exception
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
