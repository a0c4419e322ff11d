"""Plain and distilled models start alike: samples, order and weights."""

import copy

import numpy as np
import pytest
import torch

from mmpose_kd.gain import one_run, start
from mmpose_kd.gain.fair import seeded
from mmpose_kd.gain.plan import Run

from ..helpers.gain import folders
from ..helpers.models import RESNET, okdhp_config, plain_config


def batches(runner, epoch):
    """The first two batches of an epoch; a model with a trunk draws numbers between them."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop._epoch = epoch
    for hook in runner.hooks:
        if type(hook).__name__ in ('SeedEpoch', 'DistSamplerSeedHook'):
            hook.before_train_epoch(runner)
    found = []
    for batch in runner.train_dataloader:
        found += [*batch['inputs'], *(s.gt_fields.heatmaps for s in batch['data_samples'])]
        if type(runner.model.backbone).__name__ == 'SharedTrunk':
            np.random.rand(), torch.rand(1)
        if len(found) > 8:
            return found
    raise AssertionError('too little data')


def test_plain_and_distilled_start_alike(pair, tmp_path):
    prepared = folders(pair, tmp_path)
    runners, states = {}, {}
    for name in ('plain', 'okdhp'):
        folder = prepared.prepare(Run(name, None, 2, 3))
        runners[name] = one_run.build_runner(folder)
        states[name] = torch.load(folder / 'init.pth', weights_only=True)['state_dict']
    for epoch in (0, 1):
        one, two = (batches(runner, epoch) for runner in runners.values())
        assert all(torch.equal(a, b) for a, b in zip(one, two))
    names = start.deployed_names(prepared.configs['okdhp'].model, runners['okdhp'].model)
    assert names.keys() == states['plain'].keys()
    assert all(torch.equal(states['okdhp'][names[k]], states['plain'][k]) for k in names)
    # the other branches are not copies of it
    key = 'backbone.layer3.0.conv1.weight'
    others = [states['okdhp'][f'head.branches.{t}.{key}'] for t in (0, 1)]
    assert not torch.equal(*others)


def test_pretrained_weights_of_the_plain_model_are_shared_too(tmp_path):
    plain = plain_config()
    pretrained = start.initial_weights(plain, None, seed=9)
    torch.save({'state_dict': pretrained}, tmp_path / 'weights.pth')
    plain['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    model = okdhp_config(RESNET, 'stage2')
    state = start.initial_weights(model, plain, seed=0)
    names = start.deployed_names(model, start._initialized(model, 0))
    assert all(torch.equal(state[names[k]], pretrained[k]) for k in pretrained)


def test_weights_that_the_plain_config_loads_are_shared_too(pair, tmp_path):
    weights = start.initial_weights(plain_config(), None, seed=9)
    head = [key for key in weights if key.startswith('head.final_layer')]
    assert head  # of other joints: does not fit, starts anew
    torch.save({'state_dict': {f'module.{k}': v for k, v in weights.items()}}, tmp_path / 'w.pth')
    prepared = folders(pair, tmp_path)
    states = []
    prepared.configs['plain'].load_from = str(tmp_path / 'w.pth')
    for name in ('plain', 'okdhp'):
        folder = prepared.prepare(Run(name, None, 2, 3))
        runner = one_run.build_runner(folder)
        states.append(torch.load(folder / 'init.pth', weights_only=True)['state_dict'])
    plain, okdhp = states
    names = start.deployed_names(prepared.configs['okdhp'].model, runner.model)
    assert all(torch.equal(plain[k], weights[k]) for k in weights if k not in head)
    assert all(torch.equal(okdhp[names[k]], plain[k]) for k in names)


def test_weights_that_do_not_fit_at_all_are_an_error(tmp_path):
    torch.save({'student.conv.weight': torch.ones(3)}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'load_from: .*w\.pth has no weights of the plain'):
        start.initial_weights(plain_config(), None, seed=0, load_from=str(tmp_path / 'w.pth'))


def test_a_method_without_parts_of_its_own_starts_as_the_plain_model():
    plain = plain_config()
    one = start.initial_weights(plain, None, seed=0)
    two = start.initial_weights(copy.deepcopy(plain), plain, seed=0)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_another_student_than_the_plain_model_is_an_error():
    plain = plain_config()
    plain['head']['out_channels'] = 7
    with pytest.raises(ValueError, match=r'is not the plain model: head\.final_layer\.bias'):
        start.initial_weights(okdhp_config(RESNET, 'stage2'), plain, seed=0)


def test_seeding_a_sample_leaves_the_generators_as_they_were():
    np.random.seed(0)
    torch.manual_seed(0)
    expected = np.random.rand(), torch.rand(1)
    np.random.seed(0)
    torch.manual_seed(0)
    with seeded(1, 2, 3):
        first = np.random.rand(), torch.rand(1)
    with seeded(1, 2, 3):
        assert (np.random.rand(), torch.rand(1)) == first
    assert (np.random.rand(), torch.rand(1)) == expected != first
