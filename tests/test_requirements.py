"""The pinned sets and the tried versions: files come from their scripts and say what they mean."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .helpers import ROOT

FOLDER = ROOT / 'requirements'
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason='the requirements of mmpose-kd are not here'
)
sys.path.append(str(FOLDER))

build_xtcocotools = pytest.importorskip('build_xtcocotools')
matrix = pytest.importorskip('matrix')
pins = pytest.importorskip('pins')

every_file = pytest.mark.parametrize(
    ('python', 'name'), [(python, name) for python in pins.PYTHONS for name in pins.NAMES]
)


def lines_of(path):
    return [line for line in path.read_text().splitlines() if line and not line.startswith('#')]


# Pinned sets


@every_file
def test_every_requirement_is_pinned(python, name):
    lines = lines_of(FOLDER / python / f'{name}.txt')
    assert lines
    assert [line for line in lines if not re.fullmatch(r'[\w.-]+==[\w.]+', line)] == []


@every_file
def test_every_file_is_what_its_script_writes(python, name):
    path = FOLDER / python / f'{name}.txt'
    assert path.read_text() == pins.content(python, name, lines_of(path))


@every_file
def test_every_pin_fits_what_is_asked_for(python, name):
    found = pins.pins(python, name)
    asked = pins.wanted(python, name)
    assert [
        str(r) for r in asked if not r.specifier.contains(found[canonicalize_name(r.name)])
    ] == []


def test_every_python_with_a_set_is_known_and_no_other():
    assert sorted(path.parent.name for path in FOLDER.glob('*/stack.txt')) == sorted(pins.PYTHONS)


@pytest.mark.parametrize('python', pins.PYTHONS)
def test_numpy_is_what_the_xtcocotools_of_that_python_works_with(python):
    found = pins.pins(python)
    wheel = 'xtcocotools' in found
    assert wheel == (python in ('3.10', '3.11'))
    assert found['numpy'].split('.')[0] == ('1' if wheel else '2')


def test_what_is_built_is_pinned_in_one_version():
    version = pins.BESIDES['xtcocotools']
    assert build_xtcocotools.VERSION == version == pins.pins('3.11')['xtcocotools']
    built_with = dict(line.split('==') for line in build_xtcocotools.BUILT_WITH)
    for python in pins.PYTHONS:
        assert built_with.items() <= pins.pins(python).items()


def test_an_environment_is_compared_with_its_set():
    asked = pins.pins('3.12')
    besides = {'pip': '26.3', 'mmpose-kd': '0', 'nvidia-nccl-cu13': '2', 'triton': '3'}
    same = {**asked, **besides, 'torch': '2.13.0+cpu', 'xtcocotools': '1.14.3'}
    assert pins.differences('3.12', same) == []
    without_tools = {name: v for name, v in same.items() if name not in pins.pins('3.12', 'dev')}
    assert len(without_tools) < len(same)
    assert pins.differences('3.12', without_tools) == []
    other = {**same, 'numpy': '1.26.4', 'jupyter': '1', 'xtcocotools': '1.14.2'}
    del other['six']
    assert pins.differences('3.12', other) == [
        'jupyter is 1, the set has none',
        f'numpy is 1.26.4, the set has {asked["numpy"]}',
        f'six is missing, the set has {asked["six"]}',
        'xtcocotools is 1.14.2, the set has 1.14.3',
    ]


# xtcocotools


def build(folder, **env):
    """What the script says where xtcocotools does not import."""
    (folder / 'xtcocotools.py').write_text('')  # a module, so xtcocotools.mask is not there
    done = subprocess.run(
        [sys.executable, str(FOLDER / 'build_xtcocotools.py')],
        env={**os.environ, 'PYTHONPATH': str(folder), **env},
        capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_without_a_compiler_one_line_says_what_to_install(tmp_path):
    code, said = build(tmp_path, CC='no-such-compiler')
    assert code == 1 and said.count('\n') == 1
    assert 'building it needs a C compiler (no-such-compiler is not found)' in said
    assert 'apt install gcc python' in said


def test_without_the_package_index_one_line_says_so(tmp_path):
    code, said = build(tmp_path, PIP_INDEX_URL='http://localhost:9/simple', PIP_RETRIES='0',
                       PIP_NO_CACHE_DIR='1', PIP_CONFIG_FILE=os.devnull)  # fmt: skip
    assert code == 1 and said.count('\n') == 1
    assert 'pip could not fetch xtcocotools 1.14.3' in said


def test_a_mended_setup_reads_its_version_on_every_python(tmp_path):
    (tmp_path / 'setup.py').write_text(
        'def get_version():\n'
        "    exec(compile('__version__ = 7', 'version.py', 'exec'))\n"
        "    return locals()['__version__']\n"
    )
    build_xtcocotools.mend(tmp_path, '2.4.0')
    scope = {}
    exec((tmp_path / 'setup.py').read_text(), scope)
    assert scope['get_version']() == 7
    assert 'locals()' not in (tmp_path / 'setup.py').read_text()
    assert "'numpy==2.4.0'" in (tmp_path / 'pyproject.toml').read_text()


@pytest.mark.slow
def test_it_builds_beside_this_numpy(tmp_path):
    source = build_xtcocotools.fetch(tmp_path, [])
    build_xtcocotools.mend(source, build_xtcocotools.installed_numpy())
    done = build_xtcocotools.call(
        *build_xtcocotools.PIP, 'wheel', '--no-deps', '-w', tmp_path, source
    )
    assert done.returncode == 0, done.stdout
    assert len(list(tmp_path.glob('xtcocotools-1.14.3-*.whl'))) == 1


# The matrix


def test_the_table_of_the_readme_is_the_matrixs():
    page = (ROOT / 'README.md').read_text()
    before, _, rest = page.partition(matrix.MARKS[0])
    shown, _, after = rest.partition(matrix.MARKS[1])
    assert before and after
    assert shown.strip() == matrix.TABLE.read_text().strip()
    assert matrix.MARKS[0] not in after


def test_every_test_file_of_a_part_is_there():
    assert [name for part in matrix.PARTS.values() for name in part
            if not (ROOT / name.partition('::')[0]).exists()] == []  # fmt: skip


def test_the_pinned_set_of_every_python_is_tried():
    assert sorted(e.python for e in matrix.ENVIRONMENTS if e.pinned) == sorted(pins.PYTHONS)
    names = [environment.name for environment in matrix.ENVIRONMENTS]
    assert len(names) == len(set(names))


def test_other_requirements_take_the_place_of_the_sets(tmp_path):
    environment = matrix.Environment('x', '3.13', '', ('numpy==1.26.4',), without=('mmdet',))
    files = matrix.requirements(environment, tmp_path)
    stack = {Requirement(line).name: line for line in lines_of(files['stack'])}
    assert stack['numpy'] == 'numpy==1.26.4' and 'mmdet' not in stack
    assert stack['torch'] == f'torch=={pins.pins("3.13")["torch"]}'
    assert 'mmpose==1.3.2' in lines_of(files['stack-no-deps'])


def test_what_uv_says_becomes_one_line():
    said = """  × No solution found when resolving dependencies:
  ╰─▶ Because numpy==1.26.4 has no wheels with a matching Python ABI tag (e.g., `cp313`) and you
      require numpy==1.26.4, we can conclude that your requirements are unsatisfiable.
"""
    assert matrix.reason(said).startswith('numpy==1.26.4 has no wheels with a matching Python ABI')
    assert '\n' not in matrix.reason(said)


def test_rows_say_what_was_run_and_what_not():
    rows = [
        {'name': 'a', 'python': '3.12', 'what': 'pinned set', 'part': 'smoke', 'minutes': 3.0,
         'tests': '500 passed', 'versions': {'python': '3.12.1', 'torch': '2.13.0'}},
        {'name': 'b', 'python': '3.14', 'what': 'next', 'part': 'smoke', 'tests': 'not run: none'},
    ]  # fmt: skip
    lines = matrix.table(rows).splitlines()
    assert lines[2].startswith('| 3.12.1 | 2.13.0 |') and lines[2].endswith(
        '| smoke: 500 passed |'
    )
    assert lines[3].startswith('| 3.14 |') and lines[3].endswith('| not run: none |')
    assert len({line.count('|') for line in lines}) == 1


def test_python_files_of_the_requirements_work_alone():
    """A user may fetch build_xtcocotools.py without the rest."""
    text = Path(FOLDER, 'build_xtcocotools.py').read_text()
    modules = {line.split()[1].partition('.')[0] for line in text.splitlines()
               if line.startswith(('import ', 'from '))}  # fmt: skip
    assert modules <= {*sys.stdlib_module_names, '__future__'}
