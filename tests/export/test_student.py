"""Export: a trained branch becomes a plain MMPose model, or nothing is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.registry import MODELS

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.export import ExportError, export_student
from mmpose_kd.records import validation_record

from ..helpers.models import build, images, okdhp_config, plain_config, randomize
from ..helpers.runs import EPOCHS, run_config


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
    trained.load_state_dict(read_checkpoint(checkpoint(run))['state_dict'])
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


@pytest.mark.slow
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
    stub = Path(__file__).parents[2] / 'mmpose_kd' / '_mmcv_ext_stub.py'
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
    cfg = Config.fromfile(run / 'okdhp.py')
    cfg.work_dir = str(tmp_path / 'elsewhere')
    cfg.dump(tmp_path / 'okdhp.py')
    with pytest.raises(ExportError, match=r'--branch best: no validation'):
        export_student(tmp_path / 'okdhp.py', alone, tmp_path / 'out', 'best')
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


def export_untrained(folder, config, branch=None, **changes):
    """Export a model straight after it was built; changes are to the run's config."""
    cfg = Config(run_config(folder / 'data', folder / 'work', config))
    cfg.merge_from_dict(changes)
    cfg.dump(folder / 'config.py')
    model = randomize(build(cfg.model))
    torch.save(dict(state_dict=model.state_dict()), folder / 'weights.pth')
    export_student(folder / 'config.py', folder / 'weights.pth', folder / 'out', branch)
    return Config.fromfile(folder / 'out/student.py')


def test_the_releases_loss_leaves_no_type_of_ours_behind(tmp_path):
    config = okdhp_config(preset='released', fau=dict(type='FAU', form='released'))
    config['head']['head']['loss'] = dict(type='JointsMSELoss', loss_weight=3.0)
    student = export_untrained(tmp_path, config)
    assert student.model.head.loss == dict(
        type='KeypointMSELoss', use_target_weight=True, loss_weight=1.5
    )


def test_a_type_of_ours_elsewhere_is_refused_with_its_key(tmp_path):
    changes = {'val_evaluator': [dict(type='EPE', hook=dict(type='BranchMetricsHook'))]}
    with pytest.raises(ExportError, match=r"val_evaluator.0.hook.type='BranchMetricsHook'"):
        export_untrained(tmp_path, okdhp_config(), **changes)
    assert not (tmp_path / 'out').exists()


def test_a_folder_named_like_the_package_is_no_trace(tmp_path):
    folder = tmp_path / 'mmpose_kd'
    folder.mkdir()
    assert 'mmpose_kd' in export_untrained(folder, okdhp_config()).val_dataloader.dataset.data_root


def test_imports_of_others_stay_and_help_variables_go(tmp_path):
    student = export_untrained(
        tmp_path, okdhp_config(), custom_imports=dict(imports=['json', 'mmpose_kd']), _help=1
    )
    assert student.custom_imports.imports == ['json']
    assert '_help' not in student
    again = tmp_path / 'again'
    again.mkdir()
    student = export_untrained(again, okdhp_config(), custom_imports=dict(imports='mmpose_kd'))
    assert 'custom_imports' not in student


def test_a_neck_of_a_branch_becomes_the_models_neck(tmp_path):
    neck = dict(type='ChannelMapper', in_channels=[64], out_channels=32, kernel_size=1)
    config = okdhp_config(neck=neck)
    config['head']['head']['in_channels'] = 32
    student = export_untrained(tmp_path, config, branch=2)
    assert student.model.neck == neck


def test_the_averaged_weights_of_an_ema_run_are_exported(run, tmp_path):
    cfg = Config(run_config(run / 'data', tmp_path / 'work'))
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.5))
    cfg.experiment_name = 'ema'
    cfg.dump(tmp_path / 'ema.py')
    Runner.from_cfg(cfg).train()
    checkpoint = tmp_path / 'work' / f'epoch_{EPOCHS}.pth'
    export_student(tmp_path / 'ema.py', checkpoint, tmp_path / 'out')
    saved = read_checkpoint(checkpoint)
    exported = torch.load(tmp_path / 'out/student.pth', weights_only=True)['state_dict']
    key = 'head.branches.0.head.final_layer.weight'
    assert torch.equal(exported['head.final_layer.weight'], saved['state_dict'][key])
    assert not torch.equal(saved['state_dict'][key], saved['ema_state_dict'][f'module.{key}'])


def test_a_config_without_a_model_and_a_file_without_weights_are_named(run, tmp_path):
    (tmp_path / 'empty.py').write_text('train_cfg = dict()\n')
    with pytest.raises(ExportError, match=r'empty.py has no model'):
        export_student(tmp_path / 'empty.py', checkpoint(run), tmp_path / 'out')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(ExportError, match=r'list.pth holds a list'):
        export_student(run / 'okdhp.py', tmp_path / 'list.pth', tmp_path / 'out')


def test_a_student_that_would_predict_otherwise_writes_nothing(run, tmp_path):
    """The check is real: a branch with other weights than the ones written is noticed."""
    from mmpose_kd.export.student import _check_same_predictions

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
