import importlib.machinery
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

import mmpose_kd
from mmpose_kd.compat import (
    HISTORY_STATISTICS,
    Requirement,
    UnsupportedStackError,
    check_versions,
    history_buffer_method,
    installed_version,
)

ROOT = Path(mmpose_kd.__file__).resolve().parents[1]
STUB = ROOT / 'mmpose_kd' / '_mmcv_ext_stub.py'
# Handed to a fresh interpreter: what an already loaded `mmpose_kd` did must not count there.
CALL_AN_OP = """
import torch
from mmcv.ops import nms
nms(torch.rand(3, 4), torch.rand(3), 0.5)
"""


def python(code, *path):
    """Run code in a fresh interpreter that looks for modules in path first."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, [*path, ROOT])))
    return subprocess.run(
        [sys.executable, '-c', code], env=env, capture_output=True, text=True, check=False
    )


# Versions


def test_the_installed_stack_is_supported():
    assert check_versions() is None


def test_one_error_names_every_problem_and_its_cure():
    wanted = (
        Requirement('numpy', '>=99', '"numpy>=99"', ('numpy',)),
        Requirement('no_such_module', '>=1', '"no-such-module>=1"', ('no-such-module',)),
        Requirement('torch', '>=2.0', '"torch>=2.0"', ('torch',)),
    )
    with pytest.raises(UnsupportedStackError) as caught:
        check_versions(wanted)
    message = str(caught.value)
    assert (
        f'numpy: found {np.__version__}, supported >=99; install it with: pip install "numpy>=99"'
    ) in message
    assert (
        'no_such_module: found none, supported >=1; '
        'install it with: pip install "no-such-module>=1"'
    ) in message
    assert 'torch' not in message
    assert isinstance(caught.value, ImportError)


def test_import_refuses_an_old_mmpose(tmp_path):
    info = tmp_path / 'mmpose-0.29.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: mmpose\nVersion: 0.29.0\n')
    done = python('import mmpose_kd', tmp_path)
    assert done.returncode == 1
    assert 'UnsupportedStackError' in done.stderr
    assert 'mmpose: found 0.29.0, supported >=1.1.0,<2' in done.stderr


def package(folder, name, version):
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(f'__version__ = {version!r}\n')


def distribution(folder, name, version):
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


@pytest.mark.parametrize(
    ('installed', 'expected'),
    [
        ({}, '1.2'),  # a source folder on the path: the module is asked
        ({'kdtest': '1.1'}, '1.1'),
        ({'onedl_kdtest': '1.1'}, '1.1'),
        ({'kdtest': '1.1', 'onedl_kdtest': '1.3'}, '1.2'),  # either may be there: ask it
    ],
)
def test_version_is_found_for_forks_and_source_folders(tmp_path, monkeypatch, installed, expected):
    package(tmp_path, 'kdtest', '1.2')
    for name, version in installed.items():
        distribution(tmp_path, name, version)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'kdtest', raising=False)
    found = installed_version(Requirement('kdtest', '', '', ('kdtest', 'onedl-kdtest')))
    assert found == expected


def test_a_folder_left_behind_by_an_uninstall_is_not_a_version(tmp_path, monkeypatch):
    (tmp_path / 'kdtest_empty').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_version(Requirement('kdtest_empty', '', '', ('kdtest-empty',))) is None


@pytest.mark.parametrize(
    ('version', 'fits'),
    [('2.0.0', True), ('2.13.0+cpu', True), ('2.0.0rc4', False), ('1.7.2', False), ('x', False)],
)
def test_local_builds_count_and_prereleases_come_before_the_release(
    tmp_path, monkeypatch, version, fits
):
    package(tmp_path, 'kdtest', version)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'kdtest', raising=False)
    requirement = Requirement('kdtest', '>=2.0.0', 'kdtest', ())
    if fits:
        assert check_versions((requirement,)) is None
    else:
        with pytest.raises(UnsupportedStackError, match=f'found {version}, supported'):
            check_versions((requirement,))


# The stand-in for compiled mmcv operators


@pytest.fixture
def lite_mmcv(tmp_path):
    """A folder with a copy of mmcv that has no ``_ext`` of any kind."""
    source = Path(importlib.util.find_spec('mmcv').origin).parent
    shutil.copytree(
        source, tmp_path / 'mmcv', ignore=shutil.ignore_patterns('_ext*', '__pycache__')
    )
    return tmp_path


def test_lite_mmcv_fails_by_itself(lite_mmcv):
    done = python('import mmcv.ops', lite_mmcv)
    assert "No module named 'mmcv._ext'" in done.stderr


def test_operators_of_a_lite_mmcv_import_and_say_what_is_missing_when_called(lite_mmcv):
    done = python('import mmpose_kd' + CALL_AN_OP, lite_mmcv)
    assert "NotImplementedError: the mmcv operator 'nms' was called" in done.stderr
    assert 'install the full mmcv' in done.stderr


def test_mmcv_finds_a_proper_module_spec(lite_mmcv):
    done = python(
        'import mmpose_kd.compat, sys, importlib.util\n'
        "assert 'mmcv._ext' in sys.modules\n"
        'from mmcv.utils.ext_loader import check_ops_exist\n'
        "print(check_ops_exist(), importlib.util.find_spec('mmcv._ext').name)",
        lite_mmcv,
    )
    assert done.stdout.split() == ['True', 'mmcv._ext'], done.stderr


def test_a_broken_compiled_extension_keeps_its_own_error(lite_mmcv):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (lite_mmcv / 'mmcv' / f'_ext{suffix}').write_bytes(b'not a library')
    done = python('import mmpose_kd.compat; import mmcv.ops', lite_mmcv)
    assert done.returncode == 1
    assert 'ImportError' in done.stderr
    assert 'NotImplementedError' not in done.stderr
    assert f'_ext{suffix}' in done.stderr


def test_the_installed_copy_makes_stock_mmpose_work_alone(lite_mmcv):
    env = dict(os.environ, PYTHONPATH=str(lite_mmcv))
    for _ in range(2):  # the second run brings the copy up to date
        subprocess.run([sys.executable, str(STUB)], env=env, check=True, capture_output=True)
    assert (lite_mmcv / 'mmcv' / '_ext.py').read_text() == STUB.read_text()
    code = (
        'import mmpose.models, sys\n'
        "assert not any(name.startswith('mmpose_kd') for name in sys.modules)\n"
        "print('imported')" + CALL_AN_OP
    )
    done = python(code, lite_mmcv)
    assert done.stdout == 'imported\n', done.stderr
    assert "NotImplementedError: the mmcv operator 'nms' was called" in done.stderr


def test_the_installer_leaves_a_compiled_extension_alone(lite_mmcv):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (lite_mmcv / 'mmcv' / f'_ext{suffix}').write_bytes(b'compiled')
    env = dict(os.environ, PYTHONPATH=str(lite_mmcv))
    subprocess.run([sys.executable, str(STUB)], env=env, check=True, capture_output=True)
    assert sorted(path.name for path in (lite_mmcv / 'mmcv').glob('_ext*')) == [f'_ext{suffix}']


def test_the_stub_has_no_dunder_attributes_of_its_own_making():
    spec = importlib.util.spec_from_file_location('stub_under_test', STUB)
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    assert not hasattr(stub, '__path__')
    assert not hasattr(stub, '__all__')
    assert hasattr(stub, 'nms')
    with pytest.raises(NotImplementedError, match="operator 'nms'"):
        stub.nms()


# Import time


def test_import_adds_less_than_300_ms_to_mmpose_models(lite_mmcv):
    subprocess.run(
        [sys.executable, str(STUB)],
        env=dict(os.environ, PYTHONPATH=str(lite_mmcv)),
        check=True,
        capture_output=True,
    )
    done = python(
        'import mmpose.models, time\n'
        'start = time.process_time()\n'
        'import mmpose_kd\n'
        'print(time.process_time() - start)',
        lite_mmcv,
    )
    assert float(done.stdout) < 0.3, done.stderr


# Safe loading of checkpoints


class Points(Dataset):
    METAINFO = dict(sigmas=np.array([0.1, 0.2], dtype=np.float32))
    metainfo = METAINFO

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.full((3,), float(index)))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.linear(torch.stack(inputs)).square().mean())


def runner(work_dir, max_epochs, **more):
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader(
            Points(),
            batch_size=4,
            sampler=DefaultSampler(Points(), shuffle=True),
            collate_fn=pseudo_collate,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, begin=0, end=4, by_epoch=False),
            dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True),
        ],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='EMAHook')],
        experiment_name=f'compat_{max_epochs}',
        **more,
    )


@pytest.fixture
def trained(tmp_path, monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', raising=False)
    run = runner(tmp_path, 1)
    run.train()
    return run, tmp_path / 'epoch_1.pth'


def test_a_training_checkpoint_loads_with_weights_only(trained):
    run, path = trained
    loaded = torch.load(path, weights_only=True)
    assert torch.equal(loaded['ema_state_dict']['module.linear.weight'], run.model.linear.weight)
    kept = loaded['message_hub']['log_scalars']['train/loss']
    assert type(kept) is HistoryBuffer
    assert kept.data[0].tolist() == run.message_hub.get_scalar('train/loss').data[0].tolist()
    assert len(kept.data[0]) == 2
    assert kept.statistics('mean') == run.message_hub.get_scalar('train/loss').mean()
    np.testing.assert_array_equal(
        loaded['meta']['dataset_meta']['sigmas'], Points.METAINFO['sigmas']
    )


def test_a_runner_resumes_from_it(trained):
    run, path = trained
    resumed = runner(path.parent / 'resumed', 3, load_from=str(path), resume=True)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (3, 6)
    before = run.message_hub.get_scalar('train/loss').data[0].tolist()
    after = resumed.message_hub.get_scalar('train/loss').data[0].tolist()
    assert (after[:2], len(after)) == (before, 6)


def test_it_still_loads_after_torchs_own_context_allowed_the_same_classes(trained):
    _, path = trained
    with torch.serialization.safe_globals([HistoryBuffer, np.ndarray, np.dtype]):
        torch.load(path, weights_only=True)
    kept = torch.load(path, weights_only=True)['message_hub']['log_scalars']['train/loss']
    assert type(kept) is HistoryBuffer


def write_pickle(path, pickled):
    """Write a checkpoint whose pickle is the given bytes."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith('/data.pkl') else content)


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_arrays_and_numbers_of_numpy_1_and_2_load(tmp_path, module):
    values = dict(a=np.array([1.5, 2.5]), b=np.float32(0.5), c=np.int64(3), d=np.bool_(True))
    pickled = pickle.dumps(values, protocol=2)
    for name in (b'numpy.core.multiarray', b'numpy._core.multiarray'):
        pickled = pickled.replace(b'c' + name + b'\n', b'c' + module + b'\n')
    assert module in pickled
    write_pickle(tmp_path / 'numpy.pth', pickled)
    loaded = torch.load(tmp_path / 'numpy.pth', weights_only=True)
    assert loaded['a'].tolist() == [1.5, 2.5]
    assert (loaded['b'], loaded['c'], loaded['d']) == (0.5, 3, True)
    assert (loaded['b'].dtype, loaded['c'].dtype) == (np.float32, np.int64)


class Reduces:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Arbitrary:
    pass


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, '__class__'),
        (HistoryBuffer, 'register_statistics'),
        (HistoryBuffer, 'update'),
        (np.ndarray, 'tofile'),
        (np.dtype, 'min'),
        (torch.Tensor, 'mean'),
    ],
)
def test_getattr_in_a_checkpoint_is_refused(tmp_path, owner, name):
    torch.save(Reduces(getattr, owner, name), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError, match='mmpose_kd allows only the methods min, '):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: np.array([x, 1], dtype=object)])
def test_a_command_in_a_checkpoint_is_refused_and_not_run(tmp_path, wrap):
    mark = tmp_path / 'ran'
    torch.save(wrap(Reduces(os.system, f'touch {mark}')), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)
    assert not mark.exists()


def test_empty_arrays_load(tmp_path):
    """Data sets of faces and hands have no sigmas: an empty array in every checkpoint."""
    saved = dict(sigmas=np.array([], dtype=np.float32), weights=np.ones(2))
    torch.save(saved, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    np.testing.assert_array_equal(loaded['sigmas'], saved['sigmas'])
    assert loaded['sigmas'].dtype == np.float32


def test_bytes_in_a_checkpoint_are_never_made_to_measure(tmp_path):
    torch.save(Reduces(bytes, 10**9), tmp_path / 'evil.pth')
    with pytest.raises((TypeError, pickle.UnpicklingError)):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


def test_getattr_leads_to_nothing_that_can_be_called(tmp_path):
    # getattr(builtins.eval, '__self__') would be the module builtins.
    getter = b'cbuiltins\ngetattr\n'
    pickled = b'\x80\x02' + getter + b'cbuiltins\neval\nX\x08\x00\x00\x00__self__\x86R.'
    write_pickle(tmp_path / 'evil.pth', pickled)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)
    # The function that getattr may serve is data: it cannot be called by the checkpoint.
    name = b'X\x03\x00\x00\x00max'
    pickled = b'\x80\x02' + getter + b'cmmengine.logging.history_buffer\nHistoryBuffer\n' + name
    write_pickle(tmp_path / 'evil.pth', pickled + b'\x86R)R.')
    with pytest.raises(pickle.UnpicklingError, match='unrecognized function'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


@pytest.mark.parametrize('value', [Arbitrary(), types.SimpleNamespace(a=1), np.void(b'ab')])
def test_other_classes_are_still_refused(tmp_path, value):
    torch.save(value, tmp_path / 'other.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'other.pth', weights_only=True)


@pytest.mark.parametrize('name', HISTORY_STATISTICS)
def test_history_buffers_own_statistics_are_served(name):
    assert history_buffer_method(HistoryBuffer, name) is getattr(HistoryBuffer, name)


def test_a_text_that_only_claims_to_be_a_name_is_refused():
    class Text(str):
        pass

    with pytest.raises(pickle.UnpicklingError):
        history_buffer_method(HistoryBuffer, Text('min'))
