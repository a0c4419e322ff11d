"""Heatmaps with the windows that HHD compares, for those who look inside."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.panels import Panel


def windows_panel(
    title: str, maps: Tensor, x: Tensor, y: Tensor, crop_size: tuple[int, int]
) -> Panel:
    """Maps with their windows and the windows' centres.

    Args:
        title: The panel's.
        maps: (B, K, H, W).
        x, y: Centres (B, K) in heatmap pixels, see :func:`~mmpose_kd.hhd.windows.cut_windows`.
        crop_size: h, w of the windows.
    """
    size = maps.new_tensor(maps.shape[:1:-1])  # W, H
    rows, columns = crop_size
    left, top = x - columns // 2, y - rows // 2
    sides = torch.stack([left, top, left + columns, top + rows], -1)
    return Panel(
        title,
        maps=maps,
        places=(torch.stack([x, y], -1) + 0.5) / size,  # the middle of a pixel
        windows=sides / torch.cat([size, size]),
    )
