"""The house: who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import mmpose_kd

PACKAGE = Path(mmpose_kd.__file__).parent
METHODS = {'okdhp', 'hhd', 'ocd_tcd', 'dskd', 'pkd'}
SHARED = ('core', 'losses', 'distiller')  # each may import those before it
TOOLS = {'gain', 'demo', 'verify', 'inspection', 'cli'}
#: what lies beside the folders, and what it may import
TOP = {
    'version': set(),
    'compat': {'version'},
    'records': set(),
    'export': {'core', 'records', 'version'},
    '__init__': {'compat', 'version', 'export', 'wrap', 'hooks', *SHARED, *METHODS},
    '_mmcv_ext_stub': set(),
}


def allowed(room: str) -> set:
    """The rooms that modules of a room may import, besides their own."""
    if room in METHODS:
        return set(SHARED)
    if room in SHARED:
        return set(SHARED[: SHARED.index(room)])
    if room == 'hooks':
        return {'core', 'losses', 'distiller'}
    if room == 'export':
        return {'core', 'records', 'version'}
    if room in TOOLS:
        return {*TOP, *SHARED, *METHODS, *TOOLS, 'hooks', 'export', 'wrap'}
    if room == 'wrap':
        return {'core', 'export'}
    return TOP[room]


def imports():
    """Every import inside the package: file, the room it is in, the room it imports."""
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        if parts[0] == '.mim':
            continue
        here = ('mmpose_kd', *parts)
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                base = here[: len(here) - node.level] if node.level else ()
                module = (*base, *(node.module.split('.') if node.module else ()))
                names = [(*module, alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [tuple(alias.name.split('.')) for alias in node.names]
            for name in names:
                if name[0] == 'mmpose_kd' and len(name) > 1:
                    room = name[1]
                    known = (PACKAGE / room).is_dir() or (PACKAGE / f'{room}.py').is_file()
                    yield path, parts[0], room if known else '__init__'


def test_every_folder_is_known_to_this_test():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / '__init__.py').is_file()}
    assert folders == {*METHODS, *SHARED, *TOOLS, 'hooks', 'export', 'wrap'}


def test_methods_import_what_is_shared_and_never_each_other_nor_upwards():
    found = list(imports())
    assert len(found) > 100
    wrong = [
        f'{path.relative_to(PACKAGE)} imports {target}'
        for path, room, target in found
        if target != room and target not in allowed(room)
    ]
    assert wrong == []


def test_every_method_has_a_recipe():
    from mmpose_kd.core.recipe import RECIPES

    assert all((PACKAGE / method / 'recipe.py').is_file() for method in METHODS)
    assert {'okdhp', 'hhd', 'ocd', 'tcd', 'dskd', 'pkd'} <= set(RECIPES)
    assert all(name == recipe.name and recipe.title for name, recipe in RECIPES.items())


def test_training_never_loads_the_tools():
    code = 'import sys, mmpose_kd; print(*sys.modules)'
    command = [sys.executable, '-W', 'ignore', '-c', code]
    loaded = set(subprocess.run(command, capture_output=True, text=True).stdout.split())
    assert 'mmpose_kd.distiller' in loaded
    assert loaded & {f'mmpose_kd.{room}' for room in TOOLS} == set()


def test_all_public_names_are_there():
    missing = [name for name in mmpose_kd.__all__ if not hasattr(mmpose_kd, name)]
    assert missing == []
    assert 'export_student' in mmpose_kd.__all__
