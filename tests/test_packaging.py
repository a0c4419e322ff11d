import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from mmengine.config import Config
from modelindex.load_model_index import load

import mmpose_kd

from .helpers.models import okdhp_config, plain_config
from .helpers.runs import draw, run_config

ROOT = Path(mmpose_kd.__file__).resolve().parents[1]
MIM = ROOT / 'mmpose_kd' / '.mim'
CONFIG = 'okdhp_hrnet_coco.py'

pytestmark = pytest.mark.skipif(
    not (ROOT / 'setup.py').is_file(), reason='the sources of mmpose-kd are not here'
)


def call(*args, cwd):
    """Run a command away from the sources and return what it printed."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run(
        [str(arg) for arg in args],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """A copy of the sources, so that a build leaves nothing in them."""
    target = tmp_path_factory.mktemp('sources') / 'mmpose-kd'
    shutil.copytree(
        ROOT,
        target,
        symlinks=True,
        ignore=shutil.ignore_patterns(
            '.git', '.venv', '__pycache__', '.*_cache', '*.egg-info', 'build', 'dist', '*_out',
            'work_dirs',
        ),
    )  # fmt: skip
    return target


def build(sources, kind):
    """Build a 'wheel' or an 'sdist' and return its path."""
    hook = f'from setuptools import build_meta as b; b.build_{kind}("dist")'
    code, shown = call(sys.executable, '-c', hook, cwd=sources)
    assert code == 0, shown
    (path,) = (sources / 'dist').glob('*.whl' if kind == 'wheel' else '*.tar.gz')
    return path


@pytest.fixture(scope='module')
def metadata(sources):
    hook = 'from setuptools import build_meta as b; b.prepare_metadata_for_build_wheel(".")'
    code, shown = call(sys.executable, '-c', hook, cwd=sources)
    assert code == 0, shown
    (info,) = sources.glob('*.dist-info')
    return Parser().parsestr((info / 'METADATA').read_text()), info


def test_installing_changes_nothing_of_the_users_stack(metadata):
    required = metadata[0].get_all('Requires-Dist')
    assert all(re.search(r'extra == .onnx.$', one) for one in required)
    assert {one.partition(';')[0].strip() for one in required} == {
        'onnx', 'onnxruntime', 'onnxscript'
    }  # fmt: skip


def test_metadata_names_licence_python_and_command(metadata):
    fields, info = metadata
    assert fields['Name'] == 'mmpose-kd'
    assert 'Apache-2.0' in (fields['License-Expression'] or fields['License'])
    assert fields['Requires-Python'] == '>=3.9'
    entry_points = (info / 'entry_points.txt').read_text()
    assert 'mmpose-kd = mmpose_kd.cli:main' in entry_points


def test_the_version_is_written_in_one_place(metadata):
    assert metadata[0]['Version'] == mmpose_kd.version.__version__
    written = [
        path.relative_to(ROOT).as_posix()
        for path in [ROOT / 'setup.py', ROOT / 'pyproject.toml', *ROOT.glob('mmpose_kd/**/*.py')]
        if re.search(r'^\s*(__version__|version) ?= ?[\'"]\d', path.read_text(), re.MULTILINE)
    ]
    assert written == ['mmpose_kd/version.py']


def test_every_package_is_typed_and_has_an_init(metadata):
    assert (ROOT / 'mmpose_kd' / 'py.typed').is_file()
    folders = {path.parent for path in (ROOT / 'mmpose_kd').rglob('*.py')}
    without = [
        folder
        for folder in folders
        if not folder.is_relative_to(MIM) and not (folder / '__init__.py').is_file()
    ]
    assert without == []


def test_the_model_index_names_configs_that_exist():
    models = load(str(MIM / 'model-index.yml')).models
    names = [model.name for model in models]
    assert 'okdhp_hrnet_coco' in names
    assert not [name for name in names if '.' in name]
    assert [model.config for model in models if not (ROOT / model.config).is_file()] == []


def test_every_config_has_a_name_of_its_own_by_which_mim_finds_it():
    names = [path.name for path in (ROOT / 'configs').rglob('*.py')]
    assert CONFIG in names
    assert len(names) == len(set(names))


# What follows builds and installs, next to the packages that are already there.


@pytest.fixture
def environment(tmp_path):
    """An empty environment that sees the packages of the running one, but not mmpose_kd."""
    call(sys.executable, '-m', 'venv', '--without-pip', tmp_path / 'env', cwd=tmp_path)
    python = tmp_path / 'env' / 'bin' / 'python'
    code, site = call(
        python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=tmp_path
    )
    assert code == 0, site
    site = Path(site.strip())
    (site / 'stack.pth').write_text(sysconfig.get_path('purelib') + '\n')
    return python, site


def install(python, *what, cwd):
    code, shown = call(
        python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--ignore-installed',
        '--no-build-isolation', *what, cwd=cwd,
    )  # fmt: skip
    assert code == 0, shown


def configs_of(sources):
    return {
        path.relative_to(sources / 'configs').as_posix()
        for path in (sources / 'configs').rglob('*')
        if path.suffix in ('.py', '.yml')
    }


def check_mim(python, package, cwd):
    """mim finds tools, configs and the index of the installed package from any folder."""
    mim = (python, '-W', 'ignore', '-m', 'mim')
    code, shown = call(python, '-W', 'ignore', '-c', 'import mmpose_kd as m; print(m.__file__)',
                       cwd=cwd)  # fmt: skip
    assert shown.splitlines()[-1] == str(package / '__init__.py')

    code, shown = call(*mim, 'search', 'mmpose-kd', cwd=cwd)
    assert code == 0, shown
    assert 'config id: okdhp_hrnet_coco' in shown

    # there are no checkpoints: what mim says last names the reason and the way
    code, shown = call(*mim, 'download', 'mmpose-kd', '--config', Path(CONFIG).stem, cwd=cwd)
    told = 'no_checkpoints_are_published,_train_your_own_with_mim_train_mmpose-kd'
    assert code and told in shown.partition('Expected fields')[2], shown

    # It gets as far as the data set: the config was read, inherited from MMPose's, and the
    # model built.
    stop = 'train_dataloader.dataset.type=NoSuchDataset'
    code, shown = call(*mim, 'train', 'mmpose-kd', CONFIG, '--gpus', '0', '--cfg-options', stop,
                       cwd=cwd)  # fmt: skip
    assert code != 0
    found = (package / '.mim' / 'configs' / CONFIG).resolve()
    assert f'will use {found} instead' in shown
    assert 'NoSuchDataset is not in the mmpose::dataset registry' in shown


def in_package(names, prefix):
    """Names below mmpose_kd/.mim in an archive."""
    start = f'{prefix}mmpose_kd/.mim/'
    return {name[len(start) :] for name in names if name.startswith(start)}


@pytest.mark.slow
def test_a_wheel_carries_mim_and_mim_works_from_any_folder(sources, environment, tmp_path):
    wheel = build(sources, 'wheel')
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    expected = {'model-index.yml', 'tools/train.py', 'tools/test.py'}
    expected |= {f'configs/{name}' for name in configs_of(sources)}
    assert in_package(names, '') == expected
    assert 'mmpose_kd/py.typed' in names
    assert {'mmpose_kd/gain/stock/evaluate_student.py', 'mmpose_kd/cli/gain.py'} <= set(names)
    assert not [name for name in names if name.startswith(('tests/', 'configs/', 'benchmarks/'))]

    python, site = environment
    install(python, wheel, cwd=tmp_path)
    check_mim(python, site / 'mmpose_kd', tmp_path)
    code, shown = call(python.with_name('mmpose-kd'), '--version', cwd=tmp_path)
    assert code == 0, shown
    assert f'mmpose-kd {mmpose_kd.version.__version__}' in shown


@pytest.mark.slow
def test_an_installed_wheel_compares_models_in_any_folder(sources, environment, tmp_path):
    python, _ = environment
    install(python, build(sources, 'wheel'), cwd=tmp_path)
    here = tmp_path / 'here'
    draw(here / 'data')
    for name, model in (('plain', plain_config()), ('okdhp', okdhp_config())):
        head = model['head'] if name == 'plain' else model['head']['head']
        head['out_channels'] = 17
        cfg = run_config(Path('data'), Path('work'), model)
        Config({**cfg, 'custom_hooks': []}).dump(here / f'{name}.py')
    code, shown = call(
        python.with_name('mmpose-kd'), 'gain', 'plain.py', 'okdhp.py', '--out', 'out', '--seeds',
        '0', '--epochs', '1', '--no-equal-wall-time', cwd=here,
    )  # fmt: skip
    assert code == 0, shown
    assert '2 of 2 runs done' in shown
    assert 'okdhp over plain, same epochs (all persons, 1 epochs)' in shown
    assert '## Cost of the students' in (here / 'out/results.md').read_text()


@pytest.mark.slow
def test_an_sdist_holds_real_files_and_installs(sources, environment, tmp_path):
    sdist = build(sources, 'sdist')
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    prefix = f'mmpose_kd-{mmpose_kd.version.__version__}/'
    files = {member.name for member in members if member.isfile()}
    expected = {'model-index.yml', 'tools/train.py', 'tools/test.py'}
    expected |= {f'configs/{name}' for name in configs_of(sources)}
    assert in_package(files, prefix) == expected
    more = {
        'LICENSE',
        'requirements/3.12/stack.txt',
        'requirements/pins.py',
        'benchmarks/gain/torso_pck.py',
    }
    assert {prefix + name for name in more} <= files

    python, site = environment
    install(python, sdist, cwd=tmp_path)
    check_mim(python, site / 'mmpose_kd', tmp_path)


@pytest.mark.slow
def test_an_editable_install_serves_the_sources_themselves(sources, environment, tmp_path):
    python, site = environment
    install(python, '-e', sources, cwd=tmp_path)
    assert not (site / 'mmpose_kd').exists()
    check_mim(python, sources / 'mmpose_kd', tmp_path)
