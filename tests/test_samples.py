"""Every shipped config in real runs on a few real pictures, through MMPose's own commands.

Needs a folder with a few pictures and labels of each data set, in MMPose's layouts, as
``coco/``, ``mpii/``, ``onehand10k/``, ``wflw/`` and ``ap10k/``: the sample files of MMPose's own
tests do. Name it in the environment variable MMPOSE_KD_SAMPLES. The pictures are too few to
train on, so what is tested is that all steps work together, not accuracy.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from scipy.io import savemat

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.export import export_student

SAMPLES = os.environ.get('MMPOSE_KD_SAMPLES')
CONFIGS = sorted((Path(__file__).parents[1] / 'configs').glob('*.py'))
ONLINE = [path for path in CONFIGS if path.stem.startswith('okdhp_')]
OWN_PARTS = [path for path in ONLINE if path.stem.startswith('okdhp_paper_')]
SELF = [path for path in CONFIGS if path.stem.startswith('dskd_')]
BESIDE = [path for path in CONFIGS if path.stem.startswith('ocd_')]
TAUGHT = [path for path in CONFIGS if path not in ONLINE + SELF + BESIDE]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SAMPLES, reason='MMPOSE_KD_SAMPLES does not name a folder of sample pictures'
    ),
]


def link(target, source):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def whole_folder(source, target):
    link(target, source)


def mpii(source, target):
    link(target / 'images', source / 'images')
    for name in ('mpii_train.json', 'mpii_val.json'):
        link(target / 'annotations' / name, source / 'annotations' / name)
    # PCKh divides by the size of the head. The samples lack the file with the head boxes, so
    # each box spans from the upper neck to the head's top.
    persons = json.loads((source / 'annotations/mpii_val.json').read_text())
    boxes = np.array([person['joints'][8:10] for person in persons])  # (N, 2 corners, 2)
    savemat(target / 'annotations/mpii_gt_val.mat', {'headboxes_src': boxes.transpose(1, 2, 0)})


def onehand10k(source, target):
    labels = source / 'onehand10k_train.json'
    for split in ('train', 'test'):
        link(target / f'annotations/onehand10k_{split}.json', labels)
    for image in json.loads(labels.read_text())['images']:
        link(target / image['file_name'], source / 'images' / image['file_name'])


def ap10k(source, target):
    link(target / 'data', source / 'data')
    for split in ('train', 'val', 'test'):
        stored = 'train' if split == 'train' else 'val'
        link(
            target / f'annotations/ap10k-{split}-split1.json',
            source / f'annotations/ap10k-{stored}-split1.json',
        )


# how to lay out the samples of a data set as the inherited config expects the whole of it
LAYOUTS = dict(coco=whole_folder, wflw=whole_folder, mpii=mpii, onehand10k=onehand10k, ap10k=ap10k)

RUN = [
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'train_dataloader.dataset.indices=2',  # one iteration an epoch
    'train_cfg.val_interval=1',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.logger.interval=1',
    'env_cfg.dist_cfg.backend=gloo',
    'randomness.seed=0',
    'load_from=None',
]
# Hourglasses of the shipped width need gigabytes for Adam alone.
NARROW = [
    f'model.{part}.backbone.stage_channels=(256,16,16,16,16)' for part in ('backbone', 'head')
]
OFFLINE = ['model.backbone.backbone.init_cfg=None', 'model.head.backbone.init_cfg=None']


def call(*command, cwd, **env):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', *map(str, command)],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def scalars(work_dir):
    return [
        json.loads(line)
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]


def lay_out(config, folder):
    """Put the samples where the config expects its data set; skips where there are none."""
    name = config.stem.rpartition('_')[2]
    dataset = name.partition('-')[0]  # COCO-WholeBody has COCO's pictures and folder
    source = Path(SAMPLES, dataset).resolve()
    if dataset not in LAYOUTS or not source.is_dir():
        pytest.skip(f'no layout or no samples of {name}')
    LAYOUTS[dataset](source, folder / 'data' / dataset)


def plain_metrics(folder, out, own_parts=False):
    """MMPose's own test of an exported student.

    Where mmpose_kd cannot be imported, but for students that have parts of it.
    """
    (folder / 'shadow').mkdir()
    if own_parts:
        assert (folder / out / 'student.py').read_text().startswith('# Needs mmpose_kd')
    else:
        (folder / 'shadow/mmpose_kd.py').write_text('raise ImportError("not here")')
    others = [os.environ['PYTHONPATH']] if own_parts and 'PYTHONPATH' in os.environ else []
    call(
        'mim', 'test', 'mmpose', f'{out}/student.py', '--checkpoint', f'{out}/student.pth',
        '--work-dir', 'plain', cwd=folder,
        PYTHONPATH=os.pathsep.join([str(folder / 'shadow'), *others]),
    )  # fmt: skip
    return json.loads(next((folder / 'plain').glob('*/*.json')).read_text())


def tested(run, checkpoint, name):
    """Metrics of the model in training."""
    cfg = Config.fromfile(run)
    cfg.merge_from_dict({'load_from': checkpoint, 'work_dir': 'tested', 'resume': False})
    cfg.visualizer.name = name  # MMEngine keeps visualizers by name, with their folders
    return Runner.from_cfg(cfg).test()


def check_student(config, work, metric):
    """The student, in MMPose without mmpose_kd, measures what it does in training.

    Args:
        config: The shipped config; the present folder is that of its run.
        work: Folder of the run, with two epochs.
        metric: One that must be among those measured.

    Returns:
        Metrics of the model in training.
    """
    run = work / config.name
    trained = tested(run, 'work/epoch_2.pth', config.stem)
    export_student(run, 'work/epoch_2.pth', 'student')
    student = plain_metrics(work.parent, 'student')
    ours = {key: trained[key] for key in student if not key.endswith('time')}
    assert metric in ours
    assert ours == {key: pytest.approx(student[key], rel=1e-9, nan_ok=True) for key in ours}
    return trained


@pytest.fixture
def folder(tmp_path):
    """An empty folder that is removed at once: checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize('config', ONLINE, ids=lambda p: p.stem)
def test_config_trains_resumes_tests_and_exports(config, folder, monkeypatch):
    lay_out(config, folder)
    cfg = Config.fromfile(config)
    hourglass = cfg.model.head.backbone.type == 'HourglassNet'
    options = ['--work-dir', 'work', '--cfg-options', *RUN, *(NARROW if hourglass else OFFLINE)]
    train = ['mim', 'train', 'mmpose', config]
    call(*train, *options, 'train_cfg.max_epochs=1', cwd=folder)
    call(*train, '--resume', *options, 'train_cfg.max_epochs=2', cwd=folder)

    # every output was trained and measured in both epochs
    branches = [f'branch{t}' for t in range(cfg.model.head.num_branches)]
    metric = cfg.default_hooks.checkpoint.save_best
    metric = metric if isinstance(metric, str) else metric[0]
    records = scalars(folder / 'work')
    steps = [record for record in records if 'loss' in record]
    validations = [record for record in records if metric in record]
    assert [step['epoch'] for step in steps] == [1, 2]
    assert {'loss_kpt', 'loss_kpt_branch1', 'loss_ensemble', 'loss_kd'} <= set(steps[-1])
    assert all(np.isfinite(step['loss']) for step in steps)
    assert [validation['step'] for validation in validations] == [1, 2]
    assert {f'{name}/{metric}' for name in [*branches, 'ensemble']} <= set(validations[-1])
    assert list((folder / 'work').glob(f'best_{metric.replace("/", "_")}_epoch_*.pth'))
    last = read_checkpoint(folder / 'work/epoch_2.pth')
    assert (last['meta']['epoch'], last['meta']['iter']) == (2, 2)

    # the student measures in MMPose what its branch does
    run = folder / 'work' / config.name
    monkeypatch.chdir(folder)
    trained = tested(run, 'work/epoch_2.pth', config.stem)
    assert {f'{name}/{metric}' for name in [*branches, 'ensemble']} <= set(trained)
    export_student(run, 'work/epoch_2.pth', 'best', branch='best')
    export_student(run, 'work/epoch_2.pth', 'student', branch=len(branches) - 1)
    student = plain_metrics(folder, 'student', own_parts=config in OWN_PARTS)
    ours = {key: trained[f'{branches[-1]}/{key}'] for key in student if not key.endswith('time')}
    assert metric in ours
    assert ours == {key: pytest.approx(student[key], rel=1e-9, nan_ok=True) for key in ours}


# No weights are fetched; what the teacher knows does not matter here.
UNTRAINED = [
    'model.teachers.0.checkpoint=None',
    'model.student.init_cfg=None',
    'model.student.backbone.init_cfg=None',
]


@pytest.mark.parametrize('config', TAUGHT, ids=lambda p: p.stem)
def test_config_with_a_teacher_trains_resumes_tests_and_exports(config, folder, monkeypatch):
    lay_out(config, folder)
    cfg = Config.fromfile(config)
    if 'Albumentation' in cfg.pretty_text:
        pytest.importorskip('albumentations')  # MMPose's own extra
    options = ['--work-dir', 'work', '--cfg-options', *RUN, *UNTRAINED]
    train = ['mim', 'train', 'mmpose', config]
    call(*train, *options, 'train_cfg.max_epochs=1', cwd=folder)
    call(*train, '--resume', *options, 'train_cfg.max_epochs=2', cwd=folder)

    metric = cfg.default_hooks.checkpoint.save_best
    records = scalars(folder / 'work')
    steps = [record for record in records if 'loss' in record]
    assert [step['epoch'] for step in steps] == [1, 2]
    assert {f'loss_{entry.name}' for entry in cfg.model.distill} <= set(steps[-1])
    assert all(np.isfinite(step['loss']) for step in steps)
    assert [record['step'] for record in records if metric in record] == [1, 2]
    logs = [path.read_text() for path in (folder / 'work').glob('*/*.log')]
    assert sum('\nteacher  ' in log and metric.split('/')[-1] in log for log in logs) == 1
    last = read_checkpoint(folder / 'work/epoch_2.pth')
    assert all(key.startswith(('student.', 'distill.')) for key in last['state_dict'])

    monkeypatch.chdir(folder)
    check_student(config, folder / 'work', metric)


@pytest.mark.parametrize('config', BESIDE, ids=lambda p: p.stem)
def test_config_with_a_heatmap_head_beside_trains_resumes_tests_and_exports(
    config, folder, monkeypatch
):
    lay_out(config, folder)
    cfg = Config.fromfile(config)
    if 'Albumentation' in cfg.pretty_text:
        pytest.importorskip('albumentations')
    options = ['--work-dir', 'work', '--cfg-options', *RUN, 'model.backbone.init_cfg=None']
    train = ['mim', 'train', 'mmpose', config]
    call(*train, *options, 'train_cfg.max_epochs=1', cwd=folder)
    call(*train, '--resume', *options, 'train_cfg.max_epochs=2', cwd=folder)

    metric = cfg.default_hooks.checkpoint.save_best
    heads = ['deploy', 'heatmap', *(['assistant'] if 'assistant' in cfg.model.head else [])]
    records = scalars(folder / 'work')
    steps = [record for record in records if 'loss' in record]
    validations = [record for record in records if metric in record]
    assert [step['epoch'] for step in steps] == [1, 2]
    losses = {'loss_kpt', 'loss_heatmap', 'loss_cross'}
    if 'assistant' in heads:
        losses |= {'loss_assistant', 'loss_from_assistant'}
    assert losses <= set(steps[-1])
    assert all(np.isfinite(step['loss']) and step['heatmap_factor'] > 0 for step in steps)
    assert [validation['step'] for validation in validations] == [1, 2]
    assert {f'{head}/{metric}' for head in heads} <= set(validations[-1])
    assert list((folder / 'work').glob(f'best_{metric.replace("/", "_")}_epoch_*.pth'))
    last = read_checkpoint(folder / 'work/epoch_2.pth')
    state = last.get('ema_state_dict') or last['state_dict']  # EMAHook has them exchanged
    balance = [value for key, value in state.items() if key.endswith('head.balance.step')]
    assert balance == [2]  # it went on where the first epoch ended

    monkeypatch.chdir(folder)
    trained = check_student(config, folder / 'work', metric)
    assert trained[metric] == pytest.approx(trained[f'deploy/{metric}'], nan_ok=True)
    assert f'heatmap/{metric}' in trained


@pytest.mark.parametrize('config', SELF, ids=lambda p: p.stem)
def test_config_with_its_own_guides_trains_resumes_tests_and_exports(config, folder, monkeypatch):
    lay_out(config, folder)
    cfg = Config.fromfile(config)
    number = len(cfg.custom_hooks) - 1
    options = ['model.backbone.init_cfg=None']  # its guides: copies of the run itself
    options += [f'custom_hooks.{number}.{s}' for s in ('guides=generations', 'num_guides=1')]
    if 'teachers' in cfg.custom_hooks[number]:
        options.append(f'custom_hooks.{number}.teachers.0.checkpoint=None')
    train = ['mim', 'train', 'mmpose', config]
    options = ['--work-dir', 'work', '--cfg-options', *RUN, *options, 'train_cfg.max_epochs=2']
    call(*train, *options, cwd=folder)
    (folder / 'work/last_checkpoint').write_text(str(folder / 'work/epoch_1.pth'))
    call(*train, '--resume', *options, cwd=folder)

    metric = cfg.default_hooks.checkpoint.save_best
    steps = [record for record in scalars(folder / 'work') if 'loss' in record]
    assert [step['epoch'] for step in steps] == [1, 2, 2]
    assert {'loss_dskd_kd', 'loss_dskd_cls'} <= set(steps[-1])
    assert all(np.isfinite(step['loss']) for step in steps)
    last = read_checkpoint(folder / 'work/epoch_2.pth')
    assert [g['file'] for g in last['dskd']['guides']][-1] == 'dskd_epoch_1.pth'

    monkeypatch.chdir(folder)
    check_student(config, folder / 'work', metric)
