"""``mmpose-kd verify``: what a dry run says, what it refuses, what it leaves."""

import copy
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS

from mmpose_kd.cli import main
from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.gain.stock.student_costs import Network, count
from mmpose_kd.verify import Settings, VerifyError, verify
from mmpose_kd.verify.run import iterations

from ..cli.test_cli import command
from ..helpers import ROOT
from ..helpers.configs import CONFIGS
from ..helpers.distillers import saved_teacher
from ..helpers.dskd_runs import dskd_config
from ..helpers.models import RESNET, plain_config
from ..helpers.ocd import HEADS, plain_of
from ..helpers.runs import draw, run_config

STOCK = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def plain_model():
    model = plain_config(RESNET)
    model['head']['out_channels'] = 17
    return model


def written(data, folder, model=None, **changes):
    """A config in a file, for drawn people; an OKDHP model if none is given."""
    cfg = run_config(data, folder / 'work', copy.deepcopy(model))
    cfg.update(changes)
    Config(cfg).dump(folder / 'own.py')
    return str(folder / 'own.py')


def check_nothing_is_left(folder, *files):
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)


# ------------------------------------------------------------------------- what it says


def test_a_dry_run_tells_what_a_training_takes_and_leaves_nothing(data, tmp_path, capsys):
    """OKDHP on drawn people, from their config's own place and from another one."""
    path = written(Path('data/mine'), tmp_path)
    state = np.random.get_state()[1].copy()
    scope = DefaultScope.get_current_instance().scope_name
    assert main(['verify', path]) == 1
    error = capsys.readouterr().err
    assert "train_dataloader.dataset.data_root='data/mine': no such folder: put" in error
    assert main(['verify', path, '--data-root', str(data), '--num-images', '3']) == 0
    text = capsys.readouterr().out
    networks, facts = text.split('\n\n')
    assert re.search(r'^student, as deployed +[\d,]+ +[\d,]+ +0\.\d+ G$', networks, re.MULTILINE)
    rows = dict(re.split(r' {2,}', line, maxsplit=1) for line in facts.splitlines()[1:])
    assert rows['training data'] == '15 samples' and rows['batch'] == '4 pictures'
    assert re.match(r'3 of 5 samples, measured: EPE, branch0/EPE, ', rows['validation'])
    assert 'loss_kd' in rows['3 steps'] and 'GiB' in rows['memory']
    assert '2 epochs x 4 iterations = 8 steps' in rows['whole run']
    assert '1 x CPU' in rows['whole run'] and '4 pictures each' in rows['whole run']
    check_nothing_is_left(tmp_path, 'own.py')
    assert not Path('data/mine').exists()
    assert (np.random.get_state()[1] == state).all()
    assert DefaultScope.get_current_instance().scope_name == scope


@pytest.mark.slow
def test_student_and_training_are_counted_apart(data, tmp_path):
    """The student as MMEngine counts it, its branches beside it."""
    path = written(data, tmp_path)
    student, training = verify(Settings(path)).found.costs
    cfg = Config.fromfile(path)
    plain = MODELS.build(plain_model())
    model = MODELS.build(cfg.model)
    assert student.parameters == sum(p.numel() for p in plain.parameters())
    assert training.parameters == sum(p.numel() for p in model.parameters())
    assert training.trained == training.parameters
    stock = count(Network(plain), torch.zeros(1, 3, 64, 32))
    assert student.parameters == stock['parameters']
    # MMEngine also counts normalisation and interpolation
    assert 0.8 * stock['macs'] < student.macs <= stock['macs']
    assert training.macs > 1.3 * student.macs


@pytest.mark.slow
def test_a_teacher_is_counted_apart_and_can_be_left_untrained(data, tmp_path):
    teacher = saved_teacher(tmp_path)
    model = dict(
        type='PoseDistiller', student=plain_model(), teachers=[teacher],
        distill=[dict(loss=dict(type='KeypointMSELoss'), student='head', teacher='head')],
    )  # fmt: skip
    hooks = [dict(type='TeacherMetricsHook')]
    path = written(data, tmp_path, model, custom_hooks=hooks)
    found = verify(Settings(path)).found
    student, training, frozen = found.costs
    assert frozen.name == 'of it model.teachers[0]' and frozen.trained == 0
    assert training.parameters == student.parameters + frozen.parameters
    assert training.macs == pytest.approx(student.macs + frozen.macs)
    Path(teacher['checkpoint']).unlink()
    with pytest.raises(
        VerifyError, match=r'model\.teachers\.0\.checkpoint=.*no such file: put th'
    ):
        verify(Settings(path))
    report = verify(Settings(path, weights=False))
    assert dict(report.facts())['but'] == 'with an untrained teacher'
    assert report.found.costs[2].parameters == frozen.parameters


@pytest.mark.slow
@pytest.mark.parametrize('epochs', [1, 5])
def test_finished_trainings_that_guide_are_replaced_without_weights(data, tmp_path, epochs):
    cfg = dskd_config(data, tmp_path / 'work', epochs=epochs)
    cfg['custom_hooks'][-1] = dict(type='DSKDHook', guides=['a.pth', 'b.pth'])
    Config(cfg).dump(tmp_path / 'own.py')
    with pytest.raises(VerifyError, match=r"custom_hooks\.\d\.guides\.1='b\.pth': no such file"):
        verify(Settings(str(tmp_path / 'own.py')))
    report = verify(Settings(str(tmp_path / 'own.py'), weights=False))
    assert dict(report.facts())['but'] == 'guided by copies of the run itself'
    student, training, *guides = report.found.costs
    assert len(guides) == 2 and report.found.epochs == epochs
    assert (
        training.parameters == 3 * student.parameters
        and training.trained < 2 * training.parameters
    )
    check_nothing_is_left(tmp_path, 'own.py')


@pytest.mark.slow
def test_an_ocd_head_and_a_batch_of_ones_own(data, tmp_path):
    model = plain_of('regression')
    model['head']['num_joints'] = 17
    plain = run_config(data, tmp_path / 'work', model)
    encoder = HEADS['regression']['head']['decoder']
    plain['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = encoder
    cfg = RECIPES['ocd'].distilled(plain)
    Config(cfg).dump(tmp_path / 'own.py')
    report = verify(Settings(str(tmp_path / 'own.py'), batch_size=20, gpus=2))
    rows = dict(report.facts())
    assert "20 pictures (the config's: " in rows['batch'] and 'repeated' in rows['batch']
    assert report.steps == cfg['train_cfg']['max_epochs']
    student, training = report.found.costs
    assert training.parameters > student.parameters


@pytest.mark.slow
def test_a_config_of_mmpose_itself_is_verified(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        STOCK, data_root=str(data), batch_size=2, num_images=2, gpus=8, weights=False,
        options={'val_dataloader.dataset.bbox_file': None},
    )  # fmt: skip
    report = verify(settings)
    student, training = report.found.costs
    assert student.parameters == training.parameters == 9_569_809
    assert 1.4e9 < student.macs < 1.7e9
    assert report.steps == 210 and 'from random weights' in dict(report.facts())['but']
    check_nothing_is_left(tmp_path)


@pytest.mark.slow
def test_a_config_of_ours_on_samples_in_mpiis_format(tmp_path):
    from ..test_samples import SAMPLES, mpii

    if not SAMPLES:
        pytest.skip('MMPOSE_KD_SAMPLES does not name a folder of sample pictures')
    mpii(Path(SAMPLES, 'mpii').resolve(), tmp_path / 'mpii')
    report = verify(
        Settings(
            str(CONFIGS / 'hhd_paper_litehrnet18_mpii.py'), str(tmp_path / 'mpii'),
            batch_size=2, num_images=2, weights=False,
        )
    )  # fmt: skip
    assert 'PCK' in ' '.join(report.found.metrics) and len(report.found.costs) == 3


@pytest.mark.parametrize(
    ('persons', 'batch', 'gpus', 'drop_last', 'steps'),
    [(149813, 64, 8, False, 293), (149813, 64, 8, True, 292), (5, 64, 1, False, 1),
     (5, 64, 1, True, 0), (128, 64, 1, True, 2), (130, 64, 2, False, 2)],
)  # fmt: skip
def test_an_epochs_steps_are_those_of_mmengines_sampler(persons, batch, gpus, drop_last, steps):
    assert iterations(persons, batch, gpus, drop_last) == steps


# ----------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ('code', 'args', 'message'),
    [
        (1, ('none.py',), 'none.py cannot be read as a config'),
        (1, ('own.py', '--data-root', 'nowhere'), '--data-root nowhere: there is no such folder'),
        (1, ('own.py',), 'own.py has no train_dataloader: give the config of a training'),
        (2, ('own.py', '--batch-size', '0'), "'0' is not a whole number above 0"),
        (2, ('own.py', '--device', 'tpu'), "'tpu' is not one of 'cpu', 'cuda'"),
        (2, (), "Missing argument 'CONFIG'"),
    ],
)
def test_a_mistake_is_named_in_one_line(code, args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own.py').write_text('model = dict(type="TopdownPoseEstimator")\n')
    if '--data-root' in args:
        Config(run_config(Path('data'), Path('work'))).dump(tmp_path / 'own.py')
    assert main(['verify', *args]) == code
    assert message in capsys.readouterr().err.splitlines()[-1]
    check_nothing_is_left(tmp_path, 'own.py')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(VerifyError, match='--device cuda: torch finds no GPU here'):
        verify(Settings(str(tmp_path / 'own.py'), device='cuda'))


@pytest.mark.slow
def test_a_step_that_fails_is_told_in_one_line(data, tmp_path, capsys):
    path = written(data, tmp_path, optim_wrapper=dict(optimizer=dict(type='Adam', lr=-1.0)))
    assert main(['verify', path]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert 'the dry run fails: ' in line and 'learning rate: -1.0' in line
    check_nothing_is_left(tmp_path, 'own.py')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('train_cfg', 'schedule', 'told'),
    [
        (dict(by_epoch=True, max_epochs=3), dict(start=9), 'at 0 in the whole of this run of 3'),
        (dict(by_epoch=False, max_iters=9), dict(start=5), 'the run counts iterations'),
    ],
)
def test_a_schedule_that_the_run_would_refuse_is_refused(
    data, tmp_path, train_cfg, schedule, told
):
    entry = dict(
        loss=dict(type='KeypointMSELoss'), student='head', teacher='head', schedule=schedule
    )
    model = dict(
        type='PoseDistiller', student=plain_model(), teachers=[saved_teacher(tmp_path)],
        distill=[entry],
    )  # fmt: skip
    path = written(data, tmp_path, model, train_cfg=train_cfg)
    with pytest.raises(VerifyError, match=rf'model\.distill\[0\]\.schedule.*{told}'):
        verify(Settings(path))


@pytest.mark.slow
def test_an_interruption_is_one_line_and_leaves_nothing(data, tmp_path):
    path = written(data, tmp_path)
    scratch = tmp_path / 'scratch'
    scratch.mkdir()
    process = subprocess.Popen(
        command('verify', path),
        env=dict(os.environ, PYTHONPATH=str(ROOT), TMPDIR=str(scratch)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 300
        while not list(scratch.glob('mmpose-kd-*/*')):  # the runner has begun
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        shown, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and shown == ''
    assert error.splitlines()[-1] == 'mmpose-kd: interrupted'
    assert 'Traceback' not in error
    assert not list(scratch.glob('mmpose-kd-*'))
    check_nothing_is_left(tmp_path, 'own.py', 'scratch')
