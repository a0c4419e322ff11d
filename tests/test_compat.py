"""The stack is checked and prepared before MMPose is imported."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mmpose_kd
from mmpose_kd.compat import (
    Requirement,
    UnsupportedStackError,
    check_versions,
    installed_version,
    mmpose_needs_us,
    silence_upstream,
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
    shutil.copytree(source, tmp_path / 'mmcv', ignore=shutil.ignore_patterns('_ext*'))
    return tmp_path


def test_lite_mmcv_fails_by_itself(lite_mmcv):
    done = python('import mmcv.ops', lite_mmcv)
    assert "No module named 'mmcv._ext'" in done.stderr


def test_operators_of_a_lite_mmcv_import_and_say_what_is_missing_when_called(lite_mmcv):
    done = python('import mmpose_kd' + CALL_AN_OP, lite_mmcv)
    assert "NotImplementedError: the mmcv operator 'nms' was called" in done.stderr
    assert 'install the full mmcv' in done.stderr


@pytest.mark.slow
def test_mmcv_finds_a_proper_module_spec(lite_mmcv):
    done = python(
        'import mmpose_kd.compat, sys, importlib.util\n'
        "assert 'mmcv._ext' in sys.modules\n"
        'from mmcv.utils.ext_loader import check_ops_exist\n'
        "print(check_ops_exist(), importlib.util.find_spec('mmcv._ext').name)",
        lite_mmcv,
    )
    assert done.stdout.split() == ['True', 'mmcv._ext'], done.stderr


@pytest.mark.slow
def test_a_broken_compiled_extension_keeps_its_own_error(lite_mmcv):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (lite_mmcv / 'mmcv' / f'_ext{suffix}').write_bytes(b'not a library')
    done = python('import mmpose_kd.compat; import mmcv.ops', lite_mmcv)
    assert done.returncode == 1
    assert 'ImportError' in done.stderr
    assert 'NotImplementedError' not in done.stderr
    assert f'_ext{suffix}' in done.stderr


def test_one_command_makes_stock_mmpose_work_alone(lite_mmcv):
    command = [sys.executable, '-m', 'mmpose_kd.cli', 'setup-mmcv']
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, [lite_mmcv, ROOT])))
    told = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert f'wrote a stand-in: {lite_mmcv / "mmcv" / "_ext.py"}' in told
    # As a file it needs nothing of mmpose_kd, and brings the copy up to date.
    env = dict(os.environ, PYTHONPATH=str(lite_mmcv))
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


@pytest.mark.parametrize(('folder', 'needed'), [(STUB.parent, True), (Path('mmcv'), False)])
def test_it_is_known_whether_mmpose_works_without_us(monkeypatch, folder, needed):
    extension = SimpleNamespace(__file__=str(folder / '_ext.py'))
    monkeypatch.setitem(sys.modules, 'mmcv._ext', extension)
    assert mmpose_needs_us() == needed


# Warnings

METAINFO = 'The metainfo config file "{}/coco.py" does not exist. A matched config file "x" ...'


@pytest.mark.parametrize(
    ('message', 'module', 'shown'),
    [
        ('pkg_resources is deprecated as an API. See ...', 'mmengine.utils.package_utils', False),
        ('pkg_resources is deprecated as an API. See ...', 'my_project.data', True),
        (METAINFO.format('configs/_base_/datasets'), 'mmpose.datasets.datasets.utils', False),
        (METAINFO.format('configs/my'), 'mmpose.datasets.datasets.utils', True),
        ('something else', 'mmpose.datasets.datasets.utils', True),
    ],
)
def test_warnings_of_upstream_are_left_out_and_no_others(message, module, shown):
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        silence_upstream()
        warnings.warn_explicit(message, UserWarning, 'file.py', 1, module=module)
    assert len(told) == shown


def test_what_the_user_asks_to_see_is_seen():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        silence_upstream()
        warnings.warn_explicit(
            'pkg_resources is deprecated as an API', UserWarning, 'file.py', 1, module='importlib'
        )
    assert len(told) == 1


def test_a_config_of_mmposes_is_read_without_a_warning():
    done = python(
        'import mmpose_kd\nfrom mmengine.hub import get_config\n'
        "print(get_config('mmpose::body_2d_keypoint/topdown_heatmap/coco/'\n"
        "                 'td-hm_res50_8xb64-210e_coco-256x192.py').model.type)"
    )
    assert (done.stdout.strip(), done.stderr) == ('TopdownPoseEstimator', '')


# Import time


@pytest.mark.slow  # a time
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
