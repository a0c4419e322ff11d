"""CrossRepresentationLabel: two stock targets in one pass through the stock pipeline."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS

from mmpose_kd.core.head_output import taught_weights
from mmpose_kd.ocd_tcd.codec import heatmap_samples

SIZE = (32, 64)
HEATMAP = dict(type='MSRAHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)
DEPLOYED = {
    'regression': dict(type='RegressionLabel', input_size=SIZE),
    'integral': dict(
        type='IntegralRegressionLabel', input_size=SIZE, heatmap_size=(4, 8), sigma=1.0
    ),
    'simcc': dict(type='SimCCLabel', input_size=SIZE, sigma=2.0, simcc_split_ratio=2.0),
}
each = pytest.mark.parametrize('deploy', DEPLOYED.values(), ids=list(DEPLOYED))


def pair(deploy, heatmap=HEATMAP, **settings):
    return dict(type='CrossRepresentationLabel', deploy=deploy, heatmap=heatmap, **settings)


def keypoints():
    xy = np.random.default_rng(0).uniform(2, np.array(SIZE) - 3, (1, 5, 2)).astype(np.float32)
    xy[0, 1] = (-3, 30)  # outside the picture, but its Gaussian reaches into it
    visible = np.ones((1, 5), dtype=np.float32)
    visible[0, 3] = 0
    return xy, visible


def packed(encoder, dataset=(1, 2, 1, 1, 3), multiply=False, **settings):
    """The data sample that MMPose's own last two pipeline steps make."""
    if multiply:
        settings['use_dataset_keypoint_weights'] = True
    xy, visible = keypoints()
    steps = [
        dict(type='GenerateTarget', encoder=encoder, **settings),
        dict(type='PackPoseInputs'),
    ]
    results = dict(
        img=np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8),
        transformed_keypoints=xy,
        keypoints_visible=visible,
    )
    if dataset is not None:
        results['dataset_keypoint_weights'] = np.array(dataset, dtype=np.float32)
    return Compose([TRANSFORMS.build(s) for s in steps])(results)['data_samples']


@each
def test_both_targets_are_those_of_the_stock_codecs(deploy):
    both, alone, beside = packed(pair(deploy)), packed(deploy), packed(HEATMAP)
    for name, value in alone.gt_instance_labels.items():
        assert torch.equal(both.gt_instance_labels[name], value)
    if 'gt_fields' in alone:
        assert torch.equal(both.gt_fields.heatmaps, alone.gt_fields.heatmaps)
    assert torch.equal(both.gt_instance_labels.cross_heatmaps[0], beside.gt_fields.heatmaps)
    assert torch.equal(
        both.gt_instance_labels.cross_weights, beside.gt_instance_labels.keypoint_weights
    )


def test_each_target_keeps_its_own_weights():
    labels = packed(pair(DEPLOYED['regression'])).gt_instance_labels
    assert labels.keypoint_weights.tolist() == [[1, 0, 1, 0, 1]]
    assert labels.cross_weights.tolist() == [[1, 1, 1, 0, 1]]


def heatmap_weights(*both):
    """What the heatmap head weighs by in one batch."""
    found, taught = heatmap_samples(list(both))
    assert torch.equal(taught, taught_weights(list(both)))
    return [one.gt_instance_labels.keypoint_weights.tolist() for one in found]


def test_the_data_sets_weights_count_for_both():
    """One setting, GenerateTarget's, is enough."""
    sample = packed(pair(DEPLOYED['regression']), use_dataset_keypoint_weights=True)
    assert sample.gt_instance_labels.keypoint_weights.tolist() == [[1, 0, 1, 0, 3]]
    assert heatmap_weights(sample) == [[[1, 2, 1, 0, 3]]]


def test_without_the_setting_the_data_sets_weights_count_for_neither():
    sample = packed(pair(DEPLOYED['regression']))
    assert heatmap_weights(sample, sample) == [[[1, 1, 1, 0, 1]]] * 2


def test_both_settings_together_multiply_once():
    encoder = pair(DEPLOYED['regression'], use_dataset_keypoint_weights=True)
    sample = packed(encoder, use_dataset_keypoint_weights=True)
    assert heatmap_weights(sample) == [[[1, 2, 1, 0, 3]]]


def test_a_keypoint_outside_the_picture_follows_another_of_the_batch():
    """Its own weight is 0 with and without the data set's: another sample's tells."""
    outside = packed(pair(DEPLOYED['regression']), dataset=[1, 2, 1, 1, 1], multiply=True)
    inside = packed(pair(DEPLOYED['regression']), multiply=True)
    assert heatmap_weights(outside, inside) == [[[1, 2, 1, 0, 1]], [[1, 2, 1, 0, 3]]]


def converted(encoder):
    """A sample of five keypoints of which three are left."""
    xy, visible = keypoints()
    mapping = [(0, 0), (2, 1), (4, 2)]
    steps = [
        dict(type='KeypointConverter', num_keypoints=3, mapping=mapping),
        dict(type='GenerateTarget', encoder=encoder),
        dict(type='PackPoseInputs'),
    ]
    results = dict(
        img=np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8),
        keypoints=xy,
        keypoints_visible=visible,
        dataset_keypoint_weights=np.array([1, 2, 1, 1, 3], dtype=np.float32),
    )
    return Compose([TRANSFORMS.build(s) for s in steps])(results)['data_samples']


@each
def test_behind_a_keypoint_converter_the_data_sets_weights_are_of_others_and_do_not_count(deploy):
    sample = converted(pair(deploy))
    labels = sample.gt_instance_labels
    for name in ('keypoint_weights', 'cross_weights', 'cross_own_weights'):
        assert labels[name].tolist() == [[1, 1, 1]] and labels[name].dtype == torch.float32
    (found,), weights = heatmap_samples([sample])
    assert weights.tolist() == found.gt_instance_labels.keypoint_weights.tolist() == [[1, 1, 1]]
    assert weights.dtype == torch.float32
    message = r'codec\.use_dataset_keypoint_weights=True: .* 5 keypoints.* 3.*leave it out'
    with pytest.raises(ValueError, match=message):
        converted(pair(deploy, use_dataset_keypoint_weights=True))


def test_a_data_set_without_weights_and_samples_of_an_older_version_are_taken():
    assert heatmap_weights(packed(pair(DEPLOYED['regression']), dataset=None)) == [
        [[1, 1, 1, 0, 1]]
    ]
    old = packed(pair(DEPLOYED['regression']))
    del old.gt_instance_labels.cross_own_weights
    assert heatmap_weights(old) == [[[1, 1, 1, 0, 1]]]


@each
def test_samples_of_several_persons_go_into_one_batch(deploy):
    samples = [packed(pair(deploy)) for _ in range(3)]
    maps = torch.cat([sample.gt_instance_labels.cross_heatmaps for sample in samples])
    assert maps.shape == (3, 5, 16, 8) and maps.dtype == torch.float32


@each
def test_it_decodes_as_the_deployed_codec(deploy):
    codec, alone = KEYPOINT_CODECS.build(pair(deploy)), KEYPOINT_CODECS.build(deploy)
    rng = np.random.default_rng(0)
    if deploy['type'] == 'SimCCLabel':
        encoded = rng.random((5, 64)), rng.random((5, 128))
    else:
        encoded = (rng.random((1, 5, 2)),)
    for found, expected in zip(codec.decode(*encoded), alone.decode(*encoded)):
        assert np.array_equal(found, expected)
    assert codec.support_batch_decoding == alone.support_batch_decoding


@pytest.mark.parametrize(
    ('deploy', 'heatmap', 'message'),
    [
        (
            DEPLOYED['regression'],
            {**HEATMAP, 'input_size': (48, 64)},
            r'codec.deploy.input_size=\(32, 64\), codec.heatmap.input_size=\(48, 64\)',
        ),
        (DEPLOYED['regression'], DEPLOYED['regression'], 'codec.heatmap is a RegressionLabel'),
        (
            DEPLOYED['regression'],
            {**HEATMAP, 'type': 'UDPHeatmap', 'heatmap_type': 'combined'},
            r'codec.heatmap is a UDPHeatmap \(combined\)',
        ),
        (pair(DEPLOYED['regression']), HEATMAP, 'codec.deploy is a CrossRepresentationLabel'),
        ('RegressionLabel', HEATMAP, "codec.deploy='RegressionLabel': give a config"),
        (None, HEATMAP, 'codec.deploy=None: give a config'),
        (DEPLOYED['regression'], {}, r'codec.heatmap=\{\}: give a config'),
        (dict(type='Label'), HEATMAP, "codec.deploy.type='Label': .* not in"),
        (
            dict(type='RegressionLabel'),
            HEATMAP,
            "codec.deploy.type='RegressionLabel': .*input_size",
        ),
        (
            DEPLOYED['regression'],
            {**HEATMAP, 'sigmas': 2},
            "codec.heatmap.type='MSRAHeatmap': .*sigmas",
        ),
    ],
)
def test_codecs_that_do_not_go_together_name_the_key(deploy, heatmap, message):
    with pytest.raises(ValueError, match=message):
        KEYPOINT_CODECS.build(pair(deploy, heatmap))


@pytest.mark.parametrize('value', ['no', 1, None])
def test_a_switch_that_is_no_truth_value_names_the_key(value):
    message = f'codec.use_dataset_keypoint_weights={value!r}: give True or False'
    with pytest.raises(ValueError, match=message):
        KEYPOINT_CODECS.build(pair(DEPLOYED['regression'], use_dataset_keypoint_weights=value))


def test_an_exported_config_has_the_deployed_codec_alone():
    from mmpose_kd.ocd_tcd.codec import CrossRepresentationLabel

    cfg = pair(DEPLOYED['simcc'])
    assert CrossRepresentationLabel.plain(cfg) == DEPLOYED['simcc']
