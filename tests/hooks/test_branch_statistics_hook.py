"""BranchStatisticsHook: what branches do to each other stands in the run's log."""

import json

import pytest
from build import okdhp_config, plain_config
from mmengine.config import Config
from mmengine.runner import Runner
from runs import draw, run_config

from mmpose_kd.hooks import BranchStatisticsHook

NAMES = {
    'okdhp/attention_branch0',
    'okdhp/attention_branch1',
    'okdhp/attention_entropy',
    'okdhp/attention_std',
    'okdhp/branch_disagreement',
    'okdhp/kd_gradient_share',
}


def short_run(folder, model, interval=3):
    """Four iterations without validation."""
    model['head'].get('head', model['head'])['out_channels'] = 17
    cfg = run_config(draw(folder / 'data'), folder / 'work', model)
    cfg['custom_hooks'] = [dict(type='BranchStatisticsHook', interval=interval)]
    cfg['train_cfg']['val_interval'] = 100
    return Runner.from_cfg(Config(cfg))


def scalars(work_dir):
    """The run's log, line by line."""
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_statistics_stand_in_the_log_every_few_iterations(tmp_path):
    short_run(tmp_path, okdhp_config(num_branches=2)).train()
    found = [line for line in scalars(tmp_path / 'work') if set(line) >= NAMES]
    assert [line['step'] for line in found] == [3, 6]
    line = found[0]
    weights = line['okdhp/attention_branch0'] + line['okdhp/attention_branch1']
    assert weights == pytest.approx(1, abs=1e-5)
    assert 0 < line['okdhp/attention_entropy'] <= 1
    assert line['okdhp/branch_disagreement'] > 0
    assert line['okdhp/kd_gradient_share'] > 0


def test_a_model_without_branches_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r'BranchStatisticsHook needs .*OKDHPHead.*HeatmapHead'):
        short_run(tmp_path, plain_config()).train()


@pytest.mark.parametrize('interval', [0, -1, 2.5, True])
def test_bad_interval_names_the_setting(interval):
    with pytest.raises(ValueError, match=r'BranchStatisticsHook.interval='):
        BranchStatisticsHook(interval=interval)
