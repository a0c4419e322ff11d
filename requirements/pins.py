"""The pinned sets of packages: one folder of requirements/ for each Python.

    python requirements/pins.py make [--upgrade]   # make pins runs it
    python requirements/pins.py check              # in an environment made from a set

``make`` writes stack.txt, stack-no-deps.txt and dev.txt of every Python from the file of that
name with ``.in``. It needs uv (requirements/uv.txt). Versions that are pinned already stay, if
they still fit, unless ``--upgrade`` is given. ``check`` compares the environment that runs it
with the set of its Python.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
PYTHONS = ('3.10', '3.11', '3.12', '3.13')
# In the order in which they are installed.
NAMES = ('stack', 'stack-no-deps', 'dev')
# torch pins its GPU libraries itself, and which there are depends on the build of torch.
OF_TORCH = re.compile(r'(nvidia|cuda)-|triton$')
# What an environment has besides its set: pip, and what build_xtcocotools.py builds.
BESIDES = {'pip': None, 'mmpose-kd': None, 'xtcocotools': '1.14.3'}


def main() -> int:
    """The command; 1 when an environment is not what its set says."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    commands = parser.add_subparsers(dest='command', required=True)
    make = commands.add_parser('make', help='write the sets of all Pythons')
    make.add_argument('--upgrade', action='store_true', help='take the newest versions that fit')
    commands.add_parser('check', help='compare this environment with its set')
    args = parser.parse_args()
    if args.command == 'make':
        for python in PYTHONS:
            for name in NAMES:
                write(python, name, args.upgrade)
        return 0
    python = '{}.{}'.format(*sys.version_info)
    if python not in PYTHONS:
        sys.stderr.write(f'pins: there is no set for Python {python}\n')
        return 1
    wrong = differences(python, installed())
    for line in wrong:
        sys.stderr.write(f'pins: {line}\n')
    if not wrong:
        print(f'pins: this environment is the set of Python {python}')
    return 1 if wrong else 0


def pins(python: str, *names: str) -> dict[str, str]:
    """The versions in files of a set, all of them by default, by canonical name."""
    found = {}
    for name in names or NAMES:
        for line in (HERE / python / f'{name}.txt').read_text(encoding='utf-8').splitlines():
            if line and not line.startswith('#'):
                package, version = line.split('==')
                found[canonicalize_name(package)] = version
    return found


def wanted(python: str, name: str) -> list[Requirement]:
    """What an ``.in`` file asks for on a Python."""
    lines = (HERE / f'{name}.in').read_text(encoding='utf-8').splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith('#')]
    here = {'python_version': python, 'python_full_version': f'{python}.0'}
    return [r for r in asked if r.marker is None or r.marker.evaluate(here)]


def content(python: str, name: str, lines: list[str]) -> str:
    """The text of a pinned file.

    Args:
        python: Such as ``3.12``.
        name: One of ``NAMES``.
        lines: ``package==version`` of each package, in any order.
    """
    turn = ('first', 'second, with --no-deps', 'last')[NAMES.index(name)]
    by_name = {canonicalize_name(line.partition('==')[0]): line for line in lines}
    return '\n'.join(
        [
            f'# Python {python}: what {name}.in asks for, pinned. To be installed {turn}.',
            '# Made by requirements/pins.py (make pins): change what it is made from, not this.',
            *(by_name[package] for package in sorted(by_name) if not OF_TORCH.match(package)),
            '',
        ]
    )


def write(python: str, name: str, upgrade: bool) -> None:
    """Write a file of a set, with uv."""
    path = HERE / python / f'{name}.txt'
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, path.name)
        if path.is_file():
            out.write_text(path.read_text(encoding='utf-8'), encoding='utf-8')
        options = ['--no-deps'] if name == 'stack-no-deps' else []
        if name == 'dev':
            options += ['--constraints', str(path.with_name('stack.txt'))]
        if upgrade:
            options += ['--upgrade']
        command = [
            sys.executable, '-m', 'uv', 'pip', 'compile', '--quiet', '--no-header',
            '--no-annotate', '--only-binary', ':all:', '--python-version', python,
            '--python-platform', 'x86_64-manylinux_2_28', '--output-file', str(out), *options,
            str(HERE / f'{name}.in'),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        lines = out.read_text(encoding='utf-8').split()
    if name == 'dev':  # what the stack has already stands there
        stack = pins(python, 'stack')
        lines = [line for line in lines if canonicalize_name(line.split('==')[0]) not in stack]
    path.parent.mkdir(exist_ok=True)
    path.write_text(content(python, name, lines), encoding='utf-8')


def installed() -> dict[str, str]:
    """The versions of all that is installed in this environment, by canonical name."""
    return {canonicalize_name(d.metadata['Name']): d.version for d in metadata.distributions()}


def differences(python: str, found: dict[str, str]) -> list[str]:
    """How an environment differs from the set of a Python, a line for each package.

    A build's own mark (``2.13.0+cpu``) is no difference, torch's GPU libraries are none, nor are
    tools for development that are not there.

    Args:
        python: Such as ``3.12``.
        found: What is installed, by canonical name.
    """
    asked, needed = pins(python), pins(python, *(name for name in NAMES if name != 'dev'))
    lines = []
    for name in sorted({*asked, *found}):
        if OF_TORCH.match(name) or (name not in needed and name not in found):
            continue
        has, wants = found.get(name, 'missing').partition('+')[0], asked.get(name)
        if name in BESIDES and name not in asked:
            wants = BESIDES[name] or has
        if has != wants:
            lines.append(f'{name} is {has}, the set has {wants or "none"}')
    return lines


if __name__ == '__main__':
    sys.exit(main())
