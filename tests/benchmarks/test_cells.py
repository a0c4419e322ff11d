"""The cells: their ledger, their statistics, and the configs that are compared."""

import copy
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from scipy.stats import ttest_rel

from mmpose_kd.demo.drawn_people import draw_dataset
from mmpose_kd.gain.command import device
from mmpose_kd.gain.configs import check_pair, load_config
from mmpose_kd.gain.files import write_json
from mmpose_kd.gain.subset import subset

from ..helpers import ROOT

sys.path.append(str(ROOT))

from benchmarks.cells.__main__ import main
from benchmarks.cells.cell import CELLS
from benchmarks.cells.ledger import Ledger, Row
from benchmarks.cells.methods import METHODS
from benchmarks.cells.run import CellRun, Wanted, kept_aside
from benchmarks.cells.table import paired, table, time_to_plain
from benchmarks.cells.weights import renamed

P = CELLS['P']
#: a recipe without and with a teacher, a baseline of two losses; the slow tests have all
QUICK = [('ocd', 'deeppose'), ('dskd', 'heatmap'), ('dwpose', 'simcc')]


def row(**changes):
    given = dict(
        part='val', head='heatmap', method='plain', epochs=25, seed=0, pck02=30.0, pck01=10.0,
        ap=0.2, seconds=100.0, step=1.0, step_device='a machine', curve='5:10.00 25:30.00',
        device='a machine', commit='abc', settings='def',
    )  # fmt: skip
    return Row(**{**given, **changes})


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A COCO file of 40 people where the configs look for one, and weights to start from."""
    annotations = [
        dict(id=i, image_id=i // 2, category_id=1, keypoints=[5, 5, 2] * 14, num_keypoints=14,
             bbox=[0, 0, 9, 9], area=81, iscrowd=0)
        for i in range(40)
    ]  # fmt: skip
    images = [dict(id=i, file_name=f'{i}.jpg', height=10, width=10) for i in range(20)]
    (tmp_path / 'annotations').mkdir()
    for split in ('train', 'val'):
        file = tmp_path / f'annotations/{split}.json'
        file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=[])))
    (tmp_path / 'metainfo.py').write_text('dataset_info = dict()')
    init_default_scope('mmpose')
    stock = MODELS.build(dict(type='MobileNetV2', out_indices=(7,)))
    torch.save(stock.state_dict(), tmp_path / 'weights.pth')
    for name, value in (('LSPET', '.'), ('LIVESTOCK', '.'), ('MOBILENETV2', 'weights.pth')):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.chdir(ROOT)
    return tmp_path


def test_the_ledger_keeps_every_run_once_and_reads_what_it_wrote(tmp_path):
    ledger = Ledger(tmp_path / 'cell.csv')
    ledger.add(row(seed=1))
    ledger.add(row(seed=0, pck02=20.0))
    ledger.add(row(seed=0, pck02=31.0))
    again = Ledger(tmp_path / 'cell.csv')
    assert again.rows == ledger.rows
    assert {s: r.pck02 for s, r in again.select('val', 'heatmap', 'plain', 25).items()} == {
        0: 31.0,
        1: 30.0,
    }
    assert again.select('tune', 'heatmap', 'plain', 25) == {}


def test_two_commands_may_add_to_one_ledger(tmp_path):
    first, second = Ledger(tmp_path / 'cell.csv'), Ledger(tmp_path / 'cell.csv')
    first.add(row(seed=1))
    second.add(row(seed=0))
    first.add(row(seed=2))
    assert {key[-1] for key in Ledger(tmp_path / 'cell.csv').rows} == {0, 1, 2}


def test_the_interval_is_the_paired_t_interval_over_the_seeds_that_both_have():
    one, two = [30.1, 31.4, 29.8, 30.6, 99.0], [32.0, 32.9, 32.2, 31.5]
    plain = {seed: row(seed=seed, pck02=value) for seed, value in enumerate(one)}
    method = {seed: row(seed=seed, pck02=value) for seed, value in enumerate(two)}
    found = paired(plain, method)
    expected = ttest_rel(two, one[:4]).confidence_interval(0.95)
    np.testing.assert_allclose((found.low, found.high), expected)
    assert found.seeds == 4 and found.mean == pytest.approx(np.subtract(two, one[:4]).mean())
    assert paired(plain, {}) is None
    assert paired(plain, {0: row(pck02=31.1)}).low is None


def test_a_method_is_compared_with_plain_training_of_its_time_or_longer():
    assert [P.plain_epochs(r) for r in (0.9, 1.0, 1.001, 1.12, 1.4, 3.03)] == [
        25,
        25,
        28,
        28,
        35,
        76,
    ]
    ledger = Ledger(ROOT / 'there_is_none.csv')
    for seed in (0, 1):
        for changes in (
            {},
            dict(epochs=31, pck02=32.0),
            dict(method='dskd', pck02=33.0 + seed, step=1.2, curve='5:20.00 20:30.00 25:33.00'),
        ):
            found = row(seed=seed, **changes)
            ledger.rows[found.key] = found
    said = table(P, ledger, 'val')
    (line,) = [line for line in said.splitlines() if '| DSKD, one' in line]
    assert '+3.50 [-2.85, +9.85], 2 seeds | not shown |' in line
    assert '+1.50 [-4.85, +7.85], 2 seeds (31)' in line
    assert line.endswith('| 0.96 |')  # 20 of 25 epochs at 1.2 plain steps
    assert 'different settings' not in said
    for seed in (0, 1):  # 31 epochs would be enough, and were not run
        del ledger.rows['val', 'heatmap', 'plain', 31, seed]
        longer = row(seed=seed, epochs=35, pck02=32.5)
        ledger.rows[longer.key] = longer
    assert '+1.00 [-5.35, +7.35], 2 seeds (35)' in table(P, ledger, 'val')
    alone = row(seed=0, epochs=31, pck02=32.0)  # fewer seeds: the longer ones say more
    ledger.rows[alone.key] = alone
    assert '+1.00 [-5.35, +7.35], 2 seeds (35)' in table(P, ledger, 'val')
    other = row(method='dskd', seed=2, settings='other')
    ledger.rows[other.key] = other
    assert 'dskd_heatmap, 25 epochs was run with different settings: def, other' in table(
        P, ledger, 'val'
    )


def test_not_worse_needs_an_interval_above_the_margin():
    plain = {seed: row(seed=seed) for seed in (0, 1)}

    def over(*values):
        return paired(plain, {s: row(seed=s, pck02=30 + v) for s, v in enumerate(values)})

    assert over(-0.7, -0.7).not_worse == 'yes'
    assert over(-0.8, -0.8).not_worse == 'not shown'
    assert over(2, 5).not_worse == 'not shown'  # two seeds that differ by 3 points
    assert over(5).not_worse == ''


def test_what_never_reaches_the_plain_accuracy_has_no_time():
    plain = {0: row()}
    assert time_to_plain(plain, {0: row(curve='5:10.00 25:29.99')}) is None
    assert time_to_plain(plain, {0: row(curve='5:31.00 25:29.99')}) is None  # once, by chance
    noisy = {0: row(curve='5:31.00 10:29.00 15:30.50 20:31.00 25:32.00')}
    assert time_to_plain(plain, noisy) == pytest.approx(15 / 25)


@pytest.mark.parametrize('name', ['P', 'A'])
def test_people_kept_aside_for_tuning_are_in_no_training(data, tmp_path, name):
    cell = copy.copy(CELLS[name])
    object.__setattr__(cell, 'persons', 25)
    object.__setattr__(cell, 'tested', 10)
    cfg = load_config(str(cell.heads['heatmap']))
    aside = json.loads(kept_aside(cfg, cell, tmp_path / 'data').read_text())['annotations']
    trained = json.loads(subset(cfg, 25, tmp_path / 'subsets').read_text())['annotations']
    assert (len(aside), len(trained)) == (10, 25)
    assert not {a['id'] for a in aside} & {a['id'] for a in trained}


@pytest.mark.parametrize(
    ('name', 'head'),
    [
        pytest.param(name, head, marks=[pytest.mark.slow] * ((name, head) not in QUICK))
        for name, method in METHODS.items()
        for head in method.heads
    ],
)
def test_every_method_makes_a_config_that_can_be_compared_with_the_plain_one(data, name, head):
    cfg = load_config(str(P.heads[head]))
    method = METHODS[name]
    teaching = load_config(str(P.heads[method.teacher or head]))
    teaching.dump(data / 'teacher.py')
    state = MODELS.build(copy.deepcopy(teaching.model)).state_dict()
    torch.save({'state_dict': state}, data / 'teacher.pth')
    teacher = dict(config=str(data / 'teacher.py'), checkpoint=str(data / 'teacher.pth'))
    made = Config(method.make(cfg.to_dict(), [teacher] * method.teachers))
    check_pair(cfg, made, name)
    MODELS.build(copy.deepcopy(made.model))
    assert made.to_dict() != cfg.to_dict()


def test_weights_are_renamed_by_their_order_and_others_refused():
    init_default_scope('mmpose')
    stock = MODELS.build(dict(type='MobileNetV2', out_indices=(7,))).state_dict()
    theirs = {f'features.{i}.{k.rpartition(".")[2]}': v for i, (k, v) in enumerate(stock.items())}
    found = renamed({**theirs, 'classifier.1.weight': torch.zeros(10, 1280)})
    assert found and all(torch.equal(found[k], stock[k]) for k in found)
    with pytest.raises(ValueError, match='MobileNetV2 of width 1'):
        renamed(dict(list(theirs.items())[1:]))


def test_the_command_lists_what_has_not_run(data, tmp_path):
    arguments = ['P', '--out', str(tmp_path / 'out'), '--head', 'heatmap', '--method', 'dskd']
    arguments += ['--seed', '3', '--list', '--results', str(tmp_path / 'results')]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert [line for line in result.output.splitlines() if line.startswith('not run')] == [
        'not run: plain_heatmap, 25 epochs, seed 3',
        'not run: dskd_heatmap, 25 epochs, seed 3',
    ]
    known = Ledger(tmp_path / 'results/cell_p.csv')
    known.add(row(method='dskd', seed=3, step=1.2, step_device=device(), device='a GPU'))
    known.add(
        row(method='dskd', seed=2, step=1.9, device=device())
    )  # another machine's step says nothing here
    listed = CliRunner().invoke(main, [*arguments, '--part', 'val'])
    assert [line for line in listed.output.splitlines() if line.startswith('not run')] == [
        'not run: plain_heatmap, 25 epochs, seed 3',
        'not run: plain_heatmap, 31 epochs, seed 3',
    ]
    wrong = CliRunner().invoke(main, ['P', '--out', str(tmp_path), '--head', 'rle'])
    assert wrong.exit_code == 2 and 'heatmap' in wrong.output


def settings_of(folder, **changes):
    """Hash of a plain run's settings, made in a folder."""
    work = CellRun(replace(P, persons=25), folder, 'val', Ledger(folder / 'cell.csv'), 1)
    wanted = Wanted('heatmap', 'plain', 25, 0)
    work.plain('heatmap').merge_from_dict(changes)
    work.folders('heatmap', 'plain').prepare(work.run(wanted))
    return work.settings(wanted)


def test_settings_are_told_apart_wherever_their_files_lie(data, tmp_path, monkeypatch):
    first = settings_of(tmp_path / 'a')
    other = tmp_path / 'other'
    other.mkdir()
    shutil.copy(data / 'weights.pth', other / 'named_otherwise.pth')
    monkeypatch.setenv('MOBILENETV2', str(other / 'named_otherwise.pth'))
    assert settings_of(tmp_path / 'b') == first
    assert settings_of(tmp_path / 'c', **{'optim_wrapper.optimizer.lr': 2e-3}) != first
    (other / 'named_otherwise.pth').write_bytes(b'other weights')
    assert settings_of(tmp_path / 'd') != first


def test_a_run_that_was_stopped_in_its_last_validation_has_a_whole_curve(data, tmp_path):
    work = CellRun(replace(P, persons=25), tmp_path, 'val', Ledger(tmp_path / 'cell.csv'), 1)
    wanted = Wanted('heatmap', 'plain', 25, 0)
    folder = work.folders('heatmap', 'plain').prepare(work.run(wanted))
    measured = {'pck/PCK@0.2': 30.0}
    about = dict(curve={'20': {'pck/PCK@0.2': 29.0}}, metrics=dict(all=measured, oks_ap=0.3))
    write_json(folder / 'result.json', dict(about, seconds=1.0, samples=40))
    points = np.array([[[0.0, 0.0], [0.0, 9.0]]])
    np.savez(
        folder / 'persons.npz', ids=np.arange(1), names=np.array(['left_shoulder', 'right_hip']),
        keypoints=points, target=points, visible=np.ones((1, 2), bool), boxes=np.ones((1, 4)),
    )  # fmt: skip
    work.keep(wanted)
    (kept,) = work.ledger.rows.values()
    assert kept.validations() == {20: 29.0, 25: 30.0}
    assert '| 1.00 |' in table(P, work.ledger, 'val')


@pytest.mark.slow
def test_a_cell_runs_to_its_table_and_runs_nothing_twice(tmp_path, monkeypatch):
    draw_dataset(tmp_path / 'data', train=12, val=6, seed=0, progress=False)
    cfg = Config.fromfile(ROOT / 'configs/demo/deeppose_res18-small.py')
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.data_root = str(tmp_path / 'data')
    cfg.data_root = str(tmp_path / 'data')
    labels = tmp_path / 'data' / cfg.val_dataloader.dataset.ann_file
    cfg.val_evaluator = cfg.test_evaluator = [dict(type='CocoMetric', ann_file=str(labels))]
    cfg.dump(tmp_path / 'plain.py')
    tiny = replace(
        P, heads={'deeppose': tmp_path / 'plain.py'}, persons=8, epochs=2, longer=(3, 4),
        yardstick='bbox',
    )  # fmt: skip
    monkeypatch.setitem(CELLS, 'P', tiny)
    arguments = ['P', '--part', 'val', '--out', str(tmp_path / 'out'), '--results', str(tmp_path)]
    arguments += ['--head', 'deeppose', '--method', 'ocd', '--seed', '0', '--seed', '1']
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    rows = Ledger(tmp_path / 'cell_p.csv').rows
    (step,) = {one.step for one in rows.values() if one.method == 'ocd'}
    epochs = tiny.plain_epochs(step)
    wanted = {('ocd', 2, 0), ('ocd', 2, 1), ('plain', 2, 0), ('plain', 2, 1)}
    assert {key[2:] for key in rows} == wanted | {('plain', epochs, 0), ('plain', epochs, 1)}
    assert (
        len({one.settings for one in rows.values() if one.key[1:4] == ('deeppose', 'plain', 2)})
        == 1
    )
    assert not any(' ' in one.commit for one in rows.values())  # none went on with another
    assert '| OCD | 2 of 5 |' in (tmp_path / 'cell_p_val.md').read_text(encoding='utf-8')
    assert 'not run' not in done.output

    monkeypatch.setattr('benchmarks.cells.run.run_all', lambda runs, *rest: runs)  # all fail
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert CliRunner().invoke(main, [*arguments, '--seed', '2']).exit_code == 1
