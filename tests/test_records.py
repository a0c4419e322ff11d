"""Reading back what a run has logged, and which branch was best."""

import json

import pytest
from mmengine.config import Config
from mmengine.visualization import LocalVisBackend

from mmpose_kd.records import (
    branch_records,
    learning_curve,
    newest_records,
    validation_record,
)


def best_branch(cfg, work_dir, epoch):
    return branch_records(cfg, [work_dir], epoch)[0].branch


def write(work_dir, run, lines):
    folder = work_dir / run / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(lines))


def record(epoch, scores, metric='coco/AP'):
    branches = {f'branch{t}/{metric}': score for t, score in enumerate(scores)}
    return json.dumps({metric: scores[0], **branches, f'ensemble/{metric}': 0.99, 'step': epoch})


CFG = Config(dict(default_hooks=dict(checkpoint=dict(save_best='coco/AP', rule='greater'))))


def test_the_highest_branch_of_that_epoch_wins_not_the_ensemble(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.9, 0.1, 0.1]), record(10, [0.1, 0.2, 0.3])])
    assert best_branch(CFG, tmp_path, 5) == 0
    assert best_branch(CFG, tmp_path, 10) == 2


def test_training_lines_with_the_same_step_are_not_validations(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.1, 0.2]), json.dumps(dict(loss=1, step=5))])
    assert best_branch(CFG, tmp_path, 5) == 1


def test_a_resumed_run_counts_with_its_newest_record(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.9, 0.1])])
    write(tmp_path, '20260102_000000', [record(5, [0.1, 0.9])])
    assert best_branch(CFG, tmp_path, 5) == 1


def test_half_a_line_of_a_killed_run_is_passed_over(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.1, 0.2]), '{"coco/AP": 0.'])
    assert validation_record(tmp_path, 5)['branch1/coco/AP'] == 0.2


def test_less_is_better_for_errors(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.1, 0.2], 'NME')])
    assert best_branch(Config(dict()), tmp_path, 5) == 0
    rule = dict(default_hooks=dict(checkpoint=dict(save_best='NME', rule='less')))
    assert best_branch(Config(rule), tmp_path, 5) == 0


def test_lists_of_metrics_and_rules_are_understood(tmp_path):
    lines = [record(5, [0.5, 0.9, 0.1])]
    write(tmp_path, '20260101_000000', lines)
    hook = dict(save_best=['PCK', 'coco/AP'], rule=['less', 'greater'])
    assert best_branch(Config(dict(default_hooks=dict(checkpoint=hook))), tmp_path, 5) == 1


def test_a_rule_for_another_metric_is_not_applied(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.5, 0.9, 0.1])])
    hook = dict(save_best='loss', rule='less')
    assert best_branch(Config(dict(default_hooks=dict(checkpoint=hook))), tmp_path, 5) == 1


def test_a_branch_without_a_number_does_not_win(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [float('nan'), 3.0, 2.0], 'EPE')])
    assert best_branch(Config(dict()), tmp_path, 5) == 2


def test_no_record_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"--branch best: no validation.*epoch 7.*branch='all'"):
        best_branch(CFG, tmp_path, 7)


def test_where_nothing_is_recorded_it_is_said_who_records(tmp_path):
    told = r'no .*scalars\.json.*visualizer\.vis_backends.*LocalVisBackend'
    with pytest.raises(ValueError, match=told):
        branch_records(CFG, [tmp_path / 'elsewhere', tmp_path], 5)
    write(tmp_path, '20260101_000000', [record(5, [0.5, 0.9, 0.1])])
    with pytest.raises(ValueError, match='epoch 7 ') as caught:
        branch_records(CFG, [tmp_path / 'elsewhere', tmp_path], 7)
    assert 'vis_backends' not in str(caught.value)


def test_the_branches_come_in_order_with_their_metric(tmp_path):
    write(tmp_path, '20260101_000000', [record(5, [0.5, 0.9, 0.1])])
    found = branch_records(CFG, [tmp_path / 'elsewhere', tmp_path], 5)
    assert found == [(1, 'coco/AP', 0.9), (0, 'coco/AP', 0.5), (2, 'coco/AP', 0.1)]
    less = Config(dict(default_hooks=dict(checkpoint=dict(save_best='coco/AP', rule='less'))))
    assert [one.branch for one in branch_records(less, [tmp_path], 5)] == [2, 0, 1]


def test_a_learning_curve_is_that_of_the_validations(tmp_path):
    for call in ('20250101_000000', '20250101_000001'):
        backend = LocalVisBackend(save_dir=str(tmp_path / call / 'vis_data'))
        backend.add_scalars({'loss': 1.0, 'epoch': 1, 'iter': 7}, 7, f'{call}.json')
        backend.add_scalars({'okdhp/attention_std': 0.5}, step=7)  # another hook
        backend.add_scalars({'AP': 0.25, 'time': 1.0}, 2, f'{call}.json')
    assert learning_curve(tmp_path) == {2: {'AP': 0.25}}


def test_the_newest_records_are_those_of_the_last_start(tmp_path):
    write(tmp_path, '20260101_000000', [record(1, [0.1])])
    write(tmp_path, '20260102_000000', [record(2, [0.1]), record(3, [0.1]), '{"coco'])
    assert [one['step'] for one in newest_records(tmp_path)] == [2, 3]


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing: no record of a run'):
        newest_records(tmp_path / 'nothing')


def test_a_run_of_iterations_is_told_how_to_record_by_them(tmp_path):
    with pytest.raises(ValueError, match=r'after iteration 30 .*log_metric_by_epoch=False'):
        branch_records(CFG, [tmp_path], 30, 'iteration')
