"""Annotations, metainfo and head with different numbers of keypoints."""

import copy

import pytest
from mmengine.config import Config

from mmpose_kd.core.keypoint_counts import dataset_problem, head_problem
from mmpose_kd.wrap.trial import TrialError, tried

from ..helpers.distillers import distiller_config
from ..helpers.models import RESNET, build, okdhp_config, plain_config, samples
from ..helpers.ocd import ocd_of
from ..helpers.runs import draw, run_config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.mark.parametrize(
    'config', [plain_config(), okdhp_config(), ocd_of('regression'), distiller_config()]
)
def test_the_deployed_heads_keypoints_are_those_of_the_data(config):
    model = build(config, init=False)
    count = samples()[0].gt_instance_labels.keypoint_weights.shape[1]
    assert head_problem(dict(num_keypoints=count), model) is None
    said = head_problem(dict(num_keypoints=count + 1), model)
    assert said.startswith('model.head.') and f'={count}: ' in said and f'{count + 1} key' in said
    assert head_problem({}, model) is None


def test_a_sample_without_labels_says_nothing():
    assert dataset_problem(dict(num_keypoints=5), {}) is None


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (
            {'model.head.out_channels': 5},
            r'model\.head\.out_channels=5: train_dataloader.* has 17 keypoints',
        ),
        (
            {
                'train_dataloader.dataset.metainfo': dict(
                    from_file='configs/_base_/datasets/mpii.py'
                )
            },
            r'dataset\.metainfo: it has 16 keypoints, the annotations have 17: give metainfo',
        ),
    ],
)
def test_the_trial_names_what_does_not_fit(data, tmp_path, change, told):
    model = copy.deepcopy(plain_config(RESNET))
    model['head']['out_channels'] = 17
    cfg = Config(run_config(data, tmp_path, model))
    assert tried(cfg).losses
    cfg.merge_from_dict(change)
    with pytest.raises(TrialError, match=told):
        tried(cfg)
