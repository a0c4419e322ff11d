"""Build and install xtcocotools where it has no wheel that works: Python 3.12 and newer, numpy 2.

    python requirements/build_xtcocotools.py

MMPose imports xtcocotools; its wheels are for Python up to 3.11 and numpy 1. Run with the Python
of the environment that is to get it, which has numpy. It does nothing where xtcocotools works
already. This file works alone: it needs nothing but pip, numpy and a C compiler. pip fetches
everything, so pip's own settings hold.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

VERSION = '1.14.3'
SHA256 = '6434382784d206204d2a1b491dba359ff3464a2b9eb5890fbc0d868cad4e810f'  # of the sdist
BUILT_WITH = ('setuptools==80.8.0', 'cython==3.3.1')
PIP = (sys.executable, '-m', 'pip', '--disable-pip-version-check')


class CannotBuild(Exception):
    """What is missing, in one line."""


def main() -> int:
    """The command: 0 when xtcocotools works, 1 with one line when it cannot be built."""
    try:
        if imports('xtcocotools.mask'):
            print('xtcocotools works already')
            return 0
        numpy = installed_numpy()
        check_compiler()
        with tempfile.TemporaryDirectory() as folder:
            # What it is built with is taken from here, or else fetched by pip for the build alone.
            options = ['--no-build-isolation'] if imports('Cython', 'setuptools') else []
            source = fetch(Path(folder), options)
            mend(source, numpy)
            install(source, Path(folder, 'wheels'), options)
        if not imports('xtcocotools.mask'):
            raise CannotBuild('it was built and installed, but does not import')
    except CannotBuild as reason:
        sys.stderr.write(f'build_xtcocotools: {reason}\n')
        return 1
    print(f'built and installed xtcocotools {VERSION}')
    return 0


def imports(*modules: str) -> bool:
    """Whether modules import in this environment, whose numpy may be another one than theirs."""
    code = f'import {", ".join(modules)}'
    return call(sys.executable, '-c', code, cwd=tempfile.gettempdir()).returncode == 0


def installed_numpy() -> str:
    """The version of numpy that the build is for.

    Raises:
        CannotBuild: There is none.
    """
    done = call(sys.executable, '-c', 'import numpy; print(numpy.__version__)')
    if done.returncode:
        raise CannotBuild(f'numpy has to be there first: {sys.executable} -m pip install numpy')
    return done.stdout.strip()


def check_compiler() -> None:
    """See that there is a C compiler and Python's header files.

    Raises:
        CannotBuild: Says what to install.
    """
    if os.name == 'nt':  # setuptools finds Visual Studio by itself, and only it can
        return
    command = (os.environ.get('CC') or sysconfig.get_config_var('CC') or 'cc').split()[0]
    header = Path(sysconfig.get_path('include'), 'Python.h')
    if shutil.which(command) is None:
        missing = f'a C compiler ({command} is not found)'
    elif not header.is_file():
        missing = f"Python's header files ({header} is not there)"
    else:
        return
    version = '{}.{}'.format(*sys.version_info)
    raise CannotBuild(
        f'xtcocotools has no wheel for Python {version} with this numpy, and building it needs '
        f'{missing}; on Debian and Ubuntu: apt install gcc python{version}-dev, on Fedora: '
        f'dnf install gcc python{version}-devel, on macOS: xcode-select --install, '
        'with conda: conda install c-compiler'
    )


def fetch(folder: Path, options: list[str]) -> Path:
    """The unpacked sdist, fetched by pip and compared with its hash.

    pip asks the sdist for its metadata in the same breath, which fails without numpy and Cython
    at hand, and on Python 3.13 always; what it had unpacked stays with --no-clean.

    Raises:
        CannotBuild: pip could not fetch it.
    """
    wanted = folder / 'sdist.txt'
    wanted.write_text(f'xtcocotools=={VERSION} --hash=sha256:{SHA256}\n', encoding='utf-8')
    done = call(
        *PIP, 'download', '--no-clean', '--no-deps', '--no-binary', 'xtcocotools',
        '--require-hashes', '--dest', folder / 'sdist', '-r', wanted, *options,
        env={**os.environ, **{name: str(folder) for name in ('TMPDIR', 'TEMP', 'TMP')}},
    )  # fmt: skip
    for setup in folder.glob('pip-*/xtcocotools*/setup.py'):
        return setup.parent
    raise CannotBuild(f'pip could not fetch xtcocotools {VERSION}: {last_error(done.stdout)}')


def mend(source: Path, numpy: str) -> None:
    """Make the sdist build everywhere.

    Its setup.py reads its version out of ``locals()`` after ``exec``, which Python 3.13 keeps
    apart. And it does not say what it is built with, so that pip would give it nothing.
    """
    setup = source / 'setup.py'
    text = setup.read_text(encoding='utf-8')
    text = re.sub(r'^( *)exec\((compile\(.*\))\)$', r'\1found = {}\n\1exec(\2, found)', text,
                  flags=re.MULTILINE)  # fmt: skip
    setup.write_text(text.replace('locals()[', 'found['), encoding='utf-8')
    lines = ['[build-system]', f'requires = {[*BUILT_WITH, f"numpy=={numpy}"]}',
             'build-backend = "setuptools.build_meta:__legacy__"', '']  # fmt: skip
    (source / 'pyproject.toml').write_text('\n'.join(lines), encoding='utf-8')


def install(source: Path, wheels: Path, options: list[str]) -> None:
    """Build the wheel and install it in place of what is there.

    Raises:
        CannotBuild: It does not build, with the last line of what pip said.
    """
    done = call(*PIP, 'wheel', '--no-deps', '--wheel-dir', wheels, source, *options)
    if done.returncode == 0:
        done = call(
            *PIP, 'install', '--no-deps', '--no-index', '--force-reinstall', *wheels.glob('*.whl')
        )
    if done.returncode:
        raise CannotBuild(f'xtcocotools {VERSION} does not build: {last_error(done.stdout)}')


def last_error(shown: str) -> str:
    """The line of pip's output that tells most."""
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    errors = [line for line in lines if 'error' in line.lower()]
    return (errors or lines or ['no output'])[-1 if not errors else 0]


def call(*command, **options) -> subprocess.CompletedProcess:
    """Run a command; stdout has all that it wrote."""
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options,
    )  # fmt: skip


if __name__ == '__main__':
    sys.exit(main())
