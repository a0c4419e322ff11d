"""The check of a student: the same predictions to the last bit, with and without flip test."""

import copy

import pytest
import torch
from mmengine.config import Config

from mmpose_kd.export.same_predictions import (
    PICTURES,
    _predict,
    input_size_of,
    picture_channels,
    same_predictions,
    udp_crops,
)

from ..helpers.models import RESNET, SIZE, build, plain_config, randomize


def model(seed=0, **test_cfg):
    config = plain_config()
    config['test_cfg'].update(test_cfg)
    return randomize(build(config, init=False), seed).eval()


def test_a_model_predicts_as_its_copy_does():
    assert same_predictions(model(), model(), SIZE, 3) is None


def test_other_weights_are_noticed():
    assert same_predictions(model(), model(seed=1), SIZE, 3) == 'flip_test=False'


def test_what_differs_with_flip_test_only_is_noticed():
    """The maps of the mirrored picture are shifted by one of the two."""
    one, two = model(shift_heatmap=True), model(shift_heatmap=False)
    assert same_predictions(one, two, SIZE, 3) == 'flip_test=True'


def test_one_bit_of_one_weight_is_noticed():
    one, two = model(), model()
    bias = two.head.final_layer.bias.data
    bias[0] = torch.nextafter(bias[0], torch.tensor(9.0))
    assert same_predictions(one, two, SIZE, 3) == 'flip_test=False'


def test_keypoints_scores_and_maps_of_each_picture_are_compared():
    found = _predict(model(), SIZE, 3)
    shapes = [(1, 5, 2), (1, 5), (5, SIZE[1] // 4, SIZE[0] // 4)]
    assert [array.shape for array in found] == shapes * PICTURES
    assert (found[2] != found[5]).any()  # two pictures, not one twice


def test_keypoints_are_in_pixels_of_the_picture():
    """The picture is its own box: none is moved or stretched on the way."""
    net = model()
    for p in net.parameters():
        p.data.zero_()
    net.head.final_layer.bias.data[:] = 1.0  # flat maps: the first position is the highest
    keypoints, _, maps = _predict(net, SIZE, 3)[:3]
    assert (maps == 1).all()
    assert keypoints[0, 0].tolist() == pytest.approx([0, 0], abs=SIZE[0] / 8)


def test_the_settings_of_the_test_are_put_back_also_after_an_error():
    net = model()
    before = copy.deepcopy(net.test_cfg)
    same_predictions(net, net, SIZE, 3)
    assert net.test_cfg == before
    with pytest.raises((IndexError, RuntimeError)):
        same_predictions(net, net, SIZE, channels=2)
    assert net.test_cfg == before


@pytest.mark.parametrize(
    ('loaders', 'size'),
    [
        (dict(val=(1, 2), test=(3, 4), train=(5, 6)), (1, 2)),
        (dict(test=(3, 4), train=(5, 6)), (3, 4)),
        (dict(train=(5, 6)), (5, 6)),
        ({}, None),
    ],
)
def test_the_size_is_that_of_the_validation_then_of_other_pipelines(loaders, size):
    cfg = {
        f'{name}_dataloader': dict(
            dataset=dict(pipeline=[dict(type='LoadImage'), dict(input_size=list(found))])
        )
        for name, found in loaders.items()
    }
    assert input_size_of(Config(cfg or dict(val_dataloader=None, test_dataloader={}))) == size


CROP = dict(type='TopdownAffine', input_size=[3, 4], use_udp=True)
INNER = dict(type='CocoDataset', pipeline=[dict(type='LoadImage'), CROP])
PACK = [dict(type='PackPoseInputs')]
DATA_SETS = {
    'a tuple': dict(INNER, pipeline=tuple(INNER['pipeline'])),
    'repeated': dict(type='RepeatDataset', dataset=INNER, times=2),
    'joined': dict(type='ConcatDataset', datasets=[dict(type='CocoDataset'), INNER]),
    'combined': dict(type='CombinedDataset', datasets=[INNER], pipeline=PACK),
    'joined and repeated': dict(
        type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[INNER])
    ),
}


@pytest.mark.parametrize('dataset', DATA_SETS.values(), ids=DATA_SETS)
@pytest.mark.parametrize('loader', ['val', 'test', 'train'])
def test_the_crop_is_found_in_data_sets_inside_others_too(loader, dataset):
    cfg = Config({f'{loader}_dataloader': dict(dataset=dataset)})
    assert input_size_of(cfg) == (3, 4)
    assert udp_crops(cfg)


def test_without_a_crop_the_size_is_that_of_the_heads_codec():
    assert input_size_of(Config(dict(model=plain_config()))) == SIZE
    pipeline = dict(train_dataloader=dict(dataset=dict(pipeline=[dict(input_size=[5, 6])])))
    assert input_size_of(Config(dict(model=plain_config(), **pipeline))) == (5, 6)
    assert input_size_of(Config(dict(model=dict(type='TopdownPoseEstimator', head=None)))) is None


def test_crops_are_udps_as_those_of_the_validation_are():
    def loader(**settings):
        return dict(dataset=dict(pipeline=[{**CROP, **settings}]))

    train = dict(train_dataloader=loader())
    assert not udp_crops(Config(dict(val_dataloader=loader(use_udp=False), **train)))
    assert udp_crops(Config(train)) and not udp_crops(Config(dict(model=plain_config())))


@pytest.mark.parametrize(
    ('channels', 'mean', 'found'),
    [(3, [1.0, 2.0, 3.0], 3), (4, [1.0, 2.0, 3.0], 3), (4, None, 4), (1, [1.0], 1), (2, [1.0], 2)],
)
def test_the_channels_are_those_of_the_mean_or_of_the_first_convolution(channels, mean, found):
    config = plain_config(dict(RESNET, in_channels=channels))
    config['data_preprocessor'] = dict(type='PoseDataPreprocessor')
    if mean:
        config['data_preprocessor'].update(mean=mean, std=[1.0] * len(mean))
    assert picture_channels(build(config, init=False)) == found


def test_a_model_without_either_is_for_pictures_in_colour():
    net = model()
    net.backbone = net.head = torch.nn.Identity()
    net.data_preprocessor = torch.nn.Identity()
    assert picture_channels(net) == 3
