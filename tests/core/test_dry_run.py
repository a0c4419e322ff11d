"""A run that is tried: what is taken out of its config, what it leaves."""

import os

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope

from mmpose_kd.core.dry_run import apart, copied, leave_nothing, told


def config():
    return Config(
        dict(
            val_dataloader=dict(batch_size=1),
            test_dataloader=dict(batch_size=1),
            optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', optimizer=dict(lr=1.0)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook'), timer=dict(type='A')),
            custom_hooks=[
                dict(type='TeacherCacheHook', path='cache'),
                dict(type='TeacherMetricsHook'),
                dict(type='SyncBuffersHook'),
            ],
            work_dir='work_dirs/mine',
            resume=True,
        )
    )


def test_what_writes_is_taken_out_and_what_validates_where_nothing_is_validated():
    for validates, kept in (
        (True, ['TeacherMetricsHook', 'SyncBuffersHook']),
        (False, ['SyncBuffersHook']),
    ):
        given = config()
        cfg = copied(given)
        left_out = leave_nothing(cfg, 'folder', validates, device='cpu')
        assert [hook.type for hook in cfg.custom_hooks] == kept
        assert (cfg.val_dataloader is not None) == validates and cfg.test_dataloader is None
        assert set(cfg.default_hooks.values()) == {None}
        assert (cfg.work_dir, cfg.resume) == ('folder', False)
        assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(lr=1.0))
        assert left_out == ['in full precision', 'without TeacherCacheHook']
        assert given.to_dict() == config().to_dict()


def test_the_process_is_as_before_and_the_folder_is_gone_also_after_an_interruption():
    hubs, scopes = (dict(m._instance_dict) for m in (MessageHub, DefaultScope))
    state = torch.get_rng_state()
    try:
        with apart() as folder:
            MessageHub.get_instance('of the run')
            torch.rand(3)
            assert os.path.isdir(folder)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not os.path.exists(folder)
    assert MessageHub._instance_dict == hubs and DefaultScope._instance_dict == scopes
    assert torch.equal(torch.get_rng_state(), state)


def test_an_error_is_told_in_one_line():
    assert told(ValueError('model.head: give\n one')) == 'model.head: give one'
    assert told(KeyError('head')) == "KeyError: 'head'"
