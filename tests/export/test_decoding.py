"""Decoding in tensors, which an ONNX file can hold, against MMPose's codecs."""

import numpy as np
import pytest
import torch
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, UDPHeatmap

from mmpose_kd.export.decoding import Blur, HeatmapDecoder, decodable, peaks

INPUT, CELLS = (96, 128), (24, 32)
CODECS = {
    'quarter': MSRAHeatmap(INPUT, CELLS, sigma=2.0),
    'dark': MSRAHeatmap(INPUT, CELLS, sigma=2.0, unbiased=True),
    'udp': UDPHeatmap(INPUT, CELLS, sigma=2.0),
}


def bumps(number=40, seed=0):
    """Maps (B, 1, H, W) with a Gaussian each, some cut by the border, and a little noise."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-0.4, np.array(CELLS) - 0.6, (number, 2))
    x, y = np.meshgrid(np.arange(CELLS[0]), np.arange(CELLS[1]))
    maps = np.exp(
        -((x - centres[:, :1, None]) ** 2 + (y - centres[:, 1:, None]) ** 2) / (2 * 2.0**2)
    )
    return (maps + rng.normal(0, 0.003, maps.shape)).astype(np.float32)[:, None]


@pytest.mark.parametrize('name', CODECS)
def test_bumps_are_found_where_the_codec_finds_them(name):
    codec, maps = CODECS[name], bumps()
    wanted = [codec.decode(one) for one in maps]
    keypoints, scores = HeatmapDecoder(codec)(torch.from_numpy(maps))
    assert np.allclose(keypoints.numpy(), np.stack([k[0] for k, _ in wanted]), atol=2e-2)
    assert np.array_equal(scores.numpy(), np.stack([s[0] for _, s in wanted]))


def test_a_flat_map_gives_a_finite_place():
    for codec in CODECS.values():
        keypoints, scores = HeatmapDecoder(codec)(torch.full((1, 1, *CELLS[::-1]), 0.3))
        assert keypoints.isfinite().all() and scores.item() == pytest.approx(0.3)


def test_the_blur_keeps_the_peaks_height_and_is_opencvs_inside():
    cv2 = pytest.importorskip('cv2')
    maps = bumps(3)
    found = Blur(11)(torch.from_numpy(maps)).numpy()[:, 0]
    wanted = np.stack([
        cv2.GaussianBlur(one[0], (11, 11), 0, borderType=cv2.BORDER_CONSTANT) for one in maps
    ])  # fmt: skip
    wanted *= maps.max((2, 3)).reshape(-1, 1, 1) / wanted.max((1, 2), keepdims=True)
    assert np.allclose(found, wanted, atol=1e-5)


def test_peaks_are_columns_and_rows():
    maps = torch.zeros(1, 2, 4, 5)
    maps[0, 0, 3, 1], maps[0, 1, 0, 4] = 2.0, 1.0
    places, scores = peaks(maps)
    assert places.tolist() == [[[1, 3], [4, 0]]] and scores.tolist() == [[2, 1]]


def test_other_codecs_are_named():
    assert decodable(CODECS['quarter']) is None and decodable(CODECS['udp']) is None
    assert 'MegviiHeatmap' in decodable(MegviiHeatmap(INPUT, CELLS, kernel_size=11))
    combined = UDPHeatmap(INPUT, CELLS, heatmap_type='combined')
    assert 'UDPHeatmap' in decodable(combined)
