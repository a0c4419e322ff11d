"""Make an environment for each combination of versions, run tests in it, and write a table.

    python requirements/matrix.py --part smoke     # make matrix runs it with --part fast
    python requirements/matrix.py --again 3.13-forks

Needs uv (requirements/uv.txt), whose cache and hard links let the environments share what they
have in common, and the interpreters: on PATH, or where pyenv keeps them. Each environment lies
with its logs and its result in a folder below ``--folder``; one that has a result is not made or
run again, unless it is named behind ``--again``. What does not work stands in the table with its
reason. uv's own settings hold (UV_CACHE_DIR; UV_FIND_LINKS for another build of torch).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pins import NAMES, PYTHONS, wanted

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TABLE = HERE / 'matrix.md'
MARKS = ('<!-- written by make matrix -->', '<!-- end of make matrix -->')

#: what is run in an environment: the default tests, or files of them that reach every method,
#: safe loading, whole runs, export and packaging, in a tenth of the time
PARTS = {
    'fast': ('tests',),
    'smoke': (
        *(
            f'tests/core/test_safe_loading.py::{name}'  # those that start no process
            for name in (
                'test_a_training_checkpoint_loads_with_weights_only',
                'test_a_runner_resumes_from_it',
                'test_arrays_and_numbers_of_numpy_1_and_2_load',
                'test_a_command_in_a_checkpoint_is_refused_and_not_run',
                'test_other_classes_are_still_refused',
                'test_both_ways_read_the_same',
            )
        ),
        'tests/distiller/test_distillation.py',
        'tests/dskd/test_export.py',
        'tests/dskd/test_heatmap_classification.py',
        'tests/export/test_student.py::test_stock_mmpose_alone_reaches_the_same_ap',
        'tests/hhd/test_loss.py',
        'tests/losses',
        'tests/ocd_tcd/test_losses.py',
        'tests/okdhp/test_loss.py',
        'tests/pkd/test_loss.py',
        'tests/test_packaging.py',
    ),
}
#: columns of the table: the packages that may fill them, with the names that are left out
TOLD = {
    'torch': {'torch': ''},
    'numpy': {'numpy': ''},
    'mmpose': {'mmpose': ''},
    'mmengine': {'mmengine': '', 'onedl-mmengine': 'onedl-mmengine '},
    'mmcv': {'mmcv': '', 'mmcv-lite': 'mmcv-lite ', 'onedl-mmcv': 'onedl-mmcv '},
    'opencv': {'opencv-python': ''},
    'setuptools': {'setuptools': ''},
}


@dataclass(frozen=True)
class Environment:
    """A combination of versions.

    Args:
        name: Its folder.
        python: Such as ``3.12``.
        what: What it is there to show, for the table.
        instead: Requirements that take the place of those of the same name in the ``.in`` files,
            or are added. Without any, and without ``no_deps``, it is the pinned set.
        no_deps: The same, for what is installed without its dependencies.
        without: Names of the ``.in`` files that are left out.
    """

    name: str
    python: str
    what: str
    instead: tuple[str, ...] = ()
    no_deps: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether it is the set that ``make setup`` installs."""
        return not self.instead and not self.no_deps and self.python in PYTHONS


ENVIRONMENTS = (
    Environment('3.10', '3.10', 'pinned set'),
    Environment('3.11', '3.11', 'pinned set'),
    Environment('3.12', '3.12', 'pinned set'),
    Environment('3.13', '3.13', 'pinned set'),
    Environment(
        '3.10-oldest', '3.10', 'oldest supported',
        ('torch==2.0.1', 'numpy==1.22.4', 'mmengine==0.10.0', 'mmcv-lite==2.0.0'),
        ('mmpose==1.1.0', 'torchvision==0.15.2'),
        ('mmdet',),
    ),
    Environment('3.10-numpy2', '3.10', 'numpy 2', ('numpy>=2',)),
    Environment('3.11-numpy2', '3.11', 'numpy 2', ('numpy>=2',)),
    Environment('3.12-numpy1', '3.12', 'numpy 1', ('numpy==1.26.4',)),
    Environment('3.13-numpy1', '3.13', 'numpy 1', ('numpy==1.26.4',)),
    Environment(
        '3.13-newest', '3.13', 'newest of everything',
        ('torch', 'numpy', 'opencv-python', 'mmengine', 'mmdet'),
        ('mmpose', 'torchvision'),
    ),
    Environment(
        '3.13-forks', '3.13', 'onedl forks, setuptools without pkg_resources',
        ('setuptools>=82', 'pycocotools', 'shapely', 'terminaltables', 'tqdm', 'addict', 'yapf',
         'termcolor', 'packaging', 'pyyaml'),
        ('onedl-mmengine==0.10.12', 'onedl-mmcv==2.3.6', 'onedl-mmdetection==3.5.1',
         'onedl-mim==0.5.1'),
        ('mmengine', 'mmcv-lite', 'mmdet', 'openmim'),
    ),
    Environment('3.14', '3.14', 'next Python', ('numpy', 'torch'), ('torchvision',)),
)  # fmt: skip


class Failed(Exception):
    """Why an environment cannot be made, in one line."""


def main() -> int:
    """The command; 1 when tests failed somewhere."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--part', choices=PARTS, default='fast', help='which tests (fast)')
    parser.add_argument('--folder', type=Path, default=ROOT / 'build' / 'matrix')
    parser.add_argument('--processes', default='auto', help="pytest-xdist's -n")
    names = [environment.name for environment in ENVIRONMENTS]
    parser.add_argument('--only', nargs='+', choices=names, default=names, metavar='NAME')
    parser.add_argument('--again', nargs='+', choices=names, default=[], metavar='NAME',
                        help='run these again, in the environments that are there')  # fmt: skip
    parser.add_argument('--anew', action='store_true', help='with --again: make them anew first')
    parser.add_argument('--table-only', action='store_true', help='of the results that are there')
    args = parser.parse_args()
    for environment in ENVIRONMENTS:
        folder = args.folder.resolve() / environment.name
        result = folder / 'result.json'
        if args.table_only or environment.name not in args.only:
            continue
        if environment.name in args.again:
            result.unlink(missing_ok=True)
            if args.anew:
                shutil.rmtree(folder, ignore_errors=True)
        if not result.is_file():
            print(f'{environment.name}: {environment.what}', flush=True)
            found = one(environment, folder, args.part, args.processes)
            result.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
            print(f'  {found["tests"]}', flush=True)
    rows = []
    for environment in ENVIRONMENTS:
        result = args.folder / environment.name / 'result.json'
        there = result.is_file()
        rows.append(json.loads(result.read_text('utf-8')) if there else not_yet(environment))
    write_table(table(rows))
    return 1 if any(row.get('failed') for row in rows) else 0


def not_yet(environment: Environment) -> dict:
    """The row of an environment that has no result."""
    return {'name': environment.name, 'python': environment.python, 'what': environment.what,
            'tests': 'not run yet'}  # fmt: skip


def one(environment: Environment, folder: Path, part: str, processes: str) -> dict:
    """Make an environment, unless it is there, and run tests in it."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {**not_yet(environment), 'part': part}
    try:
        python = make(environment, folder)
    except Failed as reason:
        return {**row, 'tests': str(reason)}
    row['versions'] = versions(python)
    start = time.monotonic()
    report = folder / 'tests.xml'
    report.unlink(missing_ok=True)
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    run(
        folder / 'tests.log', python, '-m', 'pytest', '-n', processes, '--dist', 'worksteal', '-p',
        'no:cacheprovider', f'--junitxml={report}', *PARTS[part], env=env, fails=True,
    )  # fmt: skip
    if not report.is_file():
        return {**row, 'failed': ['pytest'], 'tests': 'the tests did not start'}
    return {**row, **summary(report), 'minutes': round((time.monotonic() - start) / 60, 1)}


def make(environment: Environment, folder: Path) -> Path:
    """The Python of an environment, which is made where it is not there.

    Raises:
        Failed: There is no such interpreter, or something cannot be installed.
    """
    python = folder / '.venv' / 'bin' / 'python'
    done = folder / 'made'
    if done.is_file():
        return python
    interpreter = find_python(environment.python)
    if interpreter is None:
        raise Failed(f'not run: no Python {environment.python} on the machine')
    shutil.rmtree(folder / '.venv', ignore_errors=True)
    log = folder / 'made.log'
    log.write_text('', encoding='utf-8')
    uv = (sys.executable, '-m', 'uv')
    run(log, *uv, 'venv', '--quiet', '--python', interpreter, folder / '.venv')
    install = (*uv, 'pip', 'install', '--quiet', '--python', python)
    wheels = ('--only-binary', ':all:')
    files = requirements(environment, folder)
    run(log, *install, *wheels, 'pip', '-r', files['stack'])
    # onedl-mmcv comes as sources alone; this builds its Python part, as mmcv-lite is.
    env = {**os.environ, 'MMCV_WITH_OPS': '0'}
    run(log, *install, '--no-deps', '-r', files['stack-no-deps'], env=env)
    run(log, *install, *wheels, '-r', files['dev'])
    run(log, python, HERE / 'build_xtcocotools.py')
    run(log, python, ROOT / 'mmpose_kd' / '_mmcv_ext_stub.py')
    install_package(log, folder, python)
    if environment.pinned:
        run(log, python, HERE / 'pins.py', 'check')
    done.touch()
    return python


def install_package(log: Path, folder: Path, python: Path) -> None:
    """Install mmpose-kd as users do, a wheel built from its sdist; then editable, as make does.

    Raises:
        Failed: One of them does not install, or the wheel's command does not start.
    """
    uv = (sys.executable, '-m', 'uv')
    install = (*uv, 'pip', 'install', '--quiet', '--python', python, '--no-deps')
    dist = folder / 'dist'
    shutil.rmtree(dist, ignore_errors=True)
    run(log, *uv, 'build', '--quiet', '--python', python, '--out-dir', dist, ROOT)
    run(log, *install, '--reinstall-package', 'mmpose-kd', *dist.glob('*.whl'))
    run(log, python.with_name('mmpose-kd'), '--version', cwd=folder)
    run(log, *install, '--no-build-isolation', '--editable', ROOT)


def find_python(version: str) -> Optional[str]:
    """An interpreter: ``python3.12`` on PATH or one of pyenv's."""
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv')) / 'versions'
    for path in (shutil.which(f'python{version}'), *sorted(pyenv.glob(f'{version}.*/bin/python'))):
        says = 'import sys; print("%d.%d" % sys.version_info[:2])'
        if path and ask(path, says) == version:  # pyenv puts commands on PATH that only fail
            return str(path)
    return None


def requirements(environment: Environment, folder: Path) -> dict[str, Path]:
    """The requirements files of an environment."""
    if environment.pinned:
        return {name: HERE / environment.python / f'{name}.txt' for name in NAMES}
    files = {}
    for name in NAMES:
        added = {'stack': environment.instead, 'stack-no-deps': environment.no_deps}.get(name, ())
        other = {canonicalize_name(Requirement(line).name) for line in added}
        other |= {*environment.without}
        lines = [
            f'{asked.name}{asked.specifier}'
            for asked in wanted(environment.python, name)
            if canonicalize_name(asked.name) not in other
        ]
        files[name] = folder / f'{name}.txt'
        files[name].write_text('\n'.join([*lines, *added, '']), encoding='utf-8')
    return files


def run(log: Path, *command, env=None, cwd: Path = ROOT, fails: bool = False) -> None:
    """Run a command with its output in a log.

    Raises:
        Failed: It failed and may not, with the line of its output that says why.
    """
    with log.open('a', encoding='utf-8') as file:
        file.write(f'$ {" ".join(map(str, command))}\n')
        file.flush()
        start = file.tell()
        done = subprocess.run(
            [str(part) for part in command], stdout=file, stderr=subprocess.STDOUT, env=env,
            cwd=cwd, check=False,
        )  # fmt: skip
    if done.returncode and not fails:
        raise Failed(f'not run: {reason(log.read_text("utf-8")[start:])}')


def reason(shown: str) -> str:
    """What uv or pip said, in one line."""
    text = ' '.join(re.sub(r'[×╰─▶│├]|hint:.*|error:|cause:', ' ', shown, flags=re.DOTALL).split())
    told = re.search(r'Because (.*?)(?: and you|, we|$)', text)
    return (told.group(1) if told else text)[:200] or 'no reason was given'


def ask(python, code: str) -> str:
    """What a Python prints; nothing when it fails."""
    done = subprocess.run([str(python), '-c', code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ''


def versions(python: Path) -> dict[str, str]:
    """The versions of all that is in an environment, and of its Python."""
    code = (
        'import json, platform; from importlib import metadata; '
        "print(json.dumps({'python': platform.python_version(), **{d.metadata['Name'].lower(): "
        'd.version for d in metadata.distributions()}}))'
    )
    return dict(sorted(json.loads(ask(python, code)).items()))


def summary(report: Path) -> dict:
    """What pytest counted."""
    suites = ElementTree.parse(report).getroot().iter('testsuite')
    counts, failed = dict.fromkeys(('tests', 'failures', 'errors', 'skipped'), 0), []
    for suite in suites:
        for key in counts:
            counts[key] += int(suite.get(key, 0))
        for case in suite.iter('testcase'):
            if case.find('failure') is not None or case.find('error') is not None:
                failed.append(f'{case.get("classname")}::{case.get("name")}')
    passed = counts['tests'] - counts['failures'] - counts['errors'] - counts['skipped']
    text = f'{passed} passed'
    if counts['skipped']:
        text += f', {counts["skipped"]} skipped'
    if failed:
        text += f', {len(failed)} failed'
    return {'tests': text, 'passed': passed, 'skipped': counts['skipped'], 'failed': failed}


def table(rows: list[dict]) -> str:
    """The table of all results, in Markdown."""
    lines = [f'| Python | {" | ".join(TOLD)} | what | tests |', '|---|' + '---|' * (len(TOLD) + 2)]
    for row in rows:
        has = row.get('versions', {})
        told = [
            ', '.join(mark + has[name].partition('+')[0] for name, mark in names.items()
                      if name in has)
            for names in TOLD.values()
        ]  # fmt: skip
        tests = row['tests'] if 'minutes' not in row else f'{row["part"]}: {row["tests"]}'
        cells = [has.get('python', row['python']), *told, row['what'], tests]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join([*lines, ''])


def write_table(text: str) -> None:
    """Write the table to its file, and to the README between the marks."""
    TABLE.write_text(text, encoding='utf-8')
    readme = ROOT / 'README.md'
    page = readme.read_text('utf-8')
    if all(mark in page for mark in MARKS):
        before, rest = page.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        readme.write_text(f'{before}{MARKS[0]}\n{text}{MARKS[1]}{after}', encoding='utf-8')


if __name__ == '__main__':
    sys.exit(main())
