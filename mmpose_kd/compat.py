"""What has to be true before mmpose_kd can import MMPose; :func:`prepare` sees to it.

Three independent things: the installed versions are checked, a lite mmcv gets a stand-in for its
compiled operators, and warnings that are upstream's own matter are not shown.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from .version import __version__


class UnsupportedStackError(ImportError):
    """Packages that mmpose_kd builds on are missing or have versions it does not support."""


@dataclass(frozen=True)
class Requirement:
    """A package that is imported as ``module``, and what is supported of it.

    Args:
        module: Import name.
        supported: Version specifier.
        install: What to hand to ``pip install``.
        distributions: Names under which it may be installed: forks and lite builds share the
            import name. None has to be installed through pip.
    """

    module: str
    supported: str
    install: str
    distributions: tuple[str, ...]


# None of these stands in setup.py: pip would add a second mmcv beside mmcv-lite or a fork,
# another build of torch, or MMPose's dependency chumpy, which does not build any more.
REQUIREMENTS = (
    Requirement('torch', '>=2.0', '"torch>=2.0"', ('torch',)),
    Requirement('numpy', '>=1.22', '"numpy>=1.22"', ('numpy',)),
    Requirement('mmcv', '>=2.0.0', '"mmcv-lite>=2.0.0,<2.2"', ('mmcv', 'mmcv-lite', 'onedl-mmcv')),
    Requirement(
        'mmengine', '>=0.10.0,<1', '"mmengine>=0.10.0,<1"', ('mmengine', 'onedl-mmengine')
    ),
    Requirement(
        'mmpose', '>=1.1.0,<2', '--no-deps "mmpose>=1.1.0,<2"', ('mmpose', 'onedl-mmpose')
    ),
)


def prepare() -> None:
    """Make this process ready for MMPose and mmpose_kd; harmless when repeated.

    Raises:
        UnsupportedStackError: A package is missing or its version is not supported.
    """
    check_versions()
    stub_missing_mmcv_ops()
    silence_upstream()


def check_versions(requirements: tuple[Requirement, ...] = REQUIREMENTS) -> None:
    """Compare the installed versions with the supported ones.

    Raises:
        UnsupportedStackError: Names every problem at once: what was found, what is supported,
            and the command that installs it.
    """
    problems = []
    for requirement in requirements:
        found = installed_version(requirement)
        if found is None or not _supports(requirement.supported, found):
            problems.append(
                f'  {requirement.module}: found {found or "none"}, '
                f'supported {requirement.supported}; '
                f'install it with: pip install {requirement.install}'
            )
    if problems:
        raise UnsupportedStackError(
            '\n'.join(
                [
                    f'mmpose_kd {__version__} cannot work with the packages of {sys.executable}:',
                    *problems,
                    'A tested set is in requirements/ of the sources of mmpose-kd.',
                ]
            )
        )


def installed_version(requirement: Requirement) -> str | None:
    """The version of a package, None when it is not there.

    The package's metadata answers without an import. When there is none (a source folder on
    the path) or more than one (mmcv installed over mmcv-lite), the module itself is asked.
    """
    if importlib.util.find_spec(requirement.module) is None:
        return None
    versions = []
    for name in requirement.distributions:
        try:
            versions.append(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    if len(versions) == 1 and versions[0]:
        return versions[0]
    version = getattr(importlib.import_module(requirement.module), '__version__', None)
    return None if version is None else str(version)


def _supports(specifier: str, version: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def stub_missing_mmcv_ops() -> None:
    """Register a stand-in for ``mmcv._ext`` when, and only when, mmcv has none.

    That is the lite build. A compiled ``_ext`` that is there but broken is left alone, so that
    its own error is seen.
    """
    name = 'mmcv._ext'
    if name in sys.modules:
        return
    # The file is looked for in mmcv's folder: find_spec('mmcv._ext') would import mmcv.
    folders = importlib.util.find_spec('mmcv').submodule_search_locations
    if PathFinder.find_spec(name, folders) is not None:
        return
    # A true spec: mmcv.utils.check_ops_exist asks for it, and None would be an error there.
    spec = importlib.util.spec_from_file_location(
        name, Path(__file__).with_name('_mmcv_ext_stub.py')
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module


def mmpose_needs_us() -> bool:
    """Whether MMPose works here only beside mmpose_kd: mmcv is lite, without the copy of the
    stand-in that ``mmpose-kd setup-mmcv`` writes into it."""
    file = getattr(sys.modules.get('mmcv._ext'), '__file__', None)
    return file is not None and Path(file).parent == Path(__file__).parent


#: Beginning of the message and module of warnings that everybody sees at every start and nobody
#: can act on. A metainfo file is upstream's by its folder, and only found by MMPose under
#: another path; one of the user's is looked for elsewhere, or its absence is an error.
OF_UPSTREAM = (
    (r'pkg_resources is deprecated as an API', r'mmengine\.utils\.package_utils$'),
    (r'pkg_resources is deprecated as an API', r'importlib$'),  # package_utils reloads it
    (
        r'The metainfo config file "configs/_base_/datasets/[^/"]+" does not exist\. A matched',
        r'mmpose\.datasets\.datasets\.utils$',
    ),
    # torchvision is used for one class that reads no files.
    (r'Failed to load image Python extension', r'torchvision\.io\.image$'),
)


def silence_upstream() -> None:
    """Leave out :data:`OF_UPSTREAM`, unless the user's own filters (``-W``) say otherwise."""
    for message, module in OF_UPSTREAM:
        warnings.filterwarnings('ignore', message, UserWarning, module, append=True)
