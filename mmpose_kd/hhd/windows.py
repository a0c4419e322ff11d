"""Windows cut out of heatmaps, as they are or divided by a norm of the whole map.

Coordinates are in heatmap pixels, x of column 0 is 0; x and y are separate tensors (B, K).
"""

from __future__ import annotations

from typing import Callable, Optional

import torch
from torch import Tensor

from .centre import softmax_maps


def _axis(centre: Tensor, length: int, size: int, padding: str) -> tuple[Tensor, Tensor]:
    """Positions (B, K, length) read along an axis, and which of them the window itself holds."""
    offset = torch.arange(-(length // 2), length - length // 2, device=centre.device)
    at = centre[..., None] + offset
    last = size - 1
    within = at.clamp(0, last)
    inside = within == at
    if padding == 'reflect':
        within = (last - (last - at.abs()).abs()).clamp(0, last)
    elif padding in ('mirror', 'released'):
        middle = centre - 1 if padding == 'released' else centre
        within = torch.where(inside, at, middle[..., None] - offset).clamp(0, last)
    return within, inside


def cut_windows(
    maps: Tensor,
    x: Tensor,
    y: Tensor,
    crop_size: tuple[int, int],
    padding: str = 'reflect',
    value: Optional[Callable[[Tensor], Tensor]] = None,
) -> Tensor:
    """Windows of maps (B, K, H, W) around centres, row i at y - h // 2 + i, columns alike.

    Args:
        maps: (B, K, H, W).
        x, y: Centres (B, K) in the map. Integers, or floats for bilinear interpolation.
        crop_size: h, w, at most H, W.
        padding: What is read beyond the border. ``'reflect'``: the map reflected about its
            border position; ``'mirror'``: the window reflected about its centre, which completes
            a symmetric bump; ``'zero'``: 0; ``'released'``: as ``'mirror'``, about the middle
            of an even window, half a pixel before its centre.
        value: Applied to what was read, before interpolation: (B, K, h, w) to the same shape.

    Returns:
        (B, K, h, w).
    """
    height, width = maps.shape[-2:]
    rows, row_inside = _axis(y, crop_size[0], height, padding)
    columns, column_inside = _axis(x, crop_size[1], width, padding)
    flat = maps.flatten(2)

    def read(row: Tensor, column: Tensor) -> Tensor:
        index = row[..., :, None] * width + column[..., None, :]  # (B, K, h, w)
        window = flat.gather(2, index.flatten(2)).view(index.shape)
        return window if value is None else value(window)

    if rows.is_floating_point():
        top, left = rows.floor().long(), columns.floor().long()
        down, right = (rows - top)[..., :, None], (columns - left)[..., None, :]
        bottom, far = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
        window = torch.lerp(
            torch.lerp(read(top, left), read(top, far), right),
            torch.lerp(read(bottom, left), read(bottom, far), right),
            down,
        )
    else:
        window = read(rows, columns)
    if padding == 'zero':
        window = window * (row_inside[..., :, None] & column_inside[..., None, :])
    return window


class _WithNorm(torch.autograd.Function):
    """Maps (B, K, N) as they are and their L2 norms (B, K), both gradients added in one pass.

    It halves the cost of the released mode: PyTorch's own makes four large tensors of it.
    """

    @staticmethod
    def forward(ctx, maps: Tensor) -> tuple[Tensor, Tensor]:
        norm = torch.linalg.vector_norm(maps, dim=-1)
        ctx.save_for_backward(maps, norm)
        return maps.view_as(maps), norm

    @staticmethod
    def backward(ctx, grad_maps: Tensor, grad_norm: Tensor) -> Tensor:
        maps, norm = ctx.saved_tensors
        scale = grad_norm / norm.clamp(min=1e-30)
        return torch.addcmul(grad_maps, maps, scale[..., None])


def normalised_windows(
    maps: Tensor,
    x: Tensor,
    y: Tensor,
    crop_size: tuple[int, int],
    norm: str,
    padding: str,
    prob: Optional[Tensor] = None,
) -> Tensor:
    """Windows (B, K, h, w) of normalised maps: cut first, as a norm needs one number a map.

    Args:
        maps: (B, K, H, W).
        x, y, crop_size, padding: See :func:`cut_windows`.
        norm: ``'softmax'``; ``'sum'``: clamped at 0, divided by the sum; ``'l2'``, ``'l1'``:
            divided by that norm; ``'none'``. Divisors are at least 1e-3, so that an empty map
            gets a finite gradient.
        prob: For ``'softmax'``: the maps' softmax at the beta wanted. None: at beta 1.
    """
    if norm == 'softmax':
        prob = softmax_maps(maps, 1.0) if prob is None else prob
        return cut_windows(prob, x, y, crop_size, padding)
    if norm == 'none':
        return cut_windows(maps, x, y, crop_size, padding)
    flat, value = maps.flatten(2), None
    if norm == 'sum':
        divisor, value = flat.relu().sum(-1), torch.relu
    elif norm == 'l1':
        divisor = torch.linalg.vector_norm(flat, 1, -1)
    else:
        flat, divisor = _WithNorm.apply(flat)
        maps = flat.view(maps.shape)
    window = cut_windows(maps, x, y, crop_size, padding, value)
    return window / divisor.clamp(min=1e-3)[..., None, None]
