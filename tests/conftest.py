"""Fixtures that any test may use."""

import gc
import os

# The models are tiny: several threads wait for each other longer than they work. Set before
# torch is imported, and handed on to the processes that tests start.
os.environ['OMP_NUM_THREADS'] = '1'

# mim imports distutils, and setuptools complains if it comes after that.
import setuptools  # noqa: F401, I001

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


def pytest_collection_finish():
    """Leave what is imported by now out of garbage collection.

    MMEngine collects each time that a dataset is made, and goes through all of torch and MMPose.
    """
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def configs_are_written_without_layout():
    """Processes that tests start, and tests that ask for ``laid_out``, do have it."""
    from .helpers.layout import lay_out, leave_layout_out

    leave_layout_out()
    yield
    lay_out()


@pytest.fixture(autouse=True, scope='session')
def branches_that_fit_are_checked_once():
    """The check of its config takes most of the time in which a small OKDHP model is built."""
    from mmpose_kd.okdhp import head

    check, fitting = head.check_branches, {}

    def checked(*config):
        key = repr(config)
        if key not in fitting:
            fitting[key] = check(*config)
        channels, shared_stages = fitting[key]
        return dict(channels), shared_stages

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, 'check_branches', checked)
        yield


@pytest.fixture
def laid_out():
    """Configs are laid out as ever."""
    from .helpers.layout import lay_out, leave_layout_out

    lay_out()
    yield
    leave_layout_out()


@pytest.fixture(autouse=True)
def mmengine_globals_are_restored():
    """A Runner becomes MMEngine's current one and stays it; take that back after each test.

    The message hub, which tells schedules the epoch, is taken away before each test too: a Runner
    of a fixture that lasts longer, and so was set up before this one, would stay in it.
    """
    from mmpose.visualization import PoseLocalVisualizer

    MessageHub._instance_dict.clear()
    managers = (MMLogger, DefaultScope, Visualizer, PoseLocalVisualizer)
    saved = [manager._instance_dict.copy() for manager in managers]
    yield
    for manager, instances in zip(managers, saved):
        manager._instance_dict.clear()
        manager._instance_dict.update(instances)


@pytest.fixture(scope='session')
def run(tmp_path_factory):
    """A finished run of MMPose's runner: a folder with okdhp.py, data/ and work/."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    from .helpers.runs import draw, run_config

    folder = tmp_path_factory.mktemp('run')
    cfg = Config(run_config(draw(folder / 'data'), folder / 'work'))
    cfg.dump(folder / 'okdhp.py')
    Runner.from_cfg(Config.fromfile(folder / 'okdhp.py')).train()
    return folder
