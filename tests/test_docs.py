"""What README and docs point to exists: files, sections, modules and their classes."""

import importlib
import re

import pytest
from mmpose.registry import HOOKS, KEYPOINT_CODECS, MODELS, TRANSFORMS

import mmpose_kd
from mmpose_kd.distiller import DISTILL_ENTRIES

from .helpers import ROOT
from .helpers.pages import PAGES

SOURCES = sorted((ROOT / 'mmpose_kd').rglob('*.py'))

pytestmark = pytest.mark.skipif(
    not (ROOT / 'docs').is_dir(), reason='the docs of mmpose-kd are not here'
)


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda p: p.relative_to(ROOT).as_posix())


def sections(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def resolves(name):
    """Whether a dotted name is a module, or what a module holds."""
    parts = name.split('.')
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


def mentioned(path):
    """Dotted names of the package in a text: ``mmpose_kd.core.schedule``."""
    names = re.findall(r'(?<![\w./])mmpose_kd(?:\.[A-Za-z_]\w*)+', path.read_text())
    return sorted(name for name in set(names) if name != 'mmpose_kd.py')


def test_there_are_pages_with_links():
    assert len(PAGES) > 5 and 'methods' in sections(ROOT / 'README.md')
    assert resolves('mmpose_kd.export.export_student')
    assert not resolves('mmpose_kd.nothing') and not resolves('mmpose_kd.export.nothing')


@each(PAGES)
def test_every_relative_link_leads_somewhere(path):
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', path.read_text()):
        file, _, section = link.partition('#')
        target = (path.parent / file).resolve() if file else path
        if '://' not in link and not (
            target.exists() and (not section or section in sections(target))
        ):
            broken.append(link)
    assert broken == []


@each(PAGES)
def test_every_file_of_the_checkout_that_is_named_is_there(path):
    names = re.findall(r'(?<![\w./-])(?:mmpose_kd|configs|tests)/[\w./-]+\.\w+', path.read_text())
    assert [name for name in sorted(set(names)) if not (ROOT / name).exists()] == []


@each(PAGES)
def test_every_module_of_the_checkout_that_is_started_is_there(path):
    for name in re.findall(r'-m (benchmarks(?:\.\w+)*)', path.read_text()):
        folder = ROOT / name.replace('.', '/')
        assert (folder / '__main__.py').is_file() or folder.with_suffix('.py').is_file(), name


@each([path for path in PAGES + SOURCES if mentioned(path)])
def test_every_address_in_the_package_resolves(path):
    assert [name for name in mentioned(path) if not resolves(name)] == []


def test_every_config_of_the_published_results_is_there_and_none_is_called_trained():
    text = (ROOT / 'docs/published_results.md').read_text()
    named = set(re.findall(r'`((?:okdhp|hhd|ocd|tcd|dskd|dwpose)_[\w-]+)`', text))
    missing = [name for name in named if not (ROOT / 'configs' / f'{name}.py').is_file()]
    assert missing == []
    papers = {path.stem for path in (ROOT / 'configs').glob('*_paper_*.py')}
    assert papers <= named
    rows = [line for line in text.splitlines() if re.match(r'\| .*`\w+_', line)]
    assert len(rows) > 15 and all(row.endswith('| no |') for row in rows)


def test_the_reference_has_every_public_name_and_every_class_that_is_registered():
    page = (ROOT / 'docs/api.md').read_text()
    shown = re.findall(r'^\.\. auto(?:class|function):: (\S+)$', page, re.MULTILINE)
    public = {f'mmpose_kd.{name}' for name in mmpose_kd.__all__ if name != '__version__'}
    assert public <= {*shown} and len(shown) == len({*shown})
    registered = {
        cls
        for registry in (MODELS, HOOKS, TRANSFORMS, KEYPOINT_CODECS, DISTILL_ENTRIES)
        for cls in registry.module_dict.values()
        if cls.__module__.startswith('mmpose_kd.')
    }
    assert len(registered) > 20
    classes = {getattr(importlib.import_module(n.rpartition('.')[0]), n.rpartition('.')[2])
               for n in shown}  # fmt: skip
    assert {cls.__name__ for cls in registered - classes} == set()


def test_every_page_is_in_the_table_of_contents():
    entries = re.findall(
        r'^```\{toctree\}\n(.*?)^```',
        (ROOT / 'docs/index.md').read_text(),
        re.DOTALL | re.MULTILINE,
    )
    named = {
        re.sub(r'.*<(.*)>', r'\1', line)
        for block in entries
        for line in block.splitlines()
        if line and not line.startswith(':')
    }
    found = {
        path.with_suffix('').resolve()
        for entry in named
        for path in (ROOT / 'docs').glob(f'{entry}.md')
    }
    assert {page.with_suffix('').resolve() for page in PAGES} - found == {ROOT / 'docs/index'}
    missing = {entry for entry in named if not [*(ROOT / 'docs').glob(f'{entry}.md')]}
    assert missing == set()
