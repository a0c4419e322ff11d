"""MMEngine's checkpoints load safely, crafted ones do no harm, and torch stays as it is."""

import os
import pickle
import random
import sys
import types
import warnings
import zipfile

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch.utils.data import DataLoader, Dataset

from mmpose_kd.core.checkpoints import CheckpointError, read_checkpoint
from mmpose_kd.core.safe_loading import (
    HISTORY_STATISTICS,
    STAND_INS,
    Builder,
    LogHistory,
    StandIn,
    _built,
    _name,
    has_list_of_globals,
    history_statistic,
    load_safely,
    load_strictly,
)

from ..helpers.crafted import HARMLESS, REFUSED, whole, write_pickle
from ..helpers.forks import in_a_fork

pytestmark = pytest.mark.reliability

from_torch_2_6 = pytest.mark.skipif(not has_list_of_globals(), reason='torch has no list before')


def allowed():
    return set(torch.serialization.get_safe_globals()) if has_list_of_globals() else None


class Points(Dataset):
    METAINFO = dict(sigmas=np.array([0.1, 0.2], dtype=np.float32))
    metainfo = METAINFO

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.full((3,), float(index)))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.linear(torch.stack(inputs)).square().mean())


def runner(work_dir, max_epochs, **more):
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader(
            Points(),
            batch_size=4,
            sampler=DefaultSampler(Points(), shuffle=True),
            collate_fn=pseudo_collate,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, begin=0, end=4, by_epoch=False),
            dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True),
        ],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='EMAHook')],
        experiment_name=f'compat_{max_epochs}',
        **more,
    )


@pytest.fixture
def trained(tmp_path, monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', raising=False)
    run = runner(tmp_path, 1)
    run.train()
    return run, tmp_path / 'epoch_1.pth'


def test_a_training_checkpoint_loads_with_weights_only(trained):
    run, path = trained
    loaded = load_safely(path)
    assert torch.equal(loaded['ema_state_dict']['module.linear.weight'], run.model.linear.weight)
    kept = loaded['message_hub']['log_scalars']['train/loss']
    assert type(kept) is HistoryBuffer
    assert kept.data[0].tolist() == run.message_hub.get_scalar('train/loss').data[0].tolist()
    assert len(kept.data[0]) == 2
    assert kept.statistics('mean') == run.message_hub.get_scalar('train/loss').mean()
    np.testing.assert_array_equal(
        loaded['meta']['dataset_meta']['sigmas'], Points.METAINFO['sigmas']
    )


def test_a_runner_resumes_from_it(trained):
    run, path = trained
    resumed = runner(path.parent / 'resumed', 3, load_from=str(path), resume=True)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (3, 6)
    before = run.message_hub.get_scalar('train/loss').data[0].tolist()
    after = resumed.message_hub.get_scalar('train/loss').data[0].tolist()
    assert (after[:2], len(after)) == (before, 6)


@from_torch_2_6
def test_what_the_user_allows_torch_is_not_asked_and_stays_allowed(trained):
    """A user's own list has numpy's true functions: they do not reach our readers."""
    _, path = trained
    with torch.serialization.safe_globals([HistoryBuffer, np.ndarray, np.dtype, Arbitrary]):
        before = torch.serialization.get_safe_globals()
        torch.save(dict(a=Arbitrary(), b=np.ones(2)), path.with_name('own.pth'))
        loaded = load_safely(path.with_name('own.pth'))
        assert (type(loaded['a']), loaded['b'].tolist()) == (Arbitrary, [1, 1])
        write_pickle(path.with_name('evil.pth'), whole(REFUSED['array over a given buffer']))
        with pytest.raises(pickle.UnpicklingError):
            load_safely(path.with_name('evil.pth'))
        assert set(torch.serialization.get_safe_globals()) == set(before)
    kept = load_safely(path)['message_hub']['log_scalars']['train/loss']
    assert type(kept) is HistoryBuffer


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_arrays_and_numbers_of_numpy_1_and_2_load(tmp_path, module):
    values = dict(a=np.array([1.5, 2.5]), b=np.float32(0.5), c=np.int64(3), d=np.bool_(True))
    pickled = pickle.dumps(values, protocol=2)
    for name in (b'numpy.core.multiarray', b'numpy._core.multiarray'):
        pickled = pickled.replace(b'c' + name + b'\n', b'c' + module + b'\n')
    assert module in pickled
    write_pickle(tmp_path / 'numpy.pth', pickled)
    loaded = load_safely(tmp_path / 'numpy.pth')
    assert loaded['a'].tolist() == [1.5, 2.5]
    assert (loaded['b'], loaded['c'], loaded['d']) == (0.5, 3, True)
    assert (loaded['b'].dtype, loaded['c'].dtype) == (np.float32, np.int64)


class Reduces:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Arbitrary:
    pass


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, '__class__'),
        (HistoryBuffer, 'register_statistics'),
        (HistoryBuffer, 'update'),
        (np.ndarray, 'tofile'),
        (np.dtype, 'min'),
        (torch.Tensor, 'mean'),
    ],
)
def test_getattr_in_a_checkpoint_is_refused(tmp_path, owner, name):
    torch.save(Reduces(getattr, owner, name), tmp_path / 'evil.pth')
    with pytest.raises(
        pickle.UnpicklingError, match=r'it asks for the attribute|Unsupported global'
    ):
        load_safely(tmp_path / 'evil.pth')


@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: np.array([x, 1], dtype=object)])
def test_a_command_in_a_checkpoint_is_refused_and_not_run(tmp_path, wrap):
    mark = tmp_path / 'ran'
    torch.save(wrap(Reduces(os.system, f'touch {mark}')), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        load_safely(tmp_path / 'evil.pth')
    assert not mark.exists()


def test_empty_arrays_load(tmp_path):
    """Data sets of faces and hands have no sigmas: an empty array in every checkpoint."""
    saved = dict(sigmas=np.array([], dtype=np.float32), weights=np.ones(2))
    torch.save(saved, tmp_path / 'a.pth')
    loaded = load_safely(tmp_path / 'a.pth')
    np.testing.assert_array_equal(loaded['sigmas'], saved['sigmas'])
    assert loaded['sigmas'].dtype == np.float32


def test_bytes_in_a_checkpoint_are_never_made_to_measure(tmp_path):
    torch.save(Reduces(bytes, 10**9), tmp_path / 'evil.pth')
    with pytest.raises((TypeError, pickle.UnpicklingError)):
        load_safely(tmp_path / 'evil.pth')


def test_getattr_leads_to_nothing_that_can_be_called(tmp_path):
    # getattr(builtins.eval, '__self__') would be the module builtins.
    getter = b'cbuiltins\ngetattr\n'
    pickled = b'\x80\x02' + getter + b'cbuiltins\neval\nX\x08\x00\x00\x00__self__\x86R.'
    write_pickle(tmp_path / 'evil.pth', pickled)
    with pytest.raises(pickle.UnpicklingError):
        load_safely(tmp_path / 'evil.pth')
    # The function that getattr may serve is data: it cannot be called by the checkpoint.
    name = b'X\x03\x00\x00\x00max'
    pickled = b'\x80\x02' + getter + b'cmmengine.logging.history_buffer\nHistoryBuffer\n' + name
    write_pickle(tmp_path / 'evil.pth', pickled + b'\x86R)R.')
    with pytest.raises(pickle.UnpicklingError, match=r'unrecognized function|it calls'):
        load_safely(tmp_path / 'evil.pth')


@pytest.mark.parametrize('value', [Arbitrary(), types.SimpleNamespace(a=1), np.void(b'ab')])
def test_other_classes_are_still_refused(tmp_path, value):
    torch.save(value, tmp_path / 'other.pth')
    with pytest.raises(pickle.UnpicklingError):
        load_safely(tmp_path / 'other.pth')


@pytest.mark.parametrize('name', HISTORY_STATISTICS)
def test_history_buffers_own_statistics_are_named(name):
    assert history_statistic(LogHistory, name) == name


def test_a_text_that_only_claims_to_be_a_name_is_refused():
    class Text(str):
        pass

    with pytest.raises(pickle.UnpicklingError):
        history_statistic(LogHistory, Text('min'))


# What the safe loader of torch before 2.6 and the one of today are given instead of its own


def read_strictly(path):
    return _built(load_strictly(path), os.path.getsize(path))


@pytest.mark.parametrize('read', [load_safely, read_strictly])
def test_both_ways_read_the_same(trained, read):
    _, path = trained
    loaded = read(path)
    stock = torch.load(path, weights_only=False)
    assert pickle.dumps(loaded['meta']) == pickle.dumps(stock['meta'])
    for name, buffer in stock['message_hub']['log_scalars'].items():
        found = loaded['message_hub']['log_scalars'][name]
        for new, old in zip(found.data, buffer.data):
            assert (new.dtype, new.tolist()) == (old.dtype, old.tolist())
            assert type(new) is np.ndarray and new.flags.writeable
    assert loaded['optimizer']['param_groups'] == stock['optimizer']['param_groups']
    for name, weight in stock['state_dict'].items():
        assert torch.equal(loaded['state_dict'][name], weight)


@from_torch_2_6
def test_torch_itself_stays_as_strict_as_without_us(trained):
    """Only our readers and MMEngine's loader take them; a plain torch.load refuses."""
    _, path = trained
    allowed = {_name(entry) for entry in torch.serialization.get_safe_globals()}
    assert not allowed & set(STAND_INS)  # torch has some of its own in it
    with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
        torch.load(path, weights_only=True)
    load_safely(path)
    CheckpointLoader.load_checkpoint(str(path))
    with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
        torch.load(path, weights_only=True)


@from_torch_2_6
def test_mmengines_loader_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone.pth: no such file'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'gone.pth'))


@from_torch_2_6
def test_the_users_word_that_torch_may_load_anything_holds_in_mmengine(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    torch.save(dict(own=Arbitrary(), a=np.ones(2)), tmp_path / 'a.pth')
    assert type(CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['own']) is Arbitrary
    with pytest.raises(CheckpointError, match=r'Arbitrary, which is nothing'):
        read_checkpoint(tmp_path / 'a.pth')


# Crafted files


def refused_by_torch(path):
    return torch.load(path, weights_only=True)


def load_as_mmengine(path):
    return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')


READERS = [load_safely, read_strictly]
if has_list_of_globals():
    READERS.append(load_as_mmengine)


def process_state(folder):
    """What a file must not change."""
    return (
        sorted(os.listdir(folder)),
        dict(HistoryBuffer._statistics_methods),
        allowed(),
        {name: vars(cls).copy() for name, cls in (('a', HistoryBuffer), ('b', StandIn))},
        sorted(name for name in sys.modules if name in ('antigravity', 'this')),
    )


def outcome(read, folder, content):
    """``'refused'`` or the type of what was loaded, and what went wrong."""
    path = write_pickle(folder / 'x.pth', content)
    before = process_state(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found = type(read(path)).__name__
    except (MemoryError, SystemError) as error:
        found = f'raised {type(error).__name__}'
    except Exception:
        found = 'refused'
    changed = process_state(folder) != before
    return f'changed the process, {found}' if changed else found


@pytest.mark.parametrize('read', [*READERS, read_checkpoint])
def test_crafted_files_are_refused_and_change_nothing(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HistoryBuffer()  # fills the table of its statistics
    assert len(REFUSED) > 90
    contents = {name: whole(content) for name, content in REFUSED.items()}
    contents['no end'] = contents['nothing at all'][:-1]
    contents['nested deeply'] = whole(b']' * 200_000 + b'a' * 199_999)
    contents['tuples nested deeply'] = whole(b')' + b'\x85' * 200_000)

    def all_of_them():
        found = {name: outcome(read, tmp_path, content) for name, content in contents.items()}
        return '\n'.join(f'{name}: {how}' for name, how in found.items() if how != 'refused')

    assert in_a_fork(all_of_them) == ''


@pytest.mark.parametrize('read', READERS)
def test_harmless_variants_load_and_change_nothing(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HistoryBuffer()

    def all_of_them():
        found = {
            name: outcome(read, tmp_path, whole(content)) for name, content in HARMLESS.items()
        }
        return '\n'.join(f'{name}: {how}' for name, how in found.items())

    kinds = dict(line.split(': ') for line in in_a_fork(all_of_them).splitlines())
    assert set(kinds) == set(HARMLESS)
    assert set(kinds.values()) == {'ndarray', 'float64', 'HistoryBuffer', 'list'}


def test_what_a_file_says_is_what_is_built(tmp_path):
    def load(name):
        return load_safely(write_pickle(tmp_path / 'x.pth', whole(HARMLESS[name])))

    twice = load('an array twice')
    assert twice[0] is twice[1]
    assert load('an array by columns').flags.f_contiguous
    assert load('an array of the other byte order').dtype == np.dtype('>f8')
    history = load('a log history with statistics of its own')
    assert history.statistics('max') == 0
    assert 'evil' not in HistoryBuffer._statistics_methods


def test_random_bytes_in_a_true_file_never_crash(trained, tmp_path):
    """A fuzz of 600 files, each a true checkpoint with a few bytes of its pickle changed."""
    _, path = trained
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith('/data.pkl'))
        pickled = archive.read(name)
    draws = random.Random(0)

    def all_of_them():
        bad = []
        for number in range(300):
            content = bytearray(pickled)
            for _ in range(draws.randint(1, 4)):
                content[draws.randrange(len(content))] = draws.randrange(256)
            for read in (load_safely, read_strictly):
                how = outcome(read, tmp_path / 'fuzz', bytes(content))
                if how.startswith(('changed', 'raised SystemError')):
                    bad.append(f'{number}: {how}')
        return '\n'.join(bad)

    (tmp_path / 'fuzz').mkdir()
    HistoryBuffer()
    assert in_a_fork(all_of_them) == ''


def test_a_list_or_dict_inside_itself_loads_and_a_tuple_does_not():
    """A tuple cannot be filled later: what stands for it inside would be another one."""
    row, table = [], {}
    row.append(row)
    table['self'] = [table]
    for value in (row, table):
        assert Builder(0)(value) is value
    assert row[0] is row and table['self'][0] is table
    inner = []
    inner.append((inner, (inner,)))
    outer = (inner,)
    inner.append(outer)
    with pytest.raises(pickle.UnpicklingError, match='it has an object inside itself'):
        Builder(0)(outer)


@pytest.mark.parametrize(
    ('error', 'told'),
    [(error, r'^it has an array that cannot be built: too odd$')
     for error in (TypeError, ValueError, OverflowError, MemoryError, AttributeError)]
    + [(RecursionError, r'^it is nested too deeply$'), (pickle.UnpicklingError, r'^too odd$')],
)  # fmt: skip
def test_whatever_goes_wrong_in_building_is_a_refusal_of_the_file(error, told):
    class Odd(StandIn):
        def build(self, builder):
            raise error('too odd')

    with pytest.raises(pickle.UnpicklingError, match=told):
        _built([Odd()], 10)
    with pytest.raises(KeyError):  # a fault of ours is not taken for one of the file
        _built(OwnFault(), 10)


class OwnFault(StandIn):
    def build(self, builder):
        raise KeyError


def test_a_stand_in_of_no_kind_is_refused():
    with pytest.raises(pickle.UnpicklingError, match=r'^it makes a StandIn of its own choice$'):
        _built({'a': StandIn()}, 10)
