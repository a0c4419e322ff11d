"""What is stored comes back within the stated error, or is refused."""

import numpy as np
import pytest
import torch

from mmpose_kd.distiller.compact import DamagedError, decode, encode


def maps(batch=2, k=3, height=16, width=12):
    return torch.randn(batch, k, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('shape', [(3, 5, 16, 12), (2, 5, 64), (2, 7), (1,)])
@pytest.mark.parametrize('scale', [1e-6, 1.0, 1e4])
def test_float16_comes_back_within_the_stated_error(shape, scale):
    output = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    back = np.stack([decode(blob) for blob in encode(output)])
    assert back.dtype == np.float16 and back.shape == shape
    error = np.abs(back.astype(np.float64) - output.numpy())
    assert (error <= np.abs(output.numpy()) / 2048 + 2.0**-25).all()


def test_a_region_is_the_window_about_the_peak_and_0_elsewhere():
    output = torch.zeros(1, 2, 9, 8)
    output[0, 0, 4, 4], output[0, 0, 2, 3], output[0, 0, 8, 0] = 1.0, 0.5, 0.25
    output[0, 1, 8, 7], output[0, 1, 5, 4], output[0, 1, 4, 4] = 1.0, 0.5, 0.25
    (blob,) = encode(output, region=4)
    back = decode(blob)
    expected = output.clone()[0]
    expected[0, 8, 0] = expected[1, 4, 4] = 0  # outside of rows 2..5, and of rows 5..8
    assert torch.equal(torch.from_numpy(back).float(), expected)
    assert len(blob) < 200


def test_a_region_beyond_the_map_is_the_whole_map():
    whole, cut = (decode(encode(maps(1), region)[0]) for region in (0, 64))
    assert np.array_equal(whole, cut)


def test_encoding_again_what_was_decoded_changes_nothing():
    for region in (0, 4):
        blobs = encode(maps(), region)
        assert encode(torch.from_numpy(np.stack([decode(b) for b in blobs])), region) == blobs


def test_what_is_no_map_is_kept_whole_under_regions():
    output = torch.randn(2, 5, 40)
    assert encode(output, 4)[0] == encode(output, 0)[0]


@pytest.mark.parametrize('value', [7e4, float('inf'), float('nan')])
def test_a_value_beyond_float16_is_refused(value):
    output = maps()
    output[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match='65504'):
        encode(output)


def test_a_flipped_bit_is_noticed_wherever_it_is():
    blob = encode(maps(1), region=4)[0]
    for place in range(len(blob)):
        wrong = bytearray(blob)
        wrong[place] ^= 1
        with pytest.raises(DamagedError):
            decode(bytes(wrong))
    with pytest.raises(DamagedError):
        decode(blob[:-1])
    with pytest.raises(DamagedError):
        decode(b'')
