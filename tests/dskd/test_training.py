"""DSKDHook: guided by its own earlier selves, and no trace of it afterwards."""

import contextlib
import copy
import gc
import math
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmpose_kd import DSKDHook
from mmpose_kd.dskd.guidance import denoise
from mmpose_kd.dskd.losses import weighted_mse

from ..helpers.dskd_runs import (
    HOOK,
    Record,
    dskd_config,
    hook_of,
    losses_of,
    make_runner,
    saved,
    traces,
    train,
    value,
    with_17,
    without_dskd,
)
from ..helpers.models import build


def test_guides_teach_from_the_second_generation_on_and_never_change(finished):
    _, runner, watch, _ = finished
    kd = [value(step['loss_dskd_kd']) for step in losses_of(runner).values()]
    per_epoch = len(kd) // 3
    assert kd[:per_epoch] == [0.0] * per_epoch and min(kd[per_epoch:]) > 0
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_1', 'epoch_2']
    assert watch.before.keys() == {'epoch_1', 'epoch_2'}
    assert not any(watch.modes) and watch.trained == []


def test_nothing_of_it_stays_on_the_model(finished):
    _, runner, _, clean = finished
    assert traces(runner.model) == clean
    assert 'run' not in vars(runner.train_loop)


@pytest.mark.parametrize('error', [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_of_it_stays_after_an_exception(data, tmp_path, error):
    class Fail(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 1:
                assert 'loss' in vars(runner.model)  # it is at work
                raise error

    runner = make_runner(dskd_config(data, tmp_path))
    runner.register_hook(Fail(), priority='LOWEST')
    clean = traces(runner.model)
    with pytest.raises(error):
        runner.train()
    assert traces(runner.model) == clean and 'run' not in vars(runner.train_loop)


def test_agreement_kept_pixels_and_guidance_are_logged_without_joining_the_sum(finished):
    folder, _, _, _ = finished
    log = next((folder / 'work').glob('*/vis_data/scalars.json')).read_text()
    last = eval(log.splitlines()[-1])
    ours = {key for key in last if key.startswith('dskd/')}
    assert ours == {f'dskd/{n}_guide{i}' for n in ('agreement', 'kept', 'kd') for i in (0, 1)}
    assert all(0 <= last[f'dskd/kept_guide{i}'] <= 1 for i in (0, 1))
    assert {key for key in last if 'loss' in key} == {
        'loss', 'loss_kpt', 'loss_dskd_kd', 'loss_dskd_cls',
    }  # fmt: skip


def test_the_losses_are_those_of_the_formula(data, tmp_path):
    """With the run's own pictures, guides and weights, computed again by hand."""
    found = {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.epoch == 2 and batch_idx == 0:
                model = copy.deepcopy(runner.model)
                data = model.data_preprocessor(copy.deepcopy(data_batch), True)
                weight = torch.cat(
                    [s.gt_instance_labels.keypoint_weights for s in data['data_samples']]
                )
                said = model(data['inputs'], None, mode='tensor')
                losses = []
                for guide in hook_of(runner).bank.guides:
                    maps = guide.teacher.model(data['inputs'], None, mode='tensor')
                    losses.append(weighted_mse(said, denoise(maps, 0.5, 1e-6), weight))
                found['expected'] = 10 * sum(losses) / len(losses)
                found['model'] = (model(**data, mode='loss'), runner.iter)

    record = Record()
    runner = make_runner(dskd_config(data, tmp_path, epochs=3, keep_prob=1.0), record)
    runner.register_hook(Look(), priority='HIGHEST')
    runner.train()
    plain, step = found['model']
    assert value(record.losses[step]['loss_kpt']) == plain['loss_kpt'].item()
    torch.testing.assert_close(
        torch.tensor(value(record.losses[step]['loss_dskd_kd'])), found['expected'].detach()
    )


@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        pytest.param(dict(redraw=True), marks=pytest.mark.slow),
        dict(guides='snapshots', interval=1),
    ],
    ids=['generations', 'redrawn', 'snapshots'],
)
def test_with_weights_of_0_training_is_plain_to_the_last_bit(data, tmp_path, settings):
    cfg = dskd_config(data, tmp_path / 'off', epochs=3, **{**settings, 'alpha': 0, 'gamma': 0.0})
    runner, off = train(cfg)
    states = torch.get_rng_state()
    _, plain = train(without_dskd({**cfg, 'work_dir': str(tmp_path / 'plain')}))
    assert torch.equal(states, torch.get_rng_state())
    assert len(hook_of(runner).bank) == 0
    zero = {'loss_dskd_kd': (0.0).hex(), 'loss_dskd_cls': (0.0).hex()}
    assert off == {step: {**losses, **zero} for step, losses in plain.items()}
    one, two = (saved(tmp_path / n / 'epoch_3.pth')['state_dict'] for n in ('off', 'plain'))
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_guides_draw_no_random_numbers_of_the_run(data, tmp_path):
    """A weight that is 0 by its schedule until the end: guides are frozen all the same."""
    late = dict(alpha_schedule=dict(start=2), gamma=0.0)
    cfg = dskd_config(data, tmp_path / 'late', epochs=3, **late)
    runner, late = train(cfg)
    _, plain = train(without_dskd({**cfg, 'work_dir': str(tmp_path / 'plain')}))
    assert len(hook_of(runner).bank) == 2
    steps = [step for step in plain if value(late[step]['loss_dskd_kd']) == 0]
    assert len(steps) == len(plain) * 2 // 3
    assert all(late[step]['loss_kpt'] == plain[step]['loss_kpt'] for step in steps)
    # at the first guided step the pictures are still those of the plain run
    assert late[len(steps)]['loss_kpt'] == plain[len(steps)]['loss_kpt']


class HalfOnCPU(OptimWrapper):
    """Mixed precision as of AmpOptimWrapper, which asks for a GPU."""

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.float16):
            yield


def test_mixed_precision_trains(data, tmp_path, monkeypatch):
    monkeypatch.setitem(OPTIM_WRAPPERS.module_dict, 'HalfOnCPU', HalfOnCPU)
    cfg = dskd_config(data, tmp_path, epochs=3)
    cfg['optim_wrapper'].update(type='HalfOnCPU')
    _, losses = train(cfg)
    assert all(math.isfinite(value(v)) for step in losses.values() for v in step.values())
    assert value(losses[len(losses) - 1]['loss_dskd_kd']) > 0


def test_a_run_of_iterations_freezes_by_iterations(data, tmp_path):
    cfg = dskd_config(data, tmp_path)
    cfg['custom_hooks'] = [{**HOOK, 'keep_prob': 1.0}]
    cfg['train_cfg'] = dict(by_epoch=False, max_iters=4)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=2, by_epoch=False)
    cfg['train_dataloader']['sampler'] = dict(type='InfiniteSampler')
    _, losses = train(cfg)
    assert [value(step['loss_dskd_kd']) > 0 for step in losses.values()] == [0, 1, 1, 1]
    assert [g['name'] for g in saved(tmp_path / 'iter_2.pth')['dskd']['guides']] == ['iter_1']
    assert [g['name'] for g in saved(tmp_path / 'iter_4.pth')['dskd']['guides']] == [
        'iter_1', 'iter_3',
    ]  # fmt: skip
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    runner, resumed = train(cfg, resume=True)
    assert list(resumed) == [2, 3]
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['iter_1', 'iter_3']


def test_a_redrawn_generation_starts_anew(data, tmp_path):
    first = {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 0:
                weight = runner.model.backbone.conv1.weight.detach().clone()
                first[runner.epoch] = weight, len(runner.optim_wrapper.optimizer.state)

    runner = make_runner(dskd_config(data, tmp_path, epochs=3, redraw=True), Look())
    runner.train()
    frozen = hook_of(runner).bank.guides[0].teacher.model.backbone.conv1.weight
    assert not torch.equal(first[1][0], frozen) and not torch.equal(first[1][0], first[0][0])
    assert not torch.equal(first[1][0], first[2][0])
    assert [count for _, count in first.values()] == [0, 0, 0]


def test_the_guides_do_not_outlive_the_run(data, tmp_path):
    runner, _ = train(dskd_config(data, tmp_path, epochs=2, num_guides=1))
    model = runner.model
    del runner
    gc.collect()
    reached = [m for m in model.modules() if isinstance(m, nn.Module)]
    assert len(reached) == len(list(build(with_17()).modules()))


def random_numbers():
    """What the next random numbers of this process are made from."""
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()))


def test_making_guides_leaves_the_random_numbers_as_they_were(data, tmp_path, monkeypatch):
    """At the start, at a freeze, and where a resumed run takes its guides back."""
    kept = []

    def watch(name):
        method = getattr(DSKDHook, name)

        def watched(*args):
            before = random_numbers()
            method(*args)
            kept.append((name, random_numbers() == before))

        monkeypatch.setattr(DSKDHook, name, watched)

    for name in ('start', 'freeze', '_resume'):
        watch(name)
    train(dskd_config(data, tmp_path, epochs=3))
    cfg = dskd_config(data, tmp_path, epochs=3)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    train(cfg, resume=True)
    assert {name for name, _ in kept} == {'start', 'freeze', '_resume'}
    assert all(same for _, same in kept), kept
