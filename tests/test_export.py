"""Export: a trained branch becomes a plain MMPose model, or nothing is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from build import build, images, okdhp_config, plain_config
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.registry import MODELS
from runs import EPOCHS, draw, run_config

from mmpose_kd.export import ExportError, export_student
from mmpose_kd.records import validation_record


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A finished run: its work directory, with config and checkpoints."""
    folder = tmp_path_factory.mktemp('run')
    cfg = Config(run_config(draw(folder / 'data'), folder / 'work'))
    cfg.dump(folder / 'okdhp.py')
    Runner.from_cfg(Config.fromfile(folder / 'okdhp.py')).train()
    return folder


def checkpoint(run):
    return run / 'work' / f'epoch_{EPOCHS}.pth'


def load_plain(out):
    model = MODELS.build(Config.fromfile(out / 'student.py').model)
    weights = torch.load(out / 'student.pth', weights_only=True)
    model.load_state_dict(weights['state_dict'], strict=True)
    return model.eval()


@pytest.mark.parametrize('branch', [None, 0, 2])
def test_the_student_is_a_plain_model_with_the_branchs_predictions(run, tmp_path, branch):
    export_student(run / 'okdhp.py', checkpoint(run), tmp_path / 'out', branch)
    plain = load_plain(tmp_path / 'out')
    modules = {type(m).__module__.partition('.')[0] for m in plain.modules()}
    assert 'mmpose_kd' not in modules
    assert 'mmpose_kd' not in (tmp_path / 'out/student.py').read_text()
    trained = build(Config.fromfile(run / 'okdhp.py').model, init=False).eval()
    trained.load_state_dict(torch.load(checkpoint(run), weights_only=True)['state_dict'])
    with torch.no_grad():
        feats = trained.extract_feat(images())
        expected = trained.head.branches[branch or 0](feats)
        assert torch.equal(plain(images(), None, mode='tensor'), expected)


def test_the_student_has_the_weights_layout_of_the_stock_model(run, tmp_path):
    export_student(run / 'okdhp.py', checkpoint(run), tmp_path)
    config = plain_config()
    config['head']['out_channels'] = 17
    stock = build(config)
    state = torch.load(tmp_path / 'student.pth', weights_only=True)['state_dict']
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in stock.state_dict().items()
    }


def test_stock_mmpose_alone_reaches_the_same_ap(run, tmp_path):
    """MMPose's own test tool, in a process where mmpose_kd cannot be imported."""
    export_student(run / 'okdhp.py', checkpoint(run), tmp_path, branch=1)
    record = validation_record(run / 'work', EPOCHS)
    script = f"""
import sys, json
sys.modules['mmpose_kd'] = None  # any import of it fails
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile({str(tmp_path / 'student.py')!r})
cfg.load_from = {str(tmp_path / 'student.pth')!r}
cfg.work_dir = {str(tmp_path / 'test')!r}
print('METRICS', json.dumps({{k: float(v) for k, v in Runner.from_cfg(cfg).test().items()}}))
"""
    stub = Path(__file__).parents[1] / 'mmpose_kd' / '_mmcv_ext_stub.py'
    preload = f"""
import importlib.util, sys
if importlib.util.find_spec('mmcv._ext') is None:
    spec = importlib.util.spec_from_file_location('mmcv._ext', {str(stub)!r})
    sys.modules['mmcv._ext'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules['mmcv._ext'])
"""
    done = subprocess.run(
        [sys.executable, '-c', preload + script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.rpartition('METRICS ')[2])
    assert {'coco/AP', 'EPE'} <= found.keys()
    assert found['EPE'] > 0
    assert found == {name: record[f'branch1/{name}'] for name in found}


def test_validation_reports_every_branch_and_the_ensemble(run):
    record = validation_record(run / 'work', EPOCHS)
    outputs = ['branch0/', 'branch1/', 'branch2/', 'ensemble/']
    assert all(f'{output}coco/AP' in record for output in outputs)
    assert record['EPE'] == record['branch0/EPE']
    # different outputs, not one four times
    assert len({record[f'{output}EPE'] for output in outputs}) == 4


def test_best_takes_the_branch_with_the_best_record(run, tmp_path):
    record = validation_record(run / 'work', EPOCHS)
    errors = [record[f'branch{t}/EPE'] for t in range(3)]
    by_error = tmp_path / 'by_error.py'
    cfg = Config.fromfile(run / 'okdhp.py')
    cfg.default_hooks.checkpoint.update(save_best='EPE', rule='less')
    cfg.dump(by_error)
    export_student(by_error, checkpoint(run), tmp_path / 'best', 'best')
    export_student(by_error, checkpoint(run), tmp_path / 'by_hand', errors.index(min(errors)))
    best, by_hand = (load_plain(tmp_path / name).state_dict() for name in ('best', 'by_hand'))
    assert all(torch.equal(best[k], by_hand[k]) for k in best)


def test_best_without_records_writes_nothing(run, tmp_path):
    alone = tmp_path / 'alone.pth'
    alone.write_bytes(checkpoint(run).read_bytes())
    with pytest.raises(ExportError, match=r'--branch best: no validation'):
        export_student(run / 'okdhp.py', alone, tmp_path / 'out', 'best')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('branch', [3, -1])
def test_a_branch_out_of_range_writes_nothing(run, tmp_path, branch):
    with pytest.raises(ValueError, match=r'--branch=.*0 to 2'):
        export_student(run / 'okdhp.py', checkpoint(run), tmp_path / 'out', branch)
    assert not (tmp_path / 'out').exists()


def test_a_checkpoint_of_another_model_writes_nothing(run, tmp_path):
    torch.save(dict(state_dict=build(plain_config()).state_dict()), tmp_path / 'other.pth')
    with pytest.raises(ExportError, match=r'other.pth does not fit .*okdhp.py'):
        export_student(run / 'okdhp.py', tmp_path / 'other.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_truncated_checkpoint_writes_nothing(run, tmp_path):
    (tmp_path / 'half.pth').write_bytes(checkpoint(run).read_bytes()[:5000])
    with pytest.raises(ExportError, match=r'half.pth cannot be read'):
        export_student(run / 'okdhp.py', tmp_path / 'half.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_plain_model_needs_no_export(run, tmp_path):
    cfg = Config(run_config(run / 'data', tmp_path, plain_config()))
    cfg.dump(tmp_path / 'plain.py')
    torch.save(dict(state_dict=build(cfg.model).state_dict()), tmp_path / 'plain.pth')
    with pytest.raises(ExportError, match='nothing of mmpose_kd'):
        export_student(tmp_path / 'plain.py', tmp_path / 'plain.pth', tmp_path / 'out')


def test_a_student_that_would_predict_otherwise_writes_nothing(run, tmp_path):
    """The check is real: a branch with other weights than the ones written is noticed."""
    from mmpose_kd.export import _check_same_predictions

    one, two = (build(okdhp_config(), seed=s).eval() for s in (0, 1))
    for model in (one, two):
        model.head.branches[0].head.final_layer.weight.data.normal_(generator=torch.Generator())
    with pytest.raises(ExportError, match='does not predict the same as branch 0'):
        _check_same_predictions(one, two, (32, 64), 'branch 0')
    _check_same_predictions(one, one, (32, 64), 'branch 0')


def test_missing_files_are_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth'):
        export_student(run / 'okdhp.py', tmp_path / 'nowhere.pth', tmp_path)


def test_the_students_weights_load_without_numpy_types(run, tmp_path):
    """Plain data only: a process without the package's safe-loading help can read it."""
    export_student(run / 'okdhp.py', checkpoint(run), tmp_path)
    code = f'import torch; torch.load({str(tmp_path / "student.pth")!r}, weights_only=True)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
