"""MMEngine's checkpoints load safely; nothing else does."""

import os
import pickle
import types
import zipfile

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmpose_kd.compat import (
    HISTORY_STATISTICS,
    history_buffer_method,
)

# Safe loading of checkpoints


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
    loaded = torch.load(path, weights_only=True)
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


def test_it_still_loads_after_torchs_own_context_allowed_the_same_classes(trained):
    _, path = trained
    with torch.serialization.safe_globals([HistoryBuffer, np.ndarray, np.dtype]):
        torch.load(path, weights_only=True)
    kept = torch.load(path, weights_only=True)['message_hub']['log_scalars']['train/loss']
    assert type(kept) is HistoryBuffer


def write_pickle(path, pickled):
    """Write a checkpoint whose pickle is the given bytes."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith('/data.pkl') else content)


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_arrays_and_numbers_of_numpy_1_and_2_load(tmp_path, module):
    values = dict(a=np.array([1.5, 2.5]), b=np.float32(0.5), c=np.int64(3), d=np.bool_(True))
    pickled = pickle.dumps(values, protocol=2)
    for name in (b'numpy.core.multiarray', b'numpy._core.multiarray'):
        pickled = pickled.replace(b'c' + name + b'\n', b'c' + module + b'\n')
    assert module in pickled
    write_pickle(tmp_path / 'numpy.pth', pickled)
    loaded = torch.load(tmp_path / 'numpy.pth', weights_only=True)
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
    with pytest.raises(pickle.UnpicklingError, match='mmpose_kd allows only the methods min, '):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: np.array([x, 1], dtype=object)])
def test_a_command_in_a_checkpoint_is_refused_and_not_run(tmp_path, wrap):
    mark = tmp_path / 'ran'
    torch.save(wrap(Reduces(os.system, f'touch {mark}')), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)
    assert not mark.exists()


def test_empty_arrays_load(tmp_path):
    """Data sets of faces and hands have no sigmas: an empty array in every checkpoint."""
    saved = dict(sigmas=np.array([], dtype=np.float32), weights=np.ones(2))
    torch.save(saved, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    np.testing.assert_array_equal(loaded['sigmas'], saved['sigmas'])
    assert loaded['sigmas'].dtype == np.float32


def test_bytes_in_a_checkpoint_are_never_made_to_measure(tmp_path):
    torch.save(Reduces(bytes, 10**9), tmp_path / 'evil.pth')
    with pytest.raises((TypeError, pickle.UnpicklingError)):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


def test_getattr_leads_to_nothing_that_can_be_called(tmp_path):
    # getattr(builtins.eval, '__self__') would be the module builtins.
    getter = b'cbuiltins\ngetattr\n'
    pickled = b'\x80\x02' + getter + b'cbuiltins\neval\nX\x08\x00\x00\x00__self__\x86R.'
    write_pickle(tmp_path / 'evil.pth', pickled)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)
    # The function that getattr may serve is data: it cannot be called by the checkpoint.
    name = b'X\x03\x00\x00\x00max'
    pickled = b'\x80\x02' + getter + b'cmmengine.logging.history_buffer\nHistoryBuffer\n' + name
    write_pickle(tmp_path / 'evil.pth', pickled + b'\x86R)R.')
    with pytest.raises(pickle.UnpicklingError, match='unrecognized function'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


@pytest.mark.parametrize('value', [Arbitrary(), types.SimpleNamespace(a=1), np.void(b'ab')])
def test_other_classes_are_still_refused(tmp_path, value):
    torch.save(value, tmp_path / 'other.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'other.pth', weights_only=True)


@pytest.mark.parametrize('name', HISTORY_STATISTICS)
def test_history_buffers_own_statistics_are_served(name):
    assert history_buffer_method(HistoryBuffer, name) is getattr(HistoryBuffer, name)


def test_a_text_that_only_claims_to_be_a_name_is_refused():
    class Text(str):
        pass

    with pytest.raises(pickle.UnpicklingError):
        history_buffer_method(HistoryBuffer, Text('min'))
