"""What a head puts out, whichever it is."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmpose.codecs import UDPHeatmap
from mmpose.models.heads import HeatmapHead
from mmpose.structures import PoseDataSample

from mmpose_kd.core.head_output import (
    head_kind,
    input_place,
    num_keypoints,
    positions,
    prediction,
    read_output,
)

from ..helpers.models import CODEC, build, images, plain_config
from ..helpers.ocd import HEADS, plain_of

KINDS = {name: 'bins' if name in ('simcc', 'rtmcc') else 'coordinates' for name in HEADS}


@pytest.mark.parametrize(('name', 'kind'), [*KINDS.items(), ('heatmap', 'heatmap')])
def test_a_stock_head_is_read_in_the_form_of_its_kind(name, kind):
    model = build(plain_config() if name == 'heatmap' else plain_of(name)).eval()
    assert head_kind(model.head) == kind and num_keypoints(model.head) == 5
    with torch.no_grad():
        returned = model(images(), None, mode='tensor')
    output = read_output(kind, returned)
    shapes = {'heatmap': [(2, 5, 16, 8)], 'coordinates': [(2, 5, 2)]}
    assert [x.shape for x in output] == shapes.get(kind, [(2, 5, 64), (2, 5, 128)])
    assert positions(kind, output).shape == (2, 5, 2)
    taken = prediction(kind, returned)
    assert isinstance(taken, tuple) == (kind == 'bins')
    for one, two in zip(taken if kind == 'bins' else [taken], output):
        assert torch.equal(one, two)


class Renamed(HeatmapHead):
    """Nothing else in its forward."""


class Other(HeatmapHead):
    def forward(self, feats):
        return super().forward(feats), None


class Told(Other):
    output_kind = 'heatmap'


class Mistold(Other):
    output_kind = 'maps'


@pytest.mark.parametrize(
    ('cls', 'kind'), [(Renamed, 'heatmap'), (Other, None), (Told, 'heatmap'), (Mistold, None)]
)
def test_a_subclass_is_known_by_its_forward_or_by_what_it_says(cls, kind):
    assert head_kind(cls(4, 5, deconv_out_channels=None)) == kind


def test_a_model_without_a_head_and_heatmaps_with_offsets_are_not_known():
    assert head_kind(None) is None and num_keypoints(None) is None
    head = HeatmapHead(4, 15, deconv_out_channels=None)
    head.decoder = UDPHeatmap(CODEC['input_size'], CODEC['heatmap_size'], heatmap_type='combined')
    assert head_kind(head) is None


def test_positions_by_hand():
    maps = torch.zeros(1, 1, 4, 10)
    maps[0, 0, 1, 5] = 1
    assert positions('heatmap', [maps]).tolist() == [[[0.5, 0.25]]]
    bins = [maps.amax(2), maps.amax(3)]
    assert positions('bins', bins).tolist() == [[[0.5, 0.25]]]


def test_the_place_of_a_crop_is_found_where_each_mmpose_puts_it():
    boxes = InstanceData(bbox_centers=np.array([[3.0, 4.0]]), bbox_scales=np.array([[6.0, 8.0]]))
    newer = {'input_center': np.array([1.0, 2.0]), 'input_scale': np.array([5.0, 7.0])}
    for info, expected in [({}, ([3, 4], [6, 8])), (newer, ([1, 2], [5, 7]))]:
        centre, scale = input_place(PoseDataSample(metainfo=info, gt_instances=boxes))
        assert (centre.tolist(), scale.tolist()) == expected
