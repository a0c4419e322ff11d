"""Every method in two processes, started by torchrun: on one machine, and as two machines."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from .helpers import ROOT
from .helpers.every_method import BALANCED, METHODS
from .helpers.runs import draw

pytestmark = [pytest.mark.slow, pytest.mark.reliability]

TORCHRUN = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run']


def started(options, name, data, folder):
    script = ['-m', 'tests.helpers.several_processes', name, str(data), str(folder)]
    return subprocess.Popen(
        [*TORCHRUN, *options, *script],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def run(name, data, folder, nodes=1):
    """What both processes found; each is a machine of its own with ``nodes=2``."""
    here = ['--master_addr', '127.0.0.1', '--master_port', str(free_port())]
    share = ['--nnodes', str(nodes), '--nproc_per_node', str(2 // nodes)]
    machines = [
        started([*share, '--node_rank', str(n), *here], name, data, folder) for n in range(nodes)
    ]
    for machine in machines:
        said, _ = machine.communicate(timeout=400)
        assert machine.returncode == 0, said[-4000:]
    return [torch.load(folder / f'{name}_{rank}.pth', weights_only=True) for rank in (0, 1)]


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(x, two[k]) for k, x in one.items())


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp('methods')
    return run('methods', folder, folder)


@pytest.mark.parametrize('method', METHODS)
def test_gradients_are_the_same_where_parameters_are_sharded(steps, method):
    """By torch's FSDP, the model as one unit."""
    for found in steps:
        assert same(found[method]['sharded'], found[method]['together'])


@pytest.mark.parametrize('method', METHODS)
def test_both_processes_get_the_same_gradients(steps, method):
    one, two = (found[method] for found in steps)
    assert same(one['together'], two['together'])
    assert all(bool(torch.isfinite(x).all()) for x in one['together'].values())
    assert one['factors'] == two['factors']
    assert bool(one['factors']) == (method in BALANCED)


@pytest.mark.parametrize('method', [m for m in METHODS if m not in BALANCED])
def test_they_are_the_mean_of_what_each_would_get_alone(steps, method):
    found = steps[0][method]
    for name, expected in found['alone'].items():
        difference = (found['together'][name] - expected).abs().max()
        assert difference <= 1e-4 * expected.abs().max() + 1e-9, name


@pytest.mark.parametrize('nodes', [1, 2], ids=['one machine', 'two machines'])
def test_two_processes_share_a_teachers_cache(data, tmp_path, nodes):
    one, two = run('cache', data, tmp_path, nodes)
    for turn in ('cold', 'warm'):
        assert same(one[turn]['weights'], two[turn]['weights'])
    assert one['cold']['taught'] + two['cold']['taught'] >= 15  # each person once at least
    assert one['warm']['taught'] == two['warm']['taught'] == 0
    assert same(one['cold']['weights'], one['warm']['weights'])


def test_two_processes_have_the_same_guides_and_find_them_again(data, tmp_path):
    one, two = run('dskd', data, tmp_path)
    assert len(one['whole']['guides']) == 2
    assert one['whole']['guides'] == two['whole']['guides']
    assert one['resumed']['guides'] == two['resumed']['guides'] == one['whole']['guides']
    assert same(one['whole']['weights'], two['whole']['weights'])
