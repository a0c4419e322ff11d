"""Branch statistics: values known by hand, and the hook that logs them."""

import json
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmpose_kd.okdhp.statistics import (
    BranchStatisticsHook,
    attention_statistics,
    disagreement,
    gradient_share,
)

from ..helpers.models import build as build_model
from ..helpers.models import images, okdhp_config, plain_config, randomize, samples, total
from ..helpers.runs import draw, run_config


def test_equal_attention_has_entropy_one_and_no_spread():
    found = attention_statistics(torch.full((4, 3, 5), 1 / 3))
    assert float(found['attention_entropy']) == pytest.approx(1)
    assert float(found['attention_std']) == pytest.approx(0, abs=1e-6)
    assert [float(found[f'attention_branch{t}']) for t in range(3)] == pytest.approx([1 / 3] * 3)


def test_one_branch_that_counts_alone_has_entropy_zero():
    attention = torch.zeros(4, 2, 5)
    attention[:, 1] = 1
    found = attention_statistics(attention)
    assert float(found['attention_entropy']) == 0
    assert float(found['attention_branch1']) == 1


def test_spread_is_over_images():
    attention = torch.zeros(2, 2, 1)
    attention[0, 0] = attention[1, 1] = 1
    assert float(attention_statistics(attention)['attention_std']) == pytest.approx(0.5)


def test_disagreement_by_hand():
    one, other = torch.full((1, 2, 3, 3), 1.0), torch.full((1, 2, 3, 3), 3.0)
    assert float(disagreement([one, other], torch.ones(1, 2))) == pytest.approx(1 / 2)
    assert float(disagreement([one, one], torch.ones(1, 2))) == 0


def test_unlabelled_keypoints_do_not_count_as_disagreement():
    one, other = torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 3)
    other[:, 1] = 9
    assert float(disagreement([one, other], torch.tensor([[1.0, 0.0]]))) == 0
    assert math.isfinite(float(disagreement([one, other], torch.zeros(1, 2))))


def test_gradient_share_is_the_ratio_of_the_pulls():
    maps, target, weight = torch.randn(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.ones(2, 3)

    def error(output, wanted, weights):
        return (weights[..., None, None] * (output - wanted)).square().sum()

    def triple(*args):
        return 3 * error(*args)

    share = gradient_share(maps, triple, target, error, target, weight)
    assert float(share) == pytest.approx(3)
    assert maps.grad is None and not maps.requires_grad


def test_gradient_share_survives_half_precision():
    """One value's gradient is 1e-8 here: nothing is left of it in float16."""
    torch.manual_seed(0)
    shape = (32, 17, 64, 48)
    maps, target, weight = 0.01 * torch.randn(shape), torch.zeros(shape), torch.ones(shape[:2])

    def mse(output, wanted, weights):
        return (weights[..., None, None] * (output - wanted)).square().mean()

    args = (mse, 0.5 * target, mse, target, weight)
    whole, half = gradient_share(maps, *args), gradient_share(maps.half(), *args)
    assert float(half) == pytest.approx(float(whole), rel=1e-2)


def test_watching_changes_no_gradient():
    gradients = []
    for watch in (False, True):
        model = randomize(build_model(okdhp_config(kd_schedule=dict(type='constant')))).train()
        model.head.watch = watch
        total(model.loss(images(), samples())).backward()
        gradients.append([p.grad for p in model.parameters()])
        assert bool(model.head.watched) == watch
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


# -------------------------------------------------------------------------------- the hook


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


@pytest.mark.parametrize('interval', [0, -1, 2.5, True, None, '50', float('nan'), [50]])
def test_bad_interval_names_the_setting(interval):
    with pytest.raises(ValueError, match=r'BranchStatisticsHook.interval='):
        BranchStatisticsHook(interval=interval)
