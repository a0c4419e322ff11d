"""The plan grows with every call, and a run is used again only if it is the same one."""

import pytest

from mmpose_kd.gain.configs import SettingError
from mmpose_kd.gain.plan import Comparison, Run, as_planned, extend_plan, read_plan

from ..helpers.gain import folders


def test_later_calls_add_to_the_plan(tmp_path):
    extend_plan(tmp_path, [Comparison('p', 'd', 500, 9, (0, 1), 12)], 'one')
    extend_plan(
        tmp_path, [Comparison('p', 'd', 500, 9, (2,)), Comparison('p', 'd', None, 9, (0,))], 'two'
    )
    comparisons, commands = read_plan(tmp_path)
    assert comparisons == [
        Comparison('p', 'd', 500, 9, (0, 1, 2), 12),
        Comparison('p', 'd', None, 9, (0,)),
    ]
    assert commands == ['one', 'two']


def test_all_seeds_are_compared_with_plain_runs_of_one_length(tmp_path, capsys):
    extend_plan(tmp_path, [Comparison('p', 'd', 500, 9, (0, 1), 12)], 'one')
    again = [Comparison('p', 'd', 500, 9, (2,), 13), Comparison('p', 'e', 500, 9, (2,), 13)]
    wanted = as_planned(tmp_path, again)
    assert [c.plain_epochs for c in wanted] == [12, 13]
    told = capsys.readouterr().err
    assert 'd: now measured, p could train for 13 epochs; it keeps to 12' in told
    extend_plan(tmp_path, wanted, 'two')
    known, _ = read_plan(tmp_path)
    assert [(c.seeds, c.plain_epochs) for c in known] == [((0, 1, 2), 12), ((2,), 13)]


def test_a_run_with_another_teacher_at_the_same_place_is_not_used(pair, tmp_path):
    run, known = Run('okdhp', None, 2, 0), folders(pair, tmp_path)
    teacher = tmp_path / 'teacher.pth'
    teacher.write_bytes(b'one')
    known.configs['okdhp'].model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(teacher)
    )
    folder = known.prepare(run)
    (folder / 'result.json').write_text('{}')
    known.check(run)
    teacher.write_bytes(b'trained anew')
    with pytest.raises(SettingError, match=r'gain\.weights\.model\.backbone\.init_cfg'):
        known.check(run)


def test_a_run_made_with_other_settings_is_not_used(pair, tmp_path):
    run = Run('okdhp', None, 2, 0)
    known = folders(pair, tmp_path)
    folder = known.prepare(run)
    (folder / 'result.json').write_text('{}')
    known.check(run)
    known.configs['okdhp'].default_hooks.logger.interval = 9  # tells more, changes nothing
    known.check(run)
    known.configs['okdhp'].resume_from = None  # None is what it is without
    known.check(run)
    known.configs['plain'].model.head.loss.type = 'KeypointOHKMMSELoss'
    known.configs['okdhp'].optim_wrapper.optimizer.lr = 0.5
    with pytest.raises(SettingError) as error:
        known.check(run)
    for part in (str(folder), 'optim_wrapper.optimizer.lr: 0.001, now 0.5', 'KeypointOHKM'):
        assert part in str(error.value)


def test_a_run_with_other_initial_weights_is_not_used(pair, tmp_path):
    weights = tmp_path / 'weights.pth'
    for name in ('plain', 'okdhp'):
        run, known = Run(name, None, 2, 0), folders(pair, tmp_path)
        folder = known.prepare(run)
        (folder / 'result.json').write_text('{}')
        weights.write_bytes(b'some')
        known.configs['plain'].load_from = str(weights)
        with pytest.raises(SettingError, match=r'gain\.load_from: None, now'):
            known.check(run)
        known.prepare(run)
        known.check(run)
        weights.write_bytes(b'others')
        with pytest.raises(SettingError, match=r'gain\.load_from'):
            known.check(run)
