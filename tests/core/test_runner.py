"""What hooks look at before a run: hooks that a config has lost."""

import pytest
from mmengine.config import Config

from mmpose_kd.core.runner import warn_of_lost_hooks
from mmpose_kd.distiller.cache_hook import TeacherCacheHook
from mmpose_kd.distiller.metrics_hook import TeacherMetricsHook
from mmpose_kd.dskd.hook import DSKDHook
from mmpose_kd.hooks import (
    AccuracyIntervalHook,
    BranchMetricsHook,
    DistillationVisualizationHook,
    ExactResumeHook,
)
from mmpose_kd.okdhp.statistics import BranchStatisticsHook

from ..helpers.models import build, plain_config

STOCK = "_base_ = ['mmpose::_base_/default_runtime.py']\n"  # has SyncBuffersHook


class Run:
    """The attributes of a Runner that are read."""

    def __init__(self, cfg, hooks=()):
        self.cfg, self.hooks, self.logger, self.said = cfg, hooks, self, []
        self._resume = False
        self._train_loop = self._val_loop = self._test_loop = self.model = None

    def warning(self, text):
        self.said.append(text)


def said(folder, hooks=(), **files):
    """What is said of the last of some config files."""
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)
    run = Run(Config.fromfile(folder / f'{name}.py', import_custom_modules=False), hooks)
    warn_of_lost_hooks(run)
    warn_of_lost_hooks(run)  # another hook
    return run.said


def test_a_lost_hook_is_named_once(tmp_path):
    (line,) = said(tmp_path, mine=STOCK + "custom_hooks = [dict(type='BranchMetricsHook')]")
    assert 'custom_hooks: SyncBuffersHook of the _base_ configs is lost' in line
    assert '[*_base_.custom_hooks, ' in line


def test_an_emptied_list_loses_them_too(tmp_path):
    assert len(said(tmp_path, mine=STOCK + 'custom_hooks = []')) == 1


def test_one_lost_on_the_way_is_found(tmp_path):
    base = STOCK + "custom_hooks = [dict(type='DSKDHook', guides='generations')]"
    (line,) = said(tmp_path, base=base, mine="_base_ = ['base.py']")
    assert 'SyncBuffersHook' in line and 'DSKDHook' not in line


@pytest.mark.parametrize(
    'text',
    [
        'custom_hooks = [*_base_.custom_hooks, dict(type="BranchMetricsHook")]',
        'custom_hooks = [dict(type="mmengine.SyncBuffersHook")]',
        '',
    ],
)
def test_nothing_is_said_where_nothing_is_lost(tmp_path, text):
    assert said(tmp_path, mine=STOCK + text) == []


def test_what_a_stock_config_drops_itself_is_not_told(tmp_path):
    rtmpose = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py'
    kept = 'custom_hooks = [*_base_.custom_hooks, dict(type="DSKDHook")]'
    assert said(tmp_path, mine=f'_base_ = [{rtmpose!r}]\n{kept}') == []


def test_a_base_that_is_gone_does_not_stop_the_run(tmp_path):
    (tmp_path / 'base.py').write_text("custom_hooks = [dict(type='SyncBuffersHook')]")
    (tmp_path / 'mine.py').write_text("_base_ = ['base.py']\ncustom_hooks = []")
    run = Run(Config.fromfile(tmp_path / 'mine.py'))
    (tmp_path / 'base.py').unlink()
    warn_of_lost_hooks(run)
    assert run.said == []


def test_a_config_that_is_no_file_is_nothing_to_compare():
    run = Run(Config(dict(custom_hooks=[])))
    warn_of_lost_hooks(run)
    assert run.said == []


@pytest.mark.parametrize(
    'hook',
    [
        AccuracyIntervalHook,
        BranchMetricsHook,
        DistillationVisualizationHook,
        ExactResumeHook,
        BranchStatisticsHook,
        lambda: DSKDHook('generations'),
        TeacherMetricsHook,
        lambda: TeacherCacheHook('cache'),
    ],
)
def test_every_hook_of_ours_looks(tmp_path, hook):
    (tmp_path / 'mine.py').write_text(STOCK + 'custom_hooks = []')
    run = Run(Config.fromfile(tmp_path / 'mine.py'))
    run.model = build(plain_config(), init=False)
    hook().before_run(run)
    assert 'SyncBuffersHook' in run.said[0]
