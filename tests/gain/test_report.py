"""The report of what has finished, and of what has not."""

import csv
import json

import numpy as np
import pytest

from mmpose_kd.gain import plots
from mmpose_kd.gain.configs import SettingError
from mmpose_kd.gain.plan import Comparison, Run, extend_plan
from mmpose_kd.gain.report import write_report


def fake_run(out, run, found, names=('left_shoulder', 'right_hip')):
    """A finished run of two persons, each with one joint off by so many torso lengths."""
    folder = run.folder(out)
    folder.mkdir(parents=True)
    target = np.array([[[0, 0], [30, 40]], [[0, 0], [60, 80]]], float)
    keypoints = target.copy()
    keypoints[:, 0, 0] = np.array([50, 100]) * found
    boxes = np.array([[0, 0, 30, 40], [0, 0, 60, 200]], float)
    np.savez(
        folder / 'persons.npz', keypoints=keypoints, scores=np.ones((2, 2)), target=target,
        visible=np.ones((2, 2), bool), boxes=boxes, ids=np.arange(2), names=np.array(names),
    )  # fmt: skip
    metrics = {'all': {}, 'oks_ap': 0.5 - found[0]}
    curve = {'1': {'pck/PCK@0.2': 40.0}, '2': {'pck/PCK@0.2': 50.0}}
    about = {'samples': 6, 'seconds': 60.0, 'metrics': metrics, 'curve': curve}
    (folder / 'result.json').write_text(json.dumps(about))


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """A folder with a plain and a distilled run, and one that is missing."""
    monkeypatch.setattr('mmpose_kd.gain.report.costs', lambda *_: {})
    extend_plan(tmp_path, [Comparison('p', 'd', 500, 2, (0, 1))], 'the command')
    for seed in (0, 1):
        fake_run(tmp_path, Run('p', 500, 2, seed), [0.3, 0.3])
    fake_run(tmp_path, Run('d', 500, 2, 0), [0.15, 0.3])
    return tmp_path


def test_the_report_tells_scores_gain_and_what_is_missing(reported):
    text = write_report(reported)
    assert 'd over p, same epochs (500 persons, 2 epochs): PCK@0.2 +25.00 [' in text
    assert '1 of 4 runs have no result yet' in text
    page = (reported / 'results.md').read_text()
    for part in ('the command', '| p | 2 | 2 of 2 | 60 s | 50.00 ± 0.00 |', '| d | 2 | 1 of 2 |'):
        assert part in page
    assert page.endswith('## Not run\n\n- d_500p_2e_seed1\n')
    rows = list(csv.DictReader((reported / 'results.csv').open()))
    assert [row['PCK@0.2'] for row in rows] == ['75.000', '50.000', '50.000']
    assert [row['PCK@0.1'] for row in rows] == ['50.000'] * 3
    assert {row['yardstick'] for row in rows} == {'torso'}
    for name in ('accuracy.png', 'curves.png'):
        assert (reported / name).stat().st_size > 5000


def test_other_settings_of_the_training_are_told(reported):
    for method, lr in (('p', 0.1), ('d', 0.2)):
        settings = {'optim_wrapper': {'optimizer': {'lr': lr}}, 'param_scheduler': []}
        folder = Run(method, 500, 2, 0).folder(reported)
        (folder / 'run.json').write_text(json.dumps({'settings': settings}))
    write_report(reported)
    page = (reported / 'results.md').read_text()
    sentence = (
        'd trains with `optim_wrapper.optimizer.lr=0.2`, p with `optim_wrapper.optimizer.lr=0.1`'
    )
    assert sentence in page and 'param_scheduler' not in page


def test_curves_are_drawn_of_what_all_runs_have(tmp_path):
    class Run:
        def __init__(self, curve):
            self.about = {'curve': curve}

    full = {'1': {'AP': 0.5}, '2': {'AP': 0.6}}
    mixed = {**full, '7': {'okdhp/attention_std': 0.1}}  # as older results may have it
    runs = [Run(mixed), Run(full), Run({'1': {'AP': 0.5}}), Run({})]
    assert plots._curve_metric(runs) == 'AP'
    _, axis = plots.plt.subplots()
    plots._curves(axis, [('one', runs[:2]), ('two', runs[2:])])
    assert [line.get_xdata().tolist() for line in axis.lines] == [[1, 2], [1]]
    plots.plt.close('all')


def test_the_box_is_the_yardstick_where_nobody_has_a_whole_torso(reported):
    file = Run('p', 500, 2, 0).folder(reported) / 'persons.npz'
    for run in reported.glob('runs/*'):
        arrays = dict(np.load(run / 'persons.npz'))
        arrays['visible'] = arrays['visible'] & np.array([[True, False]])  # the hip is never seen
        arrays['ids'] = np.array(['a81f', 'b'])
        np.savez(run / 'persons.npz', **arrays)
    write_report(reported)
    rows = list(csv.DictReader((reported / 'results.csv').open()))
    assert {row['yardstick'] for row in rows} == {'bbox'} and file.is_file()
    with pytest.raises(SettingError, match='no person has both left_shoulder and right_hip'):
        write_report(reported, 'torso')


def test_the_box_is_the_yardstick_where_there_is_no_torso(tmp_path, monkeypatch):
    monkeypatch.setattr('mmpose_kd.gain.report.costs', lambda *_: {})
    extend_plan(tmp_path, [Comparison('p', 'd', None, 2, (0,))], 'the command')
    fake_run(tmp_path, Run('p', None, 2, 0), [0.3, 0.3], names=('thumb', 'wrist'))
    write_report(tmp_path)
    (row,) = csv.DictReader((tmp_path / 'results.csv').open())
    assert (row['yardstick'], row['PCK@0.2']) == ('bbox', '75.000')  # 30 of 200 is near
    with pytest.raises(SettingError, match=r'--yardstick torso.*give --yardstick bbox'):
        write_report(tmp_path, 'torso')


def test_each_students_latency_is_in_those_of_its_own_plain_model(tmp_path, monkeypatch):
    seconds = {'p': 1.0, 'd': 1.0, 'q': 4.0, 'e': 4.0}
    known = {m: {'parameters': 1, 'macs': 1, 'seconds': [s]} for m, s in seconds.items()}
    monkeypatch.setattr('mmpose_kd.gain.report.costs', lambda *_: known)
    extend_plan(
        tmp_path, [Comparison('p', 'd', 500, 2, (0,)), Comparison('q', 'e', 500, 2, (0,))], 'it'
    )
    for method in seconds:
        fake_run(tmp_path, Run(method, 500, 2, 0), [0.3, 0.3])
    write_report(tmp_path)
    page = (tmp_path / 'results.md').read_text()
    assert 'latency, in those of its plain model' in page
    for method in seconds:
        assert f'| {method} | 1 | 1 | 1.00 |' in page
    for plain in ('p', 'q'):
        assert f'## 500 training persons, 2 epochs, against {plain}' in page


def test_costs_that_could_not_be_measured_are_said_to_be_missing(reported):
    write_report(reported)
    assert 'Not measured: cost_log.txt says why.' in (reported / 'results.md').read_text()
