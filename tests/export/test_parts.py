"""The steps of an export: which branch, what a checkpoint holds, what does not fit."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmpose_kd.export import ExportError, student
from mmpose_kd.records import BranchRecord

from ..helpers.models import build, okdhp_config, plain_config


def best_of(monkeypatch, values, costs, bigger=False, deployed=100):
    """The branch that is taken and what is told: values and costs by branch."""
    records = [BranchRecord(t, 'AP', value) for t, value in values.items()]
    records.sort(key=lambda one: -one.value)
    monkeypatch.setattr(student, 'branch_records', lambda *_: records)
    monkeypatch.setattr(student, '_training_part', lambda model: None)
    monkeypatch.setattr(
        student, '_cost', lambda model, part, t: deployed if t is None else costs[t]
    )
    cfg = Config(dict(model=dict(type='A')))
    record, told = student._best(cfg, Path('run.py'), Path('a.pth'), {}, None, bigger)
    return record.branch, told


def test_the_best_branch_is_taken_if_it_is_not_bigger(monkeypatch):
    assert best_of(monkeypatch, {0: 0.5, 1: 0.9}, {0: 100, 1: 100}) == (1, None)
    assert best_of(monkeypatch, {0: 0.5, 1: 0.9}, {0: 100, 1: 40}) == (1, None)
    assert best_of(monkeypatch, {0: 0.5, 1: 0.9}, {0: 100, 1: 40}, bigger=True) == (1, None)


def test_of_bigger_ones_the_best_that_is_not_is_taken_and_the_better_one_told(monkeypatch):
    values, costs = {0: 0.5, 1: 0.9, 2: 0.6, 3: 0.7}, {0: 100, 1: 2000, 2: 100, 3: 101}
    taken, told = best_of(monkeypatch, values, costs)
    assert taken == 2
    assert told == (
        'branch 1 was better (AP 0.9), but has 2,000 parameters, the deployed branch 100: it is '
        'not taken without --allow-bigger'
    )
    taken, told = best_of(monkeypatch, values, costs, bigger=True)
    assert (taken, told) == (1, 'branch 1 has 1,900 parameters more than the deployed branch')


def test_where_all_are_bigger_none_is_taken_unasked(monkeypatch):
    with pytest.raises(ExportError, match=r'every branch has more.* deployed one, 100: give'):
        best_of(monkeypatch, {1: 0.9, 2: 0.5}, {1: 200, 2: 200})
    assert best_of(monkeypatch, {1: 0.9, 2: 0.5}, {1: 200, 2: 200}, bigger=True)[0] == 1


def test_records_are_looked_for_beside_checkpoint_and_config_and_in_the_work_dir(monkeypatch):
    asked = []

    def branch_records(cfg, folders, finished, unit):
        asked.append((folders, finished))
        raise ValueError('no records')

    monkeypatch.setattr(student, 'branch_records', branch_records)
    cfg = Config(dict(model={}, work_dir='w'))
    saved = dict(meta=dict(epoch=3))
    for one in (cfg, Config(dict(model={}, work_dir=None))):
        with pytest.raises(ExportError, match=r'^no records$'):
            student._best(one, Path('c/run.py'), Path('p/a.pth'), saved, None, False)
    folders = [Path('p'), Path('c')]
    assert asked == [([*folders, Path('w')], 3), (folders, 3)]


@pytest.mark.parametrize(
    ('train_cfg', 'meta', 'finished'),
    [
        (dict(by_epoch=True), dict(epoch=3, iter=30), 3),
        (dict(by_epoch=False), dict(epoch=0, iter=30), 30),
        (dict(type='IterBasedTrainLoop', max_iters=90), dict(epoch=0, iter=30), 30),
        (dict(max_epochs=5), dict(epoch=3, iter=30), 3),
        (None, dict(epoch=3, iter=30), 3),
        (None, dict(iter=30), None),
        (None, dict(epoch='3'), None),
        (None, None, None),
    ],
)
def test_how_long_a_run_was_trained_is_said_by_its_checkpoint(train_cfg, meta, finished):
    cfg = Config(dict(train_cfg=train_cfg, model={}))
    assert student._finished(cfg, dict(meta=meta)) == finished
    assert student._finished(Config(dict(model={})), dict(meta=dict(epoch=2))) == 2


def test_weights_are_taken_from_a_checkpoint_or_from_a_bare_state_dict():
    weight = torch.ones(1)
    for saved in (dict(state_dict={'module.a.module.b': weight}), {'a.module.b': weight}):
        assert student._state_of(saved, Path('a.pth')) == {'a.module.b': weight}
    for wrong in ([1], {0: weight}, {'a': 1}, {'a': weight, 'b': None}):
        with pytest.raises(ExportError, match=r'^a\.pth: its state_dict is not one of weights'):
            student._state_of(dict(state_dict=wrong), Path('a.pth'))


def test_what_does_not_fit_is_told_by_kind_with_the_first_names():
    one, two = torch.zeros(1), torch.zeros(2, 3)
    assert student._differences(dict(a=one, b=two), dict(a=one, b=two)) == []
    wanted = {f'w{i}': one for i in range(4)} | dict(c=two, d=two)
    given = {f'g{i}': one for i in range(3)} | dict(c=one, d=two)
    assert student._differences(wanted, given) == [
        '  4 missing in the checkpoint: w0, w1, w2, ...',
        '  3 not in the model: g0, g1, g2',
        '  1 of another shape: c (1,) in place of (2, 3)',
    ]


@pytest.mark.parametrize(
    ('saved', 'told'),
    [
        ({}, ''),
        (dict(meta=dict(experiment_name='a')), 'the checkpoint was written by run a'),
        (dict(meta=dict(experiment_name=3, cfg='model = dict(head=dict())')), ''),
        (
            dict(meta=dict(cfg="model = dict(type='T', head=dict(type='H'))")),
            'the checkpoint was written by a config with model.type=T, head.type=H',
        ),
        (
            dict(meta=dict(experiment_name='a', cfg="model = dict(type='T')")),
            'the checkpoint was written by run a, a config with model.type=T',
        ),
        (dict(meta=dict(cfg='model = 3')), ''),
    ],
)
def test_from_which_run_a_checkpoint_comes(saved, told):
    assert student._origin(saved) == told


def test_a_branch_is_asked_of_models_with_branches_alone():
    model = plain_config()
    trained = build(model, init=False)
    with pytest.raises(ExportError, match=r'^branch 1: this model has no branches'):
        student._peel(model, trained, trained.state_dict(), 1, by_hook=True)
    with pytest.raises(ExportError, match=r'^model: nothing of mmpose_kd in it; a plain model'):
        student._peel(model, trained, trained.state_dict(), None, by_hook=False)
    state = trained.state_dict()
    assert student._peel(model, trained, state, None, by_hook=True) == (
        model, state, 'the trained model',
    )  # fmt: skip
    online = okdhp_config()
    trained = build(online, init=False)
    for branch, label in ((None, 'branch 0'), (0, 'branch 0'), (2, 'branch 2')):
        found = student._peel(online, trained, trained.state_dict(), branch, by_hook=False)
        assert found[2] == label and found[0]['head']['type'] == 'HeatmapHead'


def test_meta_is_written_as_plain_data():
    meta = dict(
        a=np.array([1.5, 2.0]),
        b=np.float32(0.5),
        c=(1, np.int64(2)),
        d={np.int64(3): {'x'}},
        e='y',
    )
    found = student._plain_data(meta)
    assert found == dict(a=[1.5, 2.0], b=0.5, c=[1, 2], d={3: ['x']}, e='y')
    assert [type(found[k]) for k in 'abc'] == [list, float, list]
    assert type(found['c'][1]) is int and [type(k) for k in found['d']] == [int]


def test_it_is_written_in_the_nearest_folder_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    for path in ('', 'a', 'a/b', 'file', tmp_path / 'a' / 'b'):
        assert student._existing(Path(path)) == tmp_path


def test_what_was_done_is_told_in_a_line():
    facts = dict(label='branch 1', branch=1, parameters=12345, passed_over=None)
    one = student.Exported(Path('a.pth'), Path('a.py'), metric=None, epoch=None, **facts)
    assert tuple(one) == (Path('a.pth'), Path('a.py')) and one.parameters == 12345
    assert str(one).startswith('branch 1, 12,345 parameters; verified: ')
    two = student.Exported(Path('a.pth'), Path('a.py'), metric='AP 0.5', epoch=0, **facts)
    assert str(two).startswith('branch 1, AP 0.5 after epoch 0, 12,345 parameters; ')


def test_the_model_that_predicts_is_a_distillers_student():
    inner = SimpleNamespace()
    assert student._predictor(SimpleNamespace(student=inner)) is inner
    assert student._predictor(inner) is inner


def test_a_preprocessor_beside_the_model_is_the_models(tmp_path):
    file = tmp_path / 'run.py'
    file.write_text("model = dict(type='A')\ndata_preprocessor = dict(type='B')\n")
    assert student._read_config(file).model == dict(type='A', data_preprocessor=dict(type='B'))
    file.write_text(
        "model = dict(type='A', data_preprocessor=dict(type='C'))\n"
        "data_preprocessor = dict(type='B')\n"
    )
    assert student._read_config(file).model.data_preprocessor.type == 'C'
    file.write_text("model = dict(type='A')\n")
    assert student._read_config(file).model == dict(type='A')
