"""A teacher's output of one sample in few bytes, and back."""

from __future__ import annotations

import json
import zlib

import numpy as np
import torch
from torch import Tensor

HALF = np.dtype('<f2')


class DamagedError(ValueError):
    """Bytes that are not what was stored."""


def encode(output: Tensor, region: int = 0) -> list[bytes]:
    """Each sample's bytes: a checksum, shape and type, float16 numbers.

    A value x comes back within abs(x) / 2048 + 2 ** -25.

    Args:
        output: (B, ...).
        region: 0 keeps all. Of maps (B, K, H, W) only a window of ``region`` x ``region`` pixels
            about each peak can be kept, moved inside the map at its border; the rest comes back
            as 0.

    Raises:
        ValueError: A value that is not finite, or beyond float16's 65504.
    """
    half = output.detach().half()
    if not half.isfinite().all():
        raise ValueError(f'values up to {output.abs().max():g}, float16 ends at 65504')
    shape, region = tuple(output.shape[1:]), region if output.ndim == 4 else 0
    if region:
        corners, half = _cut(half, output.detach(), region)
    half = half.cpu().numpy().astype(HALF, copy=False)
    blobs = []
    head = json.dumps({'shape': shape, 'dtype': HALF.str, 'region': region}).encode() + b'\n'
    for b, numbers in enumerate(half):
        body = head + (corners[b].tobytes() if region else b'') + numbers.tobytes()
        blobs.append(zlib.crc32(body).to_bytes(4, 'little') + body)
    return blobs


def decode(blob: bytes) -> np.ndarray:
    """One sample's output (...), float16.

    Raises:
        DamagedError: The bytes are not those that :func:`encode` made.
    """
    body = memoryview(blob)[4:]
    if len(body) == 0 or zlib.crc32(body) != int.from_bytes(blob[:4], 'little'):
        raise DamagedError('the checksum does not fit')
    head, _, numbers = bytes(body).partition(b'\n')
    head = json.loads(head)
    shape, dtype = head['shape'], np.dtype(head['dtype'])
    if not head['region']:
        return np.frombuffer(numbers, dtype).reshape(shape)
    k, height, width = shape
    split = k * 2 * np.dtype('<i2').itemsize
    corners = np.frombuffer(numbers[:split], '<i2').reshape(k, 2)
    rows, columns = _window(corners, head['region'], height, width)
    maps = np.zeros(shape, dtype)
    maps[np.arange(k)[:, None, None], rows, columns] = np.frombuffer(
        numbers[split:], dtype
    ).reshape(k, rows.shape[-2], columns.shape[-1])
    return maps


def _cut(half: Tensor, maps: Tensor, region: int) -> tuple[np.ndarray, Tensor]:
    """Windows about the peaks of maps (B, K, H, W): their upper left corners (B, K, 2) as row
    and column, and what the maps have in them (B, K, h, w), in float16."""
    height, width = maps.shape[2:]
    peaks = maps.flatten(2).argmax(-1).cpu().numpy()
    corners = np.stack(
        [
            np.clip(place - region // 2, 0, max(size - region, 0))
            for place, size in ((peaks // width, height), (peaks % width, width))
        ],
        axis=-1,
    ).astype('<i2')
    rows, columns = _window(corners, region, height, width)
    places = torch.from_numpy(rows * width + columns).flatten(2).to(half.device)
    windows = half.flatten(2).gather(2, places)
    return corners, windows.unflatten(2, (min(region, height), min(region, width)))


def _window(
    corners: np.ndarray, region: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (..., h, 1) and column numbers (..., 1, w) of windows at corners (..., 2)."""
    rows = corners[..., 0, None] + np.arange(min(region, height))
    columns = corners[..., 1, None] + np.arange(min(region, width))
    return rows[..., :, None], columns[..., None, :]
