"""OCDHead in MMPose's runner: validated with both heads, resumed, exported; two processes."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner

from mmpose_kd.export import export_student

from ..helpers import ROOT
from ..helpers.models import SIZE, build, images, randomize, total
from ..helpers.ocd import codec_of, ocd_of, samples, train
from ..helpers.runs import draw, run_config

KIND = 'regression'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def ocd(data, work_dir):
    """Two epochs of training, both heads validated after each."""
    model = ocd_of(KIND, balance=dict(interval=3), cross_schedule=dict(type='linear_decay'))
    model['head']['deploy']['head']['num_joints'] = 17
    model['head']['heatmap']['out_channels'] = 17
    model['test_cfg']['branch'] = 'all'
    cfg = run_config(data, work_dir, model)
    cfg['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec_of(KIND)
    return cfg


def test_a_run_with_two_necks_is_refused_before_its_first_step(data, tmp_path):
    cfg = ocd(data, tmp_path / 'work')
    cfg['model']['neck'] = dict(type='FeatureMapProcessor')
    with pytest.raises(ValueError, match=r'model\.neck and model\.head\.deploy\.neck'):
        train(cfg)
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_a_resumed_run_ends_with_the_same_weights_and_balance(data, tmp_path):
    whole, parts = (ocd(data, tmp_path / name) for name in ('whole', 'parts'))
    expected = train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop=True)
    found = train(parts, resume=True)
    one, two = (runner.model.state_dict() for runner in (expected, found))
    assert one.keys() == two.keys() and 'head.balance.norms' in one
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert int(one['head.balance.step']) == expected.iter


def test_both_heads_are_validated_and_the_exported_student_scores_the_same(data, tmp_path):
    runner = train(ocd(data, tmp_path / 'work'))
    metrics = runner.val()
    assert {'EPE', 'deploy/EPE', 'heatmap/EPE', 'deploy/coco/AP'} <= metrics.keys()
    assert metrics['EPE'] == metrics['deploy/EPE'] != metrics['heatmap/EPE']

    runner.cfg.dump(tmp_path / 'ocd.py')
    export_student(tmp_path / 'ocd.py', tmp_path / 'work/epoch_2.pth', tmp_path / 'out')
    student = Config.fromfile(tmp_path / 'out/student.py')
    assert 'mmpose_kd' not in (tmp_path / 'out/student.py').read_text()
    encoder = student.train_dataloader.dataset.pipeline[-2].encoder
    assert encoder.to_dict() == dict(type='RegressionLabel', input_size=SIZE)
    student.update(load_from=str(tmp_path / 'out/student.pth'), work_dir=str(tmp_path / 'test'))
    student.experiment_name = uuid.uuid4().hex
    assert Runner.from_cfg(student).test()['EPE'] == metrics['EPE']


# ------------------------------------------------------------------- two processes

CASES = {'regression': False, 'regression balanced': dict(interval=1), 'simcc': dict(interval=1)}


def steps(case, part=slice(None), wrap=lambda model: model):
    """Factors and gradients of two steps with other pictures, of a part of each batch."""
    kind = case.split()[0]
    model = randomize(build(ocd_of(kind, balance=CASES[case])))
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eval()  # else it would see half of a batch
    run, found = wrap(model), []
    for step in range(2):
        model.zero_grad()
        batch = samples(kind, 4, seed=step, hidden=(step,))
        losses = run(images(4, seed=step)[part], batch[part], mode='loss')
        total(losses).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
        if model.head.balance is not None:  # its averages are also those of one process
            gradients['balance.norms'] = model.head.balance.norms.clone()
        found.append((float(losses['heatmap_factor']), gradients))
    return found


def in_two_processes(out):
    """Each sees half of every batch. A parameter left out of a step fails in the next."""
    torch.distributed.init_process_group('gloo')
    rank = torch.distributed.get_rank()
    part = slice(2 * rank, 2 * rank + 2)

    def wrap(model):
        return MMDistributedDataParallel(model, broadcast_buffers=False)

    found = {case: steps(case, part, wrap) for case in CASES}
    torch.save(found, Path(out, f'{rank}.pth'))


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """What both processes found."""
    folder = tmp_path_factory.mktemp('ddp')
    code = (
        f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
        'from tests.helpers.processes import forked\n'
        'from tests.ocd_tcd import test_runs\n'
        f'forked(lambda: test_runs.in_two_processes({str(folder)!r}))\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_two_processes_get_the_same_factor_and_gradients(two, case):
    for (factor, gradients), (other, others) in zip(*(found[case] for found in two)):
        assert factor == other
        assert all(torch.equal(gradients[name], others[name]) for name in gradients)


@pytest.mark.slow
@pytest.mark.parametrize('case', ['regression', 'regression balanced'])  # SimCC's loss is a sum
def test_two_processes_get_the_gradients_of_one_with_the_joined_batch(two, case):
    for (factor, gradients), (expected, alone) in zip(two[0][case], steps(case)):
        assert factor == pytest.approx(expected, rel=1e-4)
        for name, gradient in alone.items():
            difference = (gradients[name] - gradient).abs().max()
            assert difference <= 1e-4 * gradient.abs().max(), name


def test_each_half_of_the_batch_alone_would_have_another_factor():
    """So that the two processes have to agree on that of the whole."""
    (factor, _), *_ = steps('regression balanced')
    for rank in range(2):
        (alone, _), *_ = steps('regression balanced', slice(2 * rank, 2 * rank + 2))
        assert alone != pytest.approx(factor, rel=1e-2)
