"""ExactResumeHook: a resumed run goes on exactly, and the data set is as it was afterwards."""

import copy
import errno
import resource
import signal

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.hooks import CheckpointHook, Hook
from mmpose.registry import TRANSFORMS

from mmpose_kd.core.checkpoints import is_whole_checkpoint
from mmpose_kd.core.whole_checkpoints import resume_from_whole_checkpoint
from mmpose_kd.hooks.exact_resume_hook import SeededPipeline

from ..helpers.dskd_runs import Record, dskd_config, make_runner, train, without_dskd
from ..helpers.forks import in_a_fork
from ..helpers.runs import draw

pytestmark = pytest.mark.reliability


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def config(data, folder, epochs=2):
    return without_dskd(dskd_config(data, folder, epochs=epochs))


def without_learning(cfg):
    """Losses differ where the pictures do."""
    cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.0)
    cfg['train_dataloader']['sampler']['shuffle'] = False
    return cfg


def test_a_run_without_a_seed_or_without_epochs_is_refused(data, tmp_path):
    cfg = config(data, tmp_path, epochs=1)
    with pytest.raises(ValueError, match=r'ExactResumeHook needs randomness=dict\(seed'):
        train({**cfg, 'randomness': dict(seed=None)})
    with pytest.raises(ValueError, match=r'ExactResumeHook needs train_cfg\.by_epoch=True'):
        train({**cfg, 'train_cfg': dict(by_epoch=False, max_iters=2)})
    dataset = cfg['train_dataloader']['dataset']
    cfg['train_dataloader']['dataset'] = dict(type='RepeatDataset', dataset=dataset, times=2)
    with pytest.raises(ValueError, match=r'train_dataloader\.dataset: .*RepeatDataset'):
        train(cfg)


def test_augmentations_differ_between_epochs_and_the_pipeline_is_given_back(data, tmp_path):
    runner, losses = train(without_learning(config(data, tmp_path)))
    assert losses[0] != losses[len(losses) // 2]  # the same persons, other pictures
    assert not isinstance(runner.train_dataloader.dataset.pipeline, SeededPipeline)


class Switch(Hook):
    """Another pipeline from the second epoch on, as in the last stage of RTMPose's trainings.

    It does what MMDetection's PipelineSwitchHook does, also to workers that stay.
    """

    def __init__(self):
        self.switched = self.restarts = False

    def before_train_epoch(self, runner):
        loader = runner.train_dataloader
        if runner.epoch >= 1 and not self.switched:
            steps = copy.deepcopy(runner.cfg.train_dataloader.dataset.pipeline)
            loader.dataset.pipeline = Compose([s for s in steps if s.type != 'RandomFlip'])
            loader._DataLoader__initialized = False
            loader._iterator = None
            self.switched = self.restarts = True
        elif self.restarts:
            loader._DataLoader__initialized = True


def test_it_resumes_exactly_with_workers_that_stay_and_a_pipeline_that_is_switched(data, tmp_path):
    def losses_of(**changes):
        cfg = config(data, tmp_path, epochs=3)
        cfg['train_dataloader'].update(num_workers=2, persistent_workers=True)
        record = Record()
        make_runner(cfg, record, Switch(), **changes).train()
        return record.losses

    whole = losses_of()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    resumed = losses_of(resume=True)
    assert resumed == {step: whole[step] for step in resumed} and 0 < len(resumed) < len(whole)


@pytest.mark.slow
def test_pictures_still_differ_where_a_stopped_training_goes_on(data, tmp_path):
    def stop():
        record.end_at = None
        raise KeyboardInterrupt

    record = Record(1, stop)
    runner = make_runner(without_learning(config(data, tmp_path, epochs=3)), record)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    runner.train()
    steps = len(runner.train_dataloader)
    first = [record.losses[1 + epoch * steps] for epoch in range(3)]
    assert first[0] != first[1] != first[2] != first[0]


@pytest.mark.slow
def test_the_same_number_in_two_data_sets_gives_two_augmentations(data, tmp_path):
    cfg = config(data, tmp_path)
    dataset = cfg['train_dataloader']['dataset']
    pipeline = dataset.pop('pipeline')
    own = ('LoadImage', 'GetBBoxCenterScale', 'RandomBBoxTransform')
    half = dict(**dataset, pipeline=[s for s in pipeline if s['type'] in own])
    cfg['train_dataloader']['dataset'] = dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[half, copy.deepcopy(half)],
        pipeline=[s for s in pipeline if s['type'] not in own],
    )

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            one, two = runner.train_dataloader.dataset.datasets
            assert np.array_equal(one[0]['keypoints'], two[0]['keypoints'])
            assert not np.array_equal(one[0]['bbox_center'], two[0]['bbox_center'])
            assert np.array_equal(two[0]['bbox_center'], two[0]['bbox_center'])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_runner(cfg, Look()).train()


@pytest.mark.slow
def test_what_takes_the_place_of_a_sample_that_a_step_gives_up_is_the_same_again(
    data, tmp_path, monkeypatch
):
    class GiveUp(BaseTransform):
        def transform(self, results):
            return None if results['sample_idx'] == 0 else results

    monkeypatch.setitem(TRANSFORMS.module_dict, 'GiveUp', GiveUp)
    cfg = config(data, tmp_path)
    cfg['train_dataloader']['dataset']['pipeline'].insert(0, dict(type='GiveUp'))

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            found = set()
            for seed in range(8):  # whatever was drawn before
                np.random.seed(seed)
                sample = runner.train_dataloader.dataset[0]['data_samples']
                found.add(tuple(sample.gt_instances.bboxes.ravel().tolist()))
            assert len(found) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_runner(cfg, Look()).train()


def test_an_epoch_that_ends_between_two_steps_of_the_optimizer_is_refused(data, tmp_path):
    """Its half sum of gradients is in no checkpoint."""
    cfg = config(data, tmp_path, epochs=1)
    steps = len(make_runner(cfg).build_dataloader(cfg['train_dataloader']))
    cfg['optim_wrapper']['accumulative_counts'] = steps + 1
    with pytest.raises(ValueError, match=rf'_counts={steps + 1}: .* {steps} iterations'):
        train(cfg)
    cfg['optim_wrapper']['accumulative_counts'] = steps
    train(cfg)


def test_a_run_with_accumulated_gradients_resumes_exactly(data, tmp_path):
    def weights(folder, **changes):
        cfg = config(data, tmp_path / folder, epochs=2)
        cfg['optim_wrapper']['accumulative_counts'] = 2
        runner = make_runner(cfg, **changes)
        runner.train()
        return runner.model.state_dict()

    whole = weights('a')
    (tmp_path / 'a/last_checkpoint').write_text(str(tmp_path / 'a/epoch_1.pth'))
    again = weights('a', resume=True)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_samples_that_are_drawn_anew_are_refused(data, tmp_path):
    cfg = config(data, tmp_path, epochs=1)
    dataset = cfg['train_dataloader']['dataset']
    pipeline = dataset.pop('pipeline')
    cfg['train_dataloader']['dataset'] = dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[dict(**dataset, pipeline=[])],
        sample_ratio_factor=[2.0],
        pipeline=pipeline,
    )
    with pytest.raises(ValueError, match=r'dataset\.sample_ratio_factor: '):
        train(cfg)


# Checkpoints are whole


@pytest.fixture
def stopped(data, tmp_path):
    """A finished run of two epochs, whose newest checkpoint is cut then; and its losses."""
    _, losses = train(config(data, tmp_path))
    newest = tmp_path / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:-1000])
    return tmp_path, losses


def the_later_half(losses):
    return dict(list(losses.items())[len(losses) // 2 :])


def test_a_cut_checkpoint_is_named_and_the_one_before_it_used(data, stopped, caplog):
    folder, losses = stopped
    runner, again = train(config(data, folder), resume=True)
    assert again == the_later_half(losses)
    log = next(folder.glob(f'{runner.timestamp}/*.log')).read_text()
    assert 'epoch_2.pth was cut or is missing; the run goes on from' in log
    assert 'epoch_1.pth, the one before' in log


def test_there_is_one_before_where_a_config_keeps_a_single_one(data, tmp_path):
    cfg = config(data, tmp_path, epochs=3)
    cfg['default_hooks']['checkpoint']['max_keep_ckpts'] = 1
    cfg['log_level'] = 'INFO'
    runner, losses = train(cfg)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
    log = next(tmp_path.glob(f'{runner.timestamp}/*.log')).read_text()
    assert log.count('max_keep_ckpts=1: two checkpoints are kept') == 1
    newest = tmp_path / 'epoch_3.pth'
    newest.write_bytes(newest.read_bytes()[:-1000])
    _, again = train(cfg, resume=True)
    assert again == {step: losses[step] for step in list(losses)[2 * len(losses) // 3 :]}


def test_a_lost_checkpoint_is_one_too(data, stopped):
    folder, losses = stopped
    (folder / 'epoch_2.pth').unlink()
    assert train(config(data, folder), resume=True)[1] == the_later_half(losses)


def test_a_checkpoint_on_a_server_or_in_a_folder_is_left_to_mmengine(data, stopped):
    folder, _ = stopped
    for name in ('s3://bucket/epoch_2.pth', str(folder)):
        (folder / 'last_checkpoint').write_text(name)
        runner = make_runner(config(data, folder), resume=True)
        resume_from_whole_checkpoint(runner)
        assert runner._load_from is None


def test_without_a_whole_one_before_it_the_run_stops(data, stopped):
    folder, _ = stopped
    (folder / 'epoch_1.pth').write_bytes(b'PK')
    with pytest.raises(ValueError, match=r'epoch_2\.pth was cut or is missing, and there is no'):
        train(config(data, folder), resume=True)


def test_a_cut_checkpoint_that_load_from_names_is_refused(data, stopped):
    folder, _ = stopped
    named = str(folder / 'epoch_2.pth')
    with pytest.raises(ValueError, match=r"load_from='.*epoch_2\.pth': it was cut"):
        train(config(data, folder), resume=True, load_from=named)


def test_a_full_disk_leaves_no_half_checkpoint(data, tmp_path):
    """The disk has room for the first checkpoint and a half of the second."""
    train(config(data, tmp_path / 'a', epochs=1))
    size = (tmp_path / 'a/epoch_1.pth').stat().st_size

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        cfg = config(data, tmp_path / 'b')

        class Full(Hook):
            def before_train_epoch(self, runner):
                if runner.epoch == 1:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

        try:
            make_runner(cfg, Full()).train()
        except OSError as error:
            return f'{type(error).__name__} {error.errno == errno.EFBIG}'
        return 'trained'

    assert in_a_fork(fill) == 'OSError True'
    assert [path.name for path in (tmp_path / 'b').glob('**/*.pth')] == ['epoch_1.pth']
    assert not list((tmp_path / 'b').glob('.unfinished*'))
    assert is_whole_checkpoint(tmp_path / 'b/epoch_1.pth')


def test_another_backend_of_the_user_stays(data, tmp_path):
    cfg = config(data, tmp_path, epochs=1)
    cfg['default_hooks']['checkpoint']['backend_args'] = dict(backend='local')
    runner, _ = train(cfg)
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert hook.backend_args == dict(backend='local')
