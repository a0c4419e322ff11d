"""The gain harness: what makes runs comparable, resumable and correctly scored."""

import contextlib
import copy
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from build import CHANNELS, RESNET, SIZE, okdhp_config, plain_config
from mmengine.config import Config
from mmengine.hooks import Hook
from mmpose.registry import MODELS
from runs import draw, run_config

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from benchmarks.gain import __main__ as gain  # noqa: E402
from benchmarks.gain import evaluate, one_run, pck, plots, prepare, start, workers  # noqa: E402
from benchmarks.gain.bootstrap import paired_gain  # noqa: E402
from benchmarks.gain.fair import seeded  # noqa: E402
from benchmarks.gain.plan import Comparison, Folders, Run, extend_plan, read_plan  # noqa: E402
from benchmarks.gain.prepare import SettingError  # noqa: E402
from benchmarks.gain.report import write_report  # noqa: E402
from mmpose_kd.export import StudentWarning  # noqa: E402

# --------------------------------------------------------------------------- bootstrap


def tables(hits, joints=10):
    hits = np.asarray(hits)
    return hits, np.full_like(hits, joints)


def test_the_gain_of_a_method_over_itself_is_zero():
    same = tables(np.random.default_rng(0).integers(0, 11, (3, 50)))
    assert paired_gain(same, same) == (0, 0, 0)


def test_a_constant_gain_has_no_spread():
    hits = np.random.default_rng(0).integers(0, 10, (3, 50))
    assert paired_gain(tables(hits), tables(hits + 1)) == pytest.approx((10, 10, 10))


def test_the_gain_is_that_of_the_pooled_joints():
    plain = np.array([[1, 0]]), np.array([[2, 8]])  # 1 of 10
    distilled = np.array([[2, 3]]), np.array([[2, 8]])  # 5 of 10
    assert paired_gain(plain, distilled).gain == pytest.approx(40)


def test_pairing_persons_and_seeds_narrows_the_interval():
    rng = np.random.default_rng(0)
    person, seed = rng.integers(0, 7, 200), rng.integers(0, 3, (5, 1))
    plain = person + seed
    distilled = plain + rng.integers(0, 2, (5, 200))
    paired = paired_gain(tables(plain), tables(distilled))
    unpaired = paired_gain(tables(plain), tables(rng.permuted(distilled, axis=1)[::-1]))
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_the_interval_holds_the_true_gain_about_95_times_in_100():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        person = rng.uniform(0.3, 0.7, 100)
        shift = 0.05 + rng.normal(0, 0.02, (12, 1)) + rng.normal(0, 0.05, 100)
        plain = rng.binomial(10, person, (12, 100))
        distilled = rng.binomial(10, np.clip(person + shift, 0, 1))
        found = paired_gain(tables(plain), tables(distilled), resamples=300)
        inside.append(found.low < 5 < found.high)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_an_empty_comparison_is_an_error():
    with pytest.raises(ValueError, match='nothing to compare'):
        paired_gain(tables([[0]], 0), tables([[0]], 0))


# ------------------------------------------------------------------------------- PCK


def test_pck_by_hand():
    target = np.array([[[0, 0], [30, 40], [9, 9]]], float)  # torso of 50
    visible = np.array([[True, True, False]])
    found = target + np.array([[[6, 8], [4.9, 0], [0, 0]]])  # 10 and 4.9 away
    length = pck.torso_lengths(target, visible, (0, 1))
    assert length.tolist() == [50]
    # 10 is not nearer than 0.2 torsos
    assert [int(a[0]) for a in pck.hits_and_counts(found, target, visible, length, 0.2)] == [1, 2]
    assert [int(a[0]) for a in pck.hits_and_counts(found, target, visible, length, 0.201)] == [
        2,
        2,
    ]


def test_persons_with_an_unlabelled_torso_joint_are_left_out():
    target, visible = np.ones((2, 3, 2)), np.array([[True, False, True], [True, True, True]])
    target[:, 1] = 9
    length = pck.torso_lengths(target, visible, (0, 1))
    hits, counts = pck.hits_and_counts(target, target, visible, length, 0.2)
    assert hits.tolist() == counts.tolist() == [0, 3]


def test_the_torso_is_found_by_name():
    assert pck.torso_joints(['nose', 'right_hip', 'left_shoulder']) == (2, 1)
    assert pck.torso_joints(['Left Shoulder', 'Right Hip']) == (0, 1)
    assert pck.torso_joints(['thumb1', 'wrist']) is None
    assert pck.box_lengths(np.array([[1, 2, 5, 12]])).tolist() == [10]


# -------------------------------------------------------------------------- settings


def schedule(*schedulers, max_epochs=20, **more):
    return Config(
        dict(train_cfg=dict(max_epochs=max_epochs), param_scheduler=list(schedulers), **more)
    )


def test_schedules_are_stretched_in_proportion():
    cfg = schedule(
        dict(type='LinearLR', begin=0, end=200, by_epoch=False),
        dict(type='MultiStepLR', milestones=[10, 15], begin=0, end=20),
        dict(type='CosineAnnealingLR', begin=7, end=20, T_max=13, by_epoch=True),
        custom_hooks=[dict(type='mmdet.PipelineSwitchHook', switch_epoch=18)],
    )
    prepare.stretch(cfg, 30)
    warm_up, steps, cosine = cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == 30
    assert warm_up.end == 200
    assert (steps.milestones, steps.end) == ([15, 22], 30)
    assert (cosine.begin, cosine.end, cosine.T_max) == (10, 30, 20)
    assert cfg.custom_hooks[0].switch_epoch == 27


def test_a_schedule_that_cannot_be_stretched_is_named():
    cfg = schedule(dict(type='ConstantLR'), dict(type='ExponentialLR', gamma=0.9))
    prepare.stretch(cfg, 20)  # as long as before: nothing to do
    with pytest.raises(SettingError, match=r'param_scheduler\.1\.type.*ExponentialLR'):
        prepare.stretch(cfg, 30)


@pytest.mark.parametrize(
    'kind', ['CosineAnnealingLR', 'OneCycleLR', 'mmengine.MultiStepLR', 'ExponentialLR']
)
def test_a_schedule_of_iterations_is_not_stretched_but_named(kind):
    cfg = schedule(dict(type='LinearLR', by_epoch=False), dict(type=kind, by_epoch=False))
    prepare.stretch(cfg, 20)  # as long as before: nothing to do
    with pytest.raises(SettingError, match=r'param_scheduler\.1\.by_epoch=False'):
        prepare.stretch(cfg, 30)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def pair(data, tmp_path_factory):
    """Paths of a plain and an OKDHP config with random augmentation."""
    folder = tmp_path_factory.mktemp('configs')
    paths = []
    for name, model in (('plain', plain_config()), ('okdhp', okdhp_config(RESNET, 'stage2'))):
        head = model['head'] if name == 'plain' else model['head']['head']
        head['out_channels'] = 17
        cfg = run_config(data, folder, model)
        cfg['custom_hooks'] = []
        cfg['train_dataloader']['dataset']['pipeline'][2:2] = [
            dict(type='RandomFlip'),
            dict(type='RandomBBoxTransform'),
        ]
        Config(cfg).dump(folder / f'{name}.py')
        paths.append(str(folder / f'{name}.py'))
    return paths


def test_smaller_training_sets_are_part_of_larger_ones(pair, tmp_path):
    cfg = prepare.load_config(pair[0])
    persons = []
    for size in (5, 3):
        written = json.loads(prepare.subset(cfg, size, tmp_path / str(size)).read_text())
        assert {a['image_id'] for a in written['annotations']} == {
            i['id'] for i in written['images']
        }
        assert len(written['annotations']) == size
        persons.append({a['id'] for a in written['annotations']})
    assert persons[1] < persons[0]


def test_too_large_a_training_set_is_an_error(pair, tmp_path):
    cfg = prepare.load_config(pair[0])
    with pytest.raises(SettingError, match=r'--train-persons 9999.*give fewer'):
        prepare.subset(cfg, 9999, tmp_path)


def test_a_subset_needs_a_coco_file(pair, tmp_path):
    cfg = prepare.load_config(pair[0])
    cfg.train_dataloader.dataset = dict(type='CombinedDataset', datasets=[])
    with pytest.raises(SettingError, match='COCO file, found None'):
        prepare.subset(cfg, 3, tmp_path)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['{plain}'], 'found 1 configs'),
        (['{plain}', 'missing.py'], 'missing.py: no such config'),
        (['{plain}', '{plain}'], 'two configs are called plain'),
        (['{plain}', '{okdhp}', '--seeds', '1', '1'], '--seeds names one twice'),
        (['{plain}', '{okdhp}', '--cfg-options', 'test_evaluator=None'], 'no test_evaluator'),
        (
            ['{plain}', '{okdhp}', '--cfg-options', 'test_dataloader.dataset.data_root=/nowhere'],
            'test_dataloader.dataset.ann_file: /nowhere/',
        ),
        (
            ['{plain}', '{okdhp}', '--cfg-options', 'load_from=gone.pth'],
            'load_from: gone.pth is not there',
        ),
        (
            ['{plain}', '{okdhp}', '--train-persons', '4', '99999', '--no-equal-wall-time'],
            '--train-persons 99999',
        ),
        (
            ['{plain}', '{okdhp}', '--train-persons', '4', '--no-equal-wall-time']
            + ['--cfg-options', 'train_dataloader.dataset.ann_file={list}'],
            'has no images and annotations: give --train-persons all',
        ),
        (
            ['{plain}', '{okdhp}', '--epochs', '9', '--no-equal-wall-time', '--cfg-options']
            + ['param_scheduler.type=OneCycleLR', 'param_scheduler.by_epoch=False'],
            'param_scheduler.by_epoch=False',
        ),
        (['--report-only'], 'nothing was asked for'),
    ],
)
def test_a_wrong_setting_is_told(pair, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(gain, 'run_all', lambda *_: pytest.fail('training was started'))
    (tmp_path / 'list.json').write_text('[{"image": "a.jpg"}]')
    names = {'plain': pair[0], 'okdhp': pair[1], 'list': tmp_path / 'list.json'}
    arguments = [a.format(**names) for a in arguments]
    assert gain.main([*arguments, '--out', str(tmp_path)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'plan.json').exists()


def test_a_pair_must_see_the_same_data(pair):
    plain, okdhp = map(prepare.load_config, pair)
    okdhp.train_dataloader.batch_size = 2
    with pytest.raises(SettingError, match=r'train_dataloader\.batch_size=2, .* has 4'):
        prepare.check_pair(plain, okdhp, 'okdhp.py')


@pytest.mark.parametrize(
    'change, key',
    [
        ({'train_dataloader.dataset.pipeline.3.scale_factor': [1, 1]}, r'pipeline\.3\.scale_fac'),
        ({'train_dataloader.dataset.pipeline.2.type': 'NoFlip'}, r'pipeline\.2\.type=.NoFlip'),
        ({'train_dataloader.dataset.data_root': '/other'}, r'train_dataloader\.dataset\.ann_file'),
        ({'test_dataloader.dataset.indices': 2}, r'test_dataloader\.dataset\.indices=2'),
        ({'custom_hooks': [dict(type='Switch', switch_pipeline=[])]}, r'custom_hooks='),
    ],
)
def test_a_pair_must_have_the_same_augmentation(pair, change, key):
    plain, okdhp = map(prepare.load_config, pair)
    okdhp.merge_from_dict(change)
    with pytest.raises(SettingError, match=f'okdhp.py: .*{key}'):
        prepare.check_pair(plain, okdhp, 'okdhp.py')


def test_a_pair_may_differ_in_what_does_not_change_the_samples(pair):
    plain, okdhp = map(prepare.load_config, pair)
    dataset = okdhp.train_dataloader.dataset
    dataset.ann_file = str(Path(dataset.data_root, dataset.ann_file))
    dataset.data_prefix.img = str(Path(dataset.data_root, dataset.data_prefix.img))
    dataset.data_root = None
    dataset.pipeline[0]['_scope_'] = 'mmpose'
    okdhp.train_dataloader.persistent_workers = True
    okdhp.test_dataloader.batch_size = 1
    prepare.check_pair(plain, okdhp, 'okdhp.py')


def test_heatmaps_beside_the_deployed_heads_targets_are_the_same_data(pair):
    plain, ocd = map(prepare.load_config, pair)
    step = ocd.train_dataloader.dataset.pipeline[-2]
    assert step.type == 'GenerateTarget'
    heatmap = dict(type='UDPHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)
    step.encoder = dict(
        type='CrossRepresentationLabel', deploy=step.encoder.to_dict(), heatmap=heatmap
    )
    prepare.check_pair(plain, ocd, 'ocd.py')
    step.encoder.deploy.sigma = 3
    with pytest.raises(SettingError, match=r'ocd.py: .*encoder\.sigma=3'):
        prepare.check_pair(plain, ocd, 'ocd.py')


def test_the_plain_config_names_the_weights_to_start_from(pair):
    plain, okdhp = map(prepare.load_config, pair)
    plain.load_from = 'a.pth'
    prepare.check_pair(plain, okdhp, 'okdhp.py')
    okdhp.load_from = 'b.pth'
    with pytest.raises(SettingError, match=r"load_from='b.pth', the plain config has 'a.pth'"):
        prepare.check_pair(plain, okdhp, 'okdhp.py')


def test_detections_give_way_to_labelled_boxes(data, tmp_path):
    cfg = run_config(data, tmp_path, plain_config())
    cfg['test_dataloader']['dataset']['bbox_file'] = 'detections.json'
    Config(cfg).dump(tmp_path / 'plain.py')
    loaded = prepare.load_config(str(tmp_path / 'plain.py'))
    assert loaded.test_dataloader.dataset.bbox_file is None


# ------------------------------------------------------------------------------ plan


def test_later_calls_add_to_the_plan(tmp_path):
    extend_plan(tmp_path, [Comparison('p', 'd', 500, 9, (0, 1), 12)], 'one')
    extend_plan(
        tmp_path, [Comparison('p', 'd', 500, 9, (2,)), Comparison('p', 'd', None, 9, (0,))], 'two'
    )
    comparisons, commands = read_plan(tmp_path)
    assert comparisons == [
        Comparison('p', 'd', 500, 9, (0, 1, 2), 12),
        Comparison('p', 'd', None, 9, (0,)),
    ]
    assert commands == ['one', 'two']


def test_the_plain_model_trains_longer_for_the_same_wall_time(pair):
    args = gain.parser().parse_args([*pair, '--out', 'x', '--epochs', '10', '--seeds', '4'])
    (found,) = gain.comparisons(args, gain.read_configs(args), {'okdhp': 1.31})
    assert found.plain_epochs == 14
    assert found.runs() == [
        Run('plain', None, 10, 4),
        Run('okdhp', None, 10, 4),
        Run('plain', None, 14, 4),
    ]


def folders(pair, out):
    configs = {Path(path).stem: prepare.load_config(path) for path in pair}
    return Folders(out, configs, 'plain')


def test_a_run_made_with_other_settings_is_not_used(pair, tmp_path):
    run = Run('okdhp', None, 2, 0)
    known = folders(pair, tmp_path)
    folder = known.prepare(run)
    (folder / 'result.json').write_text('{}')
    known.check(run)
    known.configs['okdhp'].default_hooks.logger.interval = 9  # tells more, changes nothing
    known.check(run)
    known.configs['plain'].model.head.loss.type = 'KeypointOHKMMSELoss'
    known.configs['okdhp'].optim_wrapper.optimizer.lr = 0.5
    with pytest.raises(SettingError) as error:
        known.check(run)
    for part in (str(folder), 'optim_wrapper.optimizer.lr: 0.001, now 0.5', 'KeypointOHKM'):
        assert part in str(error.value)


def test_a_run_with_other_initial_weights_is_not_used(pair, tmp_path):
    weights = tmp_path / 'weights.pth'
    for name in ('plain', 'okdhp'):
        run, known = Run(name, None, 2, 0), folders(pair, tmp_path)
        folder = known.prepare(run)
        (folder / 'result.json').write_text('{}')
        weights.write_bytes(b'some')
        known.configs['plain'].load_from = str(weights)
        with pytest.raises(SettingError, match=r'gain\.load_from: None, now'):
            known.check(run)
        known.prepare(run)
        known.check(run)
        weights.write_bytes(b'others')
        with pytest.raises(SettingError, match=r'gain\.load_from'):
            known.check(run)


def test_training_steps_are_timed_again_when_something_is_other(pair, tmp_path, monkeypatch):
    class FakeChildren(workers.Children):
        def start(self, module, folder, result, jobs, log):
            times.append(jobs)
            Path(result).write_text(json.dumps({'ratio': 1.0 + len(times)}))
            return subprocess.Popen(['true'])

    times = []
    monkeypatch.setattr(gain, 'Children', FakeChildren)
    configs = {Path(path).stem: prepare.load_config(path) for path in pair}
    (tmp_path / 'timing.json').write_text('{"plain okdhp": {"ratio": 9.0}}')

    def ratio(jobs=1):
        return gain.time_ratio(tmp_path, configs, 'plain', 'okdhp', jobs)

    assert ratio() == ratio() == 2
    assert ratio(jobs=2) == ratio(jobs=2) == 3
    configs['okdhp'].log_level = 'ERROR'
    assert ratio(jobs=2) == 3
    configs['okdhp'].model.head.num_branches = 5
    assert ratio(jobs=2) == 4
    monkeypatch.setattr(gain, 'device', lambda: 'another')
    assert ratio(jobs=2) == 5


@pytest.mark.parametrize('number', workers.SIGNALS)
def test_no_signal_leaves_processes_behind(tmp_path, monkeypatch, number):
    (tmp_path / 'stubborn.py').write_text(
        'import pathlib, signal, sys, time\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'pathlib.Path(sys.argv[1]).touch()\n'
        'time.sleep(300)\n'
    )
    monkeypatch.setattr(workers, 'GRACE', 1.0)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    before = {n: signal.signal(n, lambda *_: None) for n in workers.SIGNALS}
    mine = {n: signal.getsignal(n) for n in workers.SIGNALS}
    again = [threading.Timer(0.4, os.kill, (os.getpid(), n)) for n in workers.SIGNALS]
    try:
        with pytest.raises(KeyboardInterrupt), workers.Children() as children:
            ready = tmp_path / 'ready'
            child = children.start('stubborn', str(ready), jobs=1, log=tmp_path / 'log.txt')
            deadline = time.monotonic() + 60
            while not ready.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            for timer in again:
                timer.start()
            os.kill(os.getpid(), number)
            time.sleep(0.1)
            pytest.fail('the signal did not interrupt')
        for timer in again:
            timer.join()
        assert child.poll() == -signal.SIGKILL
        assert {n: signal.getsignal(n) for n in workers.SIGNALS} == mine
    finally:
        child.kill()
        for n, handler in before.items():
            signal.signal(n, handler)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with workers.Children():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_time_left_is_that_of_the_open_epochs():
    done, half, new = Run('a', 100, 4, 0), Run('b', 100, 4, 0), Run('a', 200, 4, 0)
    states = {
        done: dict(samples=100, seconds=[1.0] * 4),
        half: dict(samples=100, seconds=[3.0]),
        new: None,
    }
    assert workers.seconds_left([half, new], states, jobs=1) == pytest.approx(3 * 3 + 4 * 2)
    assert workers.seconds_left([half, new], states, jobs=2) == pytest.approx(9)
    assert workers.seconds_left([new], {new: None}, jobs=1) is None
    assert [workers.duration(s) for s in (40, 720, 3900)] == ['40 s', '12 min', '1 h 05 min']


# ------------------------------------------------------------------- alike from the start


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


def test_a_method_that_is_a_hook_is_exported_as_the_plain_model(pair, tmp_path):
    cfg = Config.fromfile(pair[0])
    cfg.custom_hooks = [dict(type='DSKDHook')]
    cfg.dump(tmp_path / 'config.py')
    state = start.initial_weights(cfg.model, Config.fromfile(pair[0]).model, seed=0)
    torch.save({'state_dict': state}, tmp_path / 'epoch_1.pth')
    student = one_run.write_student(tmp_path, tmp_path / 'epoch_1.pth')
    weights = torch.load(student / 'student.pth', weights_only=True)['state_dict']
    assert all(torch.equal(weights[key], state[key]) for key in state)
    text = (student / 'student.py').read_text()
    assert 'DSKDHook' not in text and 'mmpose_kd' not in text


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


class Stop(Hook):
    """Ends a run as a crash would, at the start of its second epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_with_the_same_weights_to_the_last_bit(pair, tmp_path):
    run = Run('okdhp', None, 3, 0)
    whole, parts = (folders(pair, tmp_path / name).prepare(run) for name in ('whole', 'parts'))
    one_run.train(whole)
    runner = one_run.build_runner(parts)
    runner.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    # as if it had been stopped while it wrote a checkpoint
    (parts / 'work/epoch_2.pth').write_bytes((parts / 'work/epoch_1.pth').read_bytes()[:5000])
    assert one_run.newest_checkpoint(parts / 'work').name == 'epoch_1.pth'
    last = one_run.train(parts)
    states = [
        torch.load(path, weights_only=True)['state_dict']
        for path in (whole / 'work/epoch_3.pth', last)
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    for folder in (whole, parts):
        assert len(json.loads((folder / 'progress.json').read_text())['seconds']) == 3
        assert list(one_run.learning_curve(folder / 'work')) == [1, 2, 3]


def test_a_learning_curve_is_that_of_the_validations(tmp_path):
    from mmengine.visualization import LocalVisBackend

    for call in ('20250101_000000', '20250101_000001'):
        backend = LocalVisBackend(save_dir=str(tmp_path / call / 'vis_data'))
        backend.add_scalars({'loss': 1.0, 'epoch': 1, 'iter': 7}, 7, f'{call}.json')
        backend.add_scalars({'okdhp/attention_std': 0.5}, step=7)  # another hook
        backend.add_scalars({'AP': 0.25, 'time': 1.0}, 2, f'{call}.json')
    assert one_run.learning_curve(tmp_path) == {2: {'AP': 0.25}}


# ----------------------------------------------------------------------------- report


def fake_run(out, run, found, names=('left_shoulder', 'right_hip')):
    """A finished run of two persons, each with one joint off by so many torso lengths."""
    folder = run.folder(out)
    folder.mkdir(parents=True)
    target = np.array([[[0, 0], [30, 40]], [[0, 0], [60, 80]]], float)
    keypoints = target.copy()
    keypoints[:, 0, 0] = np.array([50, 100]) * found
    boxes = np.array([[0, 0, 30, 40], [0, 0, 60, 200]], float)
    np.savez(
        folder / 'persons.npz', keypoints=keypoints, scores=np.ones((2, 2)), target=target,
        visible=np.ones((2, 2), bool), boxes=boxes, ids=np.arange(2), names=np.array(names),
    )  # fmt: skip
    metrics = {'all': {}, 'oks_ap': 0.5 - found[0]}
    curve = {'1': {'pck/PCK@0.2': 40.0}, '2': {'pck/PCK@0.2': 50.0}}
    about = {'samples': 6, 'seconds': 60.0, 'metrics': metrics, 'curve': curve}
    (folder / 'result.json').write_text(json.dumps(about))


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """A folder with a plain and a distilled run, and one that is missing."""
    monkeypatch.setattr('benchmarks.gain.report.costs', lambda *_: {})
    extend_plan(tmp_path, [Comparison('p', 'd', 500, 2, (0, 1))], 'the command')
    for seed in (0, 1):
        fake_run(tmp_path, Run('p', 500, 2, seed), [0.3, 0.3])
    fake_run(tmp_path, Run('d', 500, 2, 0), [0.15, 0.3])
    return tmp_path


def test_the_report_tells_scores_gain_and_what_is_missing(reported):
    text = write_report(reported)
    assert 'd over p, same epochs (500 persons, 2 epochs): PCK@0.2 +25.00 [' in text
    assert '1 of 4 runs have no result yet' in text
    page = (reported / 'results.md').read_text()
    for part in ('the command', '| p | 2 | 2 of 2 | 60 s | 50.00 ± 0.00 |', '| d | 2 | 1 of 2 |'):
        assert part in page
    assert page.endswith('## Not run\n\n- d_500p_2e_seed1\n')
    rows = list(csv.DictReader((reported / 'results.csv').open()))
    assert [row['PCK@0.2'] for row in rows] == ['75.000', '50.000', '50.000']
    assert [row['PCK@0.1'] for row in rows] == ['50.000'] * 3
    assert {row['yardstick'] for row in rows} == {'torso'}
    for name in ('accuracy.png', 'curves.png'):
        assert (reported / name).stat().st_size > 5000


def test_other_settings_of_the_training_are_told(reported):
    for method, lr in (('p', 0.1), ('d', 0.2)):
        settings = {'optim_wrapper': {'optimizer': {'lr': lr}}, 'param_scheduler': []}
        folder = Run(method, 500, 2, 0).folder(reported)
        (folder / 'run.json').write_text(json.dumps({'settings': settings}))
    write_report(reported)
    page = (reported / 'results.md').read_text()
    told = (
        'd trains with `optim_wrapper.optimizer.lr=0.2`, p with `optim_wrapper.optimizer.lr=0.1`'
    )
    assert told in page and 'param_scheduler' not in page


def test_curves_are_drawn_of_what_all_runs_have(tmp_path):
    class Run:
        def __init__(self, curve):
            self.about = {'curve': curve}

    full = {'1': {'AP': 0.5}, '2': {'AP': 0.6}}
    mixed = {**full, '7': {'okdhp/attention_std': 0.1}}  # as older results may have it
    runs = [Run(mixed), Run(full), Run({'1': {'AP': 0.5}}), Run({})]
    assert plots._curve_metric(runs) == 'AP'
    _, axis = plots.plt.subplots()
    plots._curves(axis, [('one', runs[:2]), ('two', runs[2:])])
    assert [line.get_xdata().tolist() for line in axis.lines] == [[1, 2], [1]]
    plots.plt.close('all')


def test_the_box_is_the_yardstick_where_there_is_no_torso(tmp_path, monkeypatch):
    monkeypatch.setattr('benchmarks.gain.report.costs', lambda *_: {})
    extend_plan(tmp_path, [Comparison('p', 'd', None, 2, (0,))], 'the command')
    fake_run(tmp_path, Run('p', None, 2, 0), [0.3, 0.3], names=('thumb', 'wrist'))
    write_report(tmp_path)
    (row,) = csv.DictReader((tmp_path / 'results.csv').open())
    assert (row['yardstick'], row['PCK@0.2']) == ('bbox', '75.000')  # 30 of 200 is near
    with pytest.raises(SettingError, match=r'--yardstick torso.*give --yardstick bbox'):
        write_report(tmp_path, 'torso')


# ------------------------------------------------------------------------- all of it


def call(pair, out, *more):
    return [
        sys.executable, '-m', 'benchmarks.gain', *pair, '--out', str(out), '--seeds', '0', '1',
        '--train-persons', '4', '--jobs', '2', '--no-equal-wall-time', *more,
    ]  # fmt: skip


def unbiased_config(data, folder):
    """Path of the config of a plain model that can only exist with mmpose_kd."""
    model = plain_config()
    codec = dict(type='IntegralRegressionLabel', input_size=SIZE, heatmap_size=(8, 16), sigma=1.0)
    model['head'] = dict(
        type='UnbiasedIntegralHead',
        in_channels=CHANNELS['ResNet'],
        in_featuremap_size=(1, 2),
        num_joints=17,
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=codec,
    )
    Config(run_config(data, folder, model)).dump(folder / 'unbiased.py')
    return str(folder / 'unbiased.py')


@pytest.mark.parametrize('which', ['plain', 'unbiased'])
def test_a_student_is_tested_with_this_package_only_if_it_keeps_a_class_of_it(
    pair, data, tmp_path, which
):
    path = pair[0] if which == 'plain' else unbiased_config(data, tmp_path)
    model = MODELS.build(Config.fromfile(path).model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    shutil.copy(path, tmp_path / 'config.py')
    warns = pytest.warns(StudentWarning) if which == 'unbiased' else contextlib.nullcontext()
    with warns:
        student = one_run.write_student(tmp_path, tmp_path / 'epoch_1.pth')
    assert evaluate.needs_package(student) is (which == 'unbiased')
    command = [sys.executable, '-m', 'benchmarks.gain.evaluate', str(student), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.load(tmp_path / 'persons.npz')['keypoints'].shape[1:] == (17, 2)


@pytest.mark.slow
def test_from_configs_to_the_report_and_on_after_a_stop(pair, tmp_path):
    command = call(pair, tmp_path, '--epochs', '2')
    working = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob('runs/*/work/epoch_1.pth')) and time.monotonic() < deadline:
        time.sleep(0.05)
    working.send_signal(signal.SIGTERM)
    assert working.wait(60) == 130
    running = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout
    assert str(tmp_path) not in running

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '4 of 4 runs done' in done.stderr
    assert 'okdhp over plain, same epochs (4 persons, 2 epochs)' in done.stdout
    page = (tmp_path / 'results.md').read_text()
    assert 'Not run' not in page and 'MACs' in page
    rows = list(csv.DictReader((tmp_path / 'results.csv').open()))
    assert len(rows) == 4
    assert len({(row['parameters'], row['MACs']) for row in rows}) == 1
    validated = 0
    for folder in tmp_path.glob('runs/*'):
        student = (folder / 'student/student.py').read_text()
        assert 'mmpose_kd' not in student and 'OKDHP' not in student
        trained, tested = (
            json.loads((folder / 'result.json').read_text())[key] for key in ('curve', 'metrics')
        )
        if '2' in trained:  # the stop may have come between checkpoint and validation
            assert trained['2']['EPE'] == tested['all']['EPE']
            validated += 1
    assert validated >= 2  # two runs at most were at work when it came

    # what is finished stays; what was lost is made again, to the same weights
    kept, lost = sorted(tmp_path.glob('runs/okdhp_*'))
    before = [torch.load(p / 'student/student.pth', weights_only=True) for p in (kept, lost)]
    time_before = os.stat(kept / 'result.json').st_mtime_ns
    subprocess.run(['rm', '-r', str(lost)], check=True)
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    assert os.stat(kept / 'result.json').st_mtime_ns == time_before
    again = torch.load(lost / 'student/student.pth', weights_only=True)['state_dict']
    assert all(torch.equal(again[k], v) for k, v in before[1]['state_dict'].items())


@pytest.mark.slow
def test_a_training_step_is_timed_with_all_that_belongs_to_it(pair, tmp_path, monkeypatch):
    from benchmarks.gain import timing

    monkeypatch.setattr(timing, 'SECONDS', 0.2)
    for name, path in zip(('plain', 'distilled'), pair):
        prepare.load_config(path).dump(tmp_path / f'{name}.py')
    found = timing.measure(tmp_path)
    assert len(found['turns']) == timing.ROUNDS
    assert 1 < found['ratio'] < 4
