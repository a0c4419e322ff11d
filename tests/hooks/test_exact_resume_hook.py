"""ExactResumeHook: what it asks for, and that the data set is as it was afterwards."""

import pytest
from dskd_runs import dskd_config, train, without_dskd
from runs import draw

from mmpose_kd.hooks.exact_resume_hook import SeededPipeline


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def test_a_run_without_a_seed_or_without_epochs_is_refused(data, tmp_path):
    cfg = without_dskd(dskd_config(data, tmp_path, epochs=1))
    with pytest.raises(ValueError, match=r'ExactResumeHook needs randomness=dict\(seed'):
        train({**cfg, 'randomness': dict(seed=None)})
    with pytest.raises(ValueError, match=r'ExactResumeHook needs train_cfg\.by_epoch=True'):
        train({**cfg, 'train_cfg': dict(by_epoch=False, max_iters=2)})


def test_augmentations_differ_between_epochs_and_the_pipeline_is_given_back(data, tmp_path):
    cfg = without_dskd(dskd_config(data, tmp_path, epochs=2))
    cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.0)
    cfg['train_dataloader']['sampler']['shuffle'] = False
    runner, losses = train(cfg)
    assert losses[0] != losses[len(losses) // 2]  # the same persons, other pictures
    assert not isinstance(runner.train_dataloader.dataset.pipeline, SeededPipeline)
