"""A teacher's output of one sample in few bytes, and back."""

from __future__ import annotations

import json
import math
import zlib

import numpy as np
import torch
from torch import Tensor

from ..core.checks import is_whole

HALF = np.dtype('<f2')
CORNER = np.dtype('<i2')

MOST_AXES = 8
LARGEST = 2**28  # bytes of a sample's whole output; MMPose's largest features have 2**24


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
        ValueError: A value that is not finite, or beyond float16's 65504; or one sample is larger
            than :data:`LARGEST`.
    """
    half = output.detach().half()
    if not half.isfinite().all():
        wrong = int((~output.isfinite()).sum())
        if wrong:
            raise ValueError(
                f'{wrong} of {output.numel()} values are not finite (float16 ends at 65504)'
            )
        raise ValueError(f'values up to {output.abs().max():g}, float16 ends at 65504')
    if half[:1].numel() * HALF.itemsize > LARGEST:
        raise ValueError(f'{tuple(output.shape[1:])} a sample is more than {LARGEST >> 20} MiB')
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
    if not isinstance(blob, bytes):
        raise DamagedError(f'an entry is a {type(blob).__name__}')
    body = memoryview(blob)[4:]
    if len(body) == 0 or zlib.crc32(body) != int.from_bytes(blob[:4], 'little'):
        raise DamagedError('the checksum does not fit')
    head, _, numbers = bytes(body).partition(b'\n')
    shape, region = _read_head(head, len(numbers))
    if not region:
        return _finite(np.frombuffer(numbers, HALF)).reshape(shape)
    k, height, width = shape
    split = k * 2 * CORNER.itemsize
    corners = np.frombuffer(numbers[:split], CORNER).reshape(k, 2)
    most = (max(height - region, 0), max(width - region, 0))
    if (corners < 0).any() or (corners > most).any():
        raise DamagedError('a region lies outside its map')
    rows, columns = _window(corners, region, height, width)
    values = _finite(np.frombuffer(numbers[split:], HALF))
    maps = np.zeros(shape, HALF)
    maps[np.arange(k)[:, None, None], rows, columns] = values.reshape(
        k, rows.shape[-2], columns.shape[-1]
    )
    return maps


def _read_head(head: bytes, length: int) -> tuple[list[int], int]:
    """Shape and region of an entry, if its bytes are as many; nothing is allocated before.

    Args:
        head: As it is written.
        length: Of what follows.
    """
    try:
        found = json.loads(head)
        shape, dtype, region = (found[name] for name in ('shape', 'dtype', 'region'))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f'an entry has no shape, type and region: {error}') from error
    whole = isinstance(shape, list) and all(is_whole(n) and n >= 1 for n in shape)
    whole = whole and len(shape) <= MOST_AXES and is_whole(region) and region >= 0
    if not whole or dtype != HALF.str or (region and len(shape) != 3):
        raise DamagedError(f'an entry of shape {shape!r}, type {dtype!r}, region {region!r}'[:200])
    if region:
        k, height, width = shape
        kept = min(region, height) * min(region, width)
        wanted = k * (2 * CORNER.itemsize + kept * HALF.itemsize)
    else:
        wanted = math.prod(shape) * HALF.itemsize
    if wanted != length or math.prod(shape) * HALF.itemsize > LARGEST:
        raise DamagedError(f'an entry of shape {shape} with {length} bytes'[:200])
    return shape, region


def _finite(half: np.ndarray) -> np.ndarray:
    if ((half.view('<u2') & 0x7C00) == 0x7C00).any():  # their exponent: faster than isfinite
        raise DamagedError('an entry has values that are not finite')
    return half


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
    ).astype(CORNER)
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
