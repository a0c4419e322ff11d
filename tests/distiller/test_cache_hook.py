"""TeacherCacheHook in MMPose's runner: teachers run once, and the run is the same run."""

import copy
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS, TRANSFORMS

from mmpose_kd.distiller.cache import TeacherCache
from mmpose_kd.distiller.pose_distiller import PoseDistiller
from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.export import export_student

from ..helpers import ROOT
from ..helpers.layout import leave_layout_out
from ..helpers.models import HRNET, RESNET, SIZE, build, plain_config
from ..helpers.runs import draw, run_config

VARIANTS = 2
ENTRY = dict(
    loss=dict(type='KeypointMSELoss', use_target_weight=True),
    student='head.final_layer',
    teacher='head.final_layer',
    name='kd',
)
RANDOM = [
    dict(type='RandomFlip'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=SIZE),
]


@TRANSFORMS.register_module()
class Brighter(BaseTransform):
    """A random step."""

    def transform(self, results):
        return {**results, 'img': results['img'] // 2 + np.random.randint(100)}


@HOOKS.register_module()
class CountTeacherRuns(Hook):
    """Counts the samples that the teachers see in each epoch."""

    def before_train(self, runner):
        self.epochs, self.handles = [], []
        for teacher in runner.model.teachers:
            self.handles.append(teacher.model.backbone.register_forward_hook(self.count))

    def count(self, module, inputs, output):
        self.epochs[-1] += len(inputs[0])

    def before_train_epoch(self, runner):
        self.epochs.append(0)


@HOOKS.register_module()
class SecondStage(Hook):
    """Another pipeline from the second epoch on, as MMDetection's PipelineSwitchHook gives it."""

    def __init__(self, switch_pipeline):
        self.pipeline = switch_pipeline

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.train_dataloader.dataset.pipeline = Compose(self.pipeline)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """A teacher's config and checkpoint; its maps need not mean anything."""
    folder = tmp_path_factory.mktemp('teacher')
    for seed in (0, 1):
        model = build(with_17(HRNET), seed)
        torch.save({'state_dict': model.state_dict()}, folder / f'{seed}.pth')
    return dict(config=with_17(HRNET), checkpoint=str(folder / '0.pth'))


def with_17(backbone):
    config = plain_config(backbone)
    config['head']['out_channels'] = 17
    return config


def cached(data, work_dir, cache, teacher, *entries, epochs=2, **settings):
    """A run's config with the hook, without validation."""
    model = dict(
        type='PoseDistiller',
        student=with_17(RESNET),
        teachers=[teacher],
        distill=[{**ENTRY, **entry} for entry in entries or [{}]],
    )
    cfg = run_config(data, work_dir, model)
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg.pop(key)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg.pop(key)
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=epochs)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    steps = cfg['train_dataloader']['dataset']['pipeline']
    fixed = dict(type='FixedAugmentations', transforms=RANDOM, variants=VARIANTS)
    steps[2:3] = [fixed]
    steps[-1] = dict(type='PackPoseViews')
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook'), dict(type='CountTeacherRuns')]
    if cache:
        cfg['custom_hooks'].append(dict(type='TeacherCacheHook', path=str(cache), **settings))
    return copy.deepcopy(cfg)


def train(cfg, **changes):
    cfg = Config(copy.deepcopy(cfg))
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def counted(runner):
    return next(h.epochs for h in runner.hooks if isinstance(h, CountTeacherRuns))


def weights(runner):
    return runner.model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def entries(cache):
    with sqlite3.connect(cache / 'teacher0.sqlite') as db:
        return db.execute('SELECT count(*) FROM outputs').fetchone()[0]


# ------------------------------------------------------------------ the teacher is skipped


@pytest.mark.parametrize('store', [pytest.param('float16', marks=pytest.mark.slow), 'regions'])
def test_a_run_with_a_warm_cache_ends_with_the_same_weights_and_no_teacher(
    data, tmp_path, teacher, store
):
    cfg = cached(data, tmp_path, tmp_path / 'cache', teacher, epochs=3, store=store, region_size=4)
    cold, warm = train(cfg), train(cfg)
    persons = len(cold.train_dataloader.dataset)
    assert counted(cold)[0] == persons
    assert sum(counted(cold)) == entries(tmp_path / 'cache') <= VARIANTS * persons
    assert counted(warm) == [0, 0, 0]
    assert same(weights(cold), weights(warm))
    assert cold.model.teachers[0].cache is None  # closed


def test_when_all_variants_are_there_later_epochs_do_not_run_the_teacher(data, tmp_path, teacher):
    cfg = cached(data, tmp_path, tmp_path / 'cache', teacher)
    fixed = cfg['train_dataloader']['dataset']['pipeline'][2]
    fixed['variants'] = 1
    runner = train(cfg)
    assert counted(runner) == [len(runner.train_dataloader.dataset), 0]


def test_the_cache_changes_the_weights_by_no_more_than_float16(data, tmp_path, teacher):
    with_cache, without, off = (
        train(cached(data, tmp_path / str(n), cache, teacher, dict(weight=weight)))
        for n, (cache, weight) in enumerate([(tmp_path / 'c', 1.0), (None, 1.0), (None, 0.0)])
    )
    assert counted(without) == [len(without.train_dataloader.dataset)] * 2
    for key, value in weights(without).items():
        torch.testing.assert_close(weights(with_cache)[key], value, rtol=1e-2, atol=1e-3)
    assert not same(weights(with_cache), weights(off))


def test_the_workers_of_a_loader_make_the_same_pictures(data, tmp_path, teacher):
    cfg = cached(data, tmp_path, tmp_path / 'cache', teacher, epochs=6)
    before = sum(counted(train(cfg)))
    loader = dict(cfg['train_dataloader'], num_workers=2, persistent_workers=True)
    after = sum(counted(train({**cfg, 'train_dataloader': loader})))
    assert before + after == entries(tmp_path / 'cache') and after < 6


@pytest.mark.slow
def test_features_views_two_teachers_and_ema_have_their_place(data, tmp_path, teacher):
    adapter = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    feature = dict(
        loss=dict(type='FeatureMSELoss'),
        student='backbone',
        teacher='backbone',
        adapter=adapter,
        resize='areas',
        name='feature',
    )
    second = dict(from_teachers=[1], name='second', resize='corners')
    cfg = cached(
        data,
        tmp_path,
        tmp_path / 'c',
        teacher,
        {},
        feature,
        second,
        store='regions',
        region_size=4,
    )
    big = with_17(HRNET)
    big['head']['decoder'] = dict(
        type='MSRAHeatmap', input_size=(64, 128), heatmap_size=(16, 32), sigma=1
    )
    cfg['model']['teachers'].append(dict(config=big, view='big', checkpoint=teacher['checkpoint']))
    fixed = cfg['train_dataloader']['dataset']['pipeline'][2]
    fixed['transforms'].insert(2, dict(type='TeacherView', input_size=(64, 128), name='big'))
    cfg['custom_hooks'].append(dict(type='EMAHook'))
    cold, warm = train(cfg), train(cfg)
    assert sum(counted(cold)) > 0 == sum(counted(warm))
    assert same(weights(cold), weights(warm))
    assert {path.name for path in (tmp_path / 'c').iterdir()} == {
        'teacher0.sqlite',
        'teacher1.sqlite',
    }


@pytest.mark.parametrize(
    ('change', 'runs'), [({}, 1), ({'transforms': RANDOM[2:]}, 2), ({'seed': 1}, 2)]
)
def test_a_second_stage_has_entries_of_its_own(data, tmp_path, teacher, change, runs):
    cfg = cached(data, tmp_path, tmp_path / 'cache', teacher, epochs=3)
    steps = cfg['train_dataloader']['dataset']['pipeline']
    steps[2]['variants'] = 1
    second = [*steps[:2], {**steps[2], **change}, *steps[3:]]
    cfg['custom_hooks'].append(dict(type='SecondStage', switch_pipeline=second))
    first = train(cfg)
    persons = len(first.train_dataloader.dataset)
    assert counted(first) == [persons, (runs - 1) * persons, 0]
    assert entries(tmp_path / 'cache') == runs * persons
    again = train(cfg)
    assert counted(again) == [0, 0, 0] and same(weights(first), weights(again))


# ------------------------------------------------------------------ what is refused


def refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        train(cfg)


def test_other_weights_pipelines_seeds_data_and_settings_are_refused(data, tmp_path, teacher):
    def config(**changes):
        return cached(data, tmp_path, tmp_path / 'cache', teacher, epochs=1, **changes)

    train(config())
    file, dataset = 'teacher0.sqlite was made under other settings: ', 'train_dataloader.dataset'
    other = config()
    other['model']['teachers'][0]['checkpoint'] = teacher['checkpoint'].replace('0.pth', '1.pth')
    refused(other, rf'{file}weights of model.teachers\[0\] is')

    other = config()
    other['train_dataloader']['dataset']['pipeline'][2]['transforms'][0]['prob'] = 0.1
    refused(other, f'{file}{dataset}.pipeline.2.transforms.0.prob is missing in the file, 0.1 now')

    other = config()
    other['train_dataloader']['dataset']['pipeline'][2]['seed'] = 1
    refused(other, f'{file}{dataset}.pipeline.2.seed is missing in the file, 1 now')

    other = config()
    annotations = data / 'annotations/person_keypoints_train2017.json'
    changed = tmp_path / 'changed.json'
    changed.write_text(annotations.read_text() + ' ')
    other['train_dataloader']['dataset']['ann_file'] = str(changed)
    refused(other, f'{file}annotations 0 is')

    other = config()
    other['model']['student']['data_preprocessor']['mean'] = [0.0, 0.0, 0.0]
    refused(other, f'{file}model.student.data_preprocessor.mean is')

    refused(config(store='regions'), f'{file}region_size is 0 in the file, 16 now; store is')
    # the same data elsewhere is the same data
    moved = tmp_path / 'moved'
    moved.symlink_to(data)
    here = config()
    here['train_dataloader']['dataset']['data_root'] = str(moved)
    assert counted(train(here)) == [0]


def test_a_pipeline_that_does_not_repeat_its_pictures_is_refused(data, tmp_path, teacher):
    cfg = cached(data, tmp_path, tmp_path / 'cache', teacher)
    steps = cfg['train_dataloader']['dataset']['pipeline']

    def changed(*new):
        dataset = {**cfg['train_dataloader']['dataset'], 'pipeline': list(new)}
        return {**cfg, 'train_dataloader': {**cfg['train_dataloader'], 'dataset': dataset}}

    key = r'TeacherCacheHook: train_dataloader.dataset.pipeline'
    refused(changed(*steps[:-1], dict(type='PackPoseInputs')), f'{key}.*PackPoseViews')
    refused(changed(*steps[:2], *RANDOM, *steps[3:]), f'{key}.*FixedAugmentations')
    refused(changed(*steps[:3], dict(type='Brighter'), *steps[3:]), f'{key}.*stands outside')
    assert not (tmp_path / 'cache').exists()


def test_a_model_without_teachers_is_refused(data, tmp_path, teacher):
    cfg = cached(data, tmp_path, tmp_path / 'cache', teacher)
    cfg['custom_hooks'] = [cfg['custom_hooks'][-1]]
    refused({**cfg, 'model': with_17(RESNET)}, 'TopdownPoseEstimator has no teachers')


# ------------------------------------------------------------------ a process that is killed

SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
from tests.distiller.test_cache_hook import killed_while

children = []
for moment, config in {configs!r}.items():
    children.append(os.fork())
    if children[-1] == 0:
        killed_while(moment, config)
        os._exit(1)  # never comes here
for child in children:
    print('\\nENDED', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def killed_while(moment, config):
    """Runs in a process of its own, which kills itself as no handler could notice."""

    def end():
        os.kill(os.getpid(), signal.SIGKILL)

    def traced(cache, *args):
        opened(cache, *args)
        cache.db.set_trace_callback(statement)

    def statement(sql):
        statements.append(sql)
        rows = [sql for sql in statements if sql.startswith('INSERT OR IGNORE INTO outputs')]
        if sql == 'COMMIT' and len(rows) > 4:  # the second batch
            end()

    def counting(*args):
        steps.append(1)
        return end() if len(steps) == 4 else loss(*args)  # in the second epoch

    statements, steps = [], []
    opened, loss = TeacherCache._open, PoseDistiller.loss
    if moment == 'writing':
        TeacherCache._open = traced
    else:
        PoseDistiller.loss = counting
    leave_layout_out()
    train(Config.fromfile(config).to_dict())


@pytest.mark.slow
@pytest.mark.reliability
def test_a_killed_run_is_run_again_or_resumed_and_gives_the_same_weights(data, tmp_path, teacher):
    configs = {}
    for moment in ('writing', 'training'):
        folder = tmp_path / moment
        configs[moment] = cached(data, folder, folder / 'cache', teacher, epochs=3)
        Config(configs[moment]).dump(tmp_path / f'{moment}.py')
    files = {moment: str(tmp_path / f'{moment}.py') for moment in configs}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT.format(root=str(ROOT), configs=files)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout.count(f'ENDED {-signal.SIGKILL}') == 2, done.stderr[-3000:]
    undisturbed = train(cached(data, tmp_path / 'a', tmp_path / 'a/cache', teacher, epochs=3))
    assert (tmp_path / 'writing/cache/teacher0.sqlite-journal').exists()
    assert entries(tmp_path / 'writing/cache') == 4  # the batch that was under way is not there

    # from the last checkpoint; an empty cache in the other run shows what is right
    shutil.copytree(tmp_path / 'training', tmp_path / 'empty')
    shutil.rmtree(tmp_path / 'empty/cache')
    empty = cached(data, tmp_path / 'empty', tmp_path / 'empty/cache', teacher, epochs=3)
    one, two = (train(cfg, resume=True) for cfg in (configs['training'], empty))
    assert one.epoch == two.epoch == 3
    assert sum(counted(one)) < sum(counted(two))
    for key, value in weights(two).items():
        torch.testing.assert_close(weights(one)[key], value)

    # from the start
    for cfg in configs.values():
        rerun = train(cfg)
        assert sum(counted(rerun)) < sum(counted(undisturbed))
        assert same(weights(rerun), weights(undisturbed))


# ------------------------------------------------------------------ export


def test_the_exported_config_has_the_stock_pipeline(data, tmp_path, teacher):
    cfg = cached(data, tmp_path / 'work', tmp_path / 'cache', teacher, epochs=1)
    plain = run_config(data, tmp_path / 'work')
    fixed = cfg['train_dataloader']['dataset']['pipeline'][2]
    fixed['transforms'] = [
        *RANDOM[:2],
        dict(type='TeacherView', input_size=(64, 128), name='big'),
        RANDOM[2],
    ]
    Config(cfg).dump(tmp_path / 'run.py')
    train(cfg)
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    script = Config.fromfile(tmp_path / 'out/student.py')
    stock = plain['train_dataloader']['dataset']['pipeline']
    assert script.train_dataloader.dataset.pipeline == [*stock[:2], *RANDOM, *stock[3:]]
    assert 'mmpose_kd' not in script.pretty_text and 'Cache' not in script.pretty_text


def test_a_copy_of_the_teacher_shares_its_cache():
    teacher = Teacher(plain_config(HRNET), checkpoint=None)
    teacher.cache = sqlite3.connect(':memory:')  # cannot be copied
    assert copy.deepcopy(teacher).cache is teacher.cache
