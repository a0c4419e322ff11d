"""What README and docs show is what can be typed: every fenced block is read or run.

In the default tests Python blocks are read by the linter (nothing undefined, nothing left out),
and every command of a shell block by the program that it is for. The slow ones build each config
and train it for a step. Pages that are followed from the first line to the last are in
``test_followed_pages.py``.

A block that cannot be run has a comment with its reason before it, ``<!-- not run: REASON -->``,
and is counted here.
"""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS
from torch.distributed.run import get_args_parser

from benchmarks.wrap_stock_configs import leave_out_albumentations

from .helpers import ROOT
from .helpers.pages import PAGES, SHOWN, commands, every_block

pytestmark = pytest.mark.skipif(
    not (ROOT / 'docs').is_dir(), reason='the docs of mmpose-kd are not here'
)

BLOCKS = every_block()
#: how many blocks of a page are not run; each says why. Keep it short.
NOT_RUN = {'docs/own_config.md': 1, 'docs/tutorial.md': 1}
#: pages whose Python blocks are one program; test_onnx_page.py runs it
ONE_PROGRAM = ('docs/onnx.md',)


def each(blocks):
    return pytest.mark.parametrize('block', blocks, ids=[block.id for block in blocks])


def of_kind(kind):
    return [block for block in BLOCKS if block.kind == kind and block.reason is None]


def test_every_fence_is_found_and_of_a_kind_that_is_tested():
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        fences = re.findall(r'^ *(?:```|~~~)', page.read_text(), re.MULTILINE)
        assert len(fences) == 2 * sum(block.page == name for block in BLOCKS), name
    assert {block.kind for block in BLOCKS} <= {'bash', 'python', *SHOWN}
    assert len(of_kind('bash')) > 10 and len(of_kind('python')) > 10


def test_blocks_that_are_not_run_say_why_and_are_counted():
    assert Counter(block.page for block in BLOCKS if block.reason is not None) == NOT_RUN
    assert [block.id for block in BLOCKS if block.reason == ''] == []


def test_every_python_block_is_a_config_a_file_or_part_of_a_page_that_is_followed():
    rest = [b for b in of_kind('python') if not b.is_config and b.file is None]
    followed = {'docs/own_config.md', 'docs/tutorial.md', *ONE_PROGRAM}
    assert {block.page for block in rest} <= followed


def test_nothing_in_a_python_block_is_undefined_or_left_out(tmp_path):
    for i, block in enumerate(of_kind('python')):
        name = Path(block.page).stem if block.page in ONE_PROGRAM else i
        with open(tmp_path / f'{name}.py', 'a') as file:
            file.write(f'# {block.id}\n{block.text}')
        nodes = ast.walk(ast.parse(block.text, block.id))
        assert not [n for n in nodes if isinstance(n, ast.Constant) and n.value is ...], block.id
    done = subprocess.run(
        [sys.executable, '-m', 'ruff', 'check', '--isolated', '--select=E9,F', '--no-cache', '.'],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# ------------------------------------------------------------------------------ the commands


def read_by_us(words):
    """``mmpose-kd`` reads its options without running anything."""
    from mmpose_kd.cli.commands import commands as group

    name, *rest = words
    group.commands[name].make_context(f'mmpose-kd {name}', rest, obj=rest)


def read_by_mim(words):
    """``mim`` reads its own options, and MMPose's script the rest; a config of ours is there."""
    name, *rest = words
    command = importlib.import_module(f'mim.commands.{name}').cli
    context = command.make_context(f'mim {name}', rest)
    if name in ('train', 'test'):
        package, config = context.params['package'], context.params['config']
        if package == 'mmpose-kd':
            assert (ROOT / 'configs' / config).is_file(), config
        checkpoint = [context.params['checkpoint']] if name == 'test' else []
        read_by_script(name, [config, *checkpoint, *context.params['other_args']])


def read_by_script(name, words):
    """MMPose's own script of training or test reads its options."""
    spec = importlib.util.find_spec('mmpose')
    path = Path(spec.submodule_search_locations[0], '.mim/tools', f'{name}.py')
    tree = ast.parse(path.read_text())
    wanted = [n for n in tree.body if getattr(n, 'name', '') == 'parse_args' or is_import(n)]
    scope = {}
    exec(compile(ast.Module(wanted, []), str(path), 'exec'), scope)
    before, sys.argv = sys.argv, [str(path), *words]
    try:
        scope['parse_args']()
    finally:
        sys.argv = before


def is_import(node):
    return isinstance(node, (ast.Import, ast.ImportFrom))


def read_by_make(words):
    done = subprocess.run(['make', '-n', *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def read_by_python(words):
    """What is started is there; pip reads what it installs."""
    if words[0] == '-m' and words[1] == 'pip':
        read_by_pip(words[2:])
    elif words[0] == '-m' and words[1].startswith('benchmarks'):
        path = ROOT / words[1].replace('.', '/')
        assert (path / '__main__.py').is_file() or path.with_suffix('.py').is_file(), words[1]
    elif words[0] == '-m':
        assert importlib.util.find_spec(words[1]) is not None, words[1]
    elif words[0] == '-c':
        ast.parse(words[1])
    else:
        assert (ROOT / words[0]).is_file(), words[0]


def read_by_pip(words):
    from pip._internal.commands import create_command

    name, *rest = words
    options, given = create_command(name).parse_args(rest)
    files = [*getattr(options, 'requirements', []), *(one for one in given if '/' in one)]
    for file in files:
        for version in ('3.10', '3.13'):  # $V: of the reader's Python
            assert (ROOT / file.replace('$V', version)).exists(), file


READERS = {
    'mmpose-kd': read_by_us,
    'mim': read_by_mim,
    'make': read_by_make,
    'python': read_by_python,
    'pip': read_by_pip,
    'torchrun': lambda words: get_args_parser().parse_args(words),
}
#: of the shell
OTHERS = {'cd', 'export'}


@each(of_kind('bash'))
def test_every_command_is_read_by_its_program(block):
    found = commands(block.text)
    assert found
    for name, *words in found:
        if name in OTHERS:
            continue
        assert name in READERS, f'{name}: nothing here knows that command'
        try:
            READERS[name](words)
        except (click.UsageError, SystemExit) as error:
            pytest.fail(f'{name} {" ".join(words)}: {error}')


@pytest.mark.parametrize(
    'line',
    [
        'mmpose-kd wrap my_config.py --methods ocd -o my_ocd.py',
        'mmpose-kd gain a.py b.py --out o --seed 0',
        'mim train mmpose a.py --lanch pytorch',
        'make demos',
        'python benchmarks/nothing.py',
        'pip install --no-dep -r requirements/$V/stack.txt',
        'pip install -r requirements/$V/nothing.txt',
    ],
)
def test_a_command_that_its_program_does_not_read_is_noticed(line):
    [[name, *words]] = commands(line)
    with pytest.raises((click.UsageError, SystemExit, AssertionError)):
        READERS[name](words)


# ------------------------------------------------------------------------------- the configs


@pytest.mark.slow
@each([block for block in of_kind('python') if block.is_config])
def test_every_config_is_built_and_trains_for_a_step(block, tmp_path, monkeypatch):
    from mmpose_kd.wrap.trial import tried

    monkeypatch.chdir(tmp_path)
    for one in BLOCKS:
        if one.page == block.page and one.file:
            Path(one.file).write_text(one.text)
    path = tmp_path / 'shown.py'
    path.write_text(block.text)
    cfg = Config.fromfile(str(path))
    leave_out_albumentations(cfg._cfg_dict)
    for name in re.findall(r"'(work_dirs/[^']*\.pth)'", block.text):
        plain = Config.fromfile(str(path)).model  # of a finished training: the plain model's
        plain.get('backbone', {}).pop('init_cfg', None)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(state_dict=MODELS.build(plain).state_dict(), meta={}), name)
    try:
        step = tried(cfg)
    finally:
        shutil.rmtree(tmp_path / 'work_dirs', ignore_errors=True)
    distilled = set(step.losses) - {'loss', 'loss_kpt'}
    assert step.losses['loss'] > 0 and distilled, step.losses
