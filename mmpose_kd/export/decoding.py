"""MMPose's decoding of heatmaps and coordinates in tensors, for graphs that have to hold it."""

from __future__ import annotations

from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from torch import Tensor, nn


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row (B, K, 2) of each map's highest value, whole numbers in float, and the value.

    Args:
        maps: Heatmaps (B, K, H, W).

    Returns:
        The places, and the highest values (B, K).
    """
    width = maps.shape[3]
    score, place = maps.flatten(2).max(-1)
    row = torch.div(place, width, rounding_mode='floor')
    return torch.stack([place - row * width, row], -1).to(maps.dtype), score


def _read(maps: Tensor, places: Tensor, dx: int, dy: int) -> Tensor:
    """Values (B, K) beside places (B, K, 2), of the nearest place inside where that is outside."""
    height, width = maps.shape[2:]
    x = (places[..., 0] + dx).clamp(0, width - 1)
    y = (places[..., 1] + dy).clamp(0, height - 1)
    return maps.flatten(2).gather(2, (y * width + x).long()[..., None])[..., 0]


def quarter_shift(places: Tensor, maps: Tensor) -> Tensor:
    """Places moved by a quarter of a pixel towards the higher neighbour; not at the border."""
    height, width = maps.shape[2:]
    x, y = places.unbind(-1)
    along = torch.stack(
        [
            _read(maps, places, 1, 0) - _read(maps, places, -1, 0),
            _read(maps, places, 0, 1) - _read(maps, places, 0, -1),
        ],
        -1,
    )
    inside = torch.stack(
        [
            (x > 1) & (x < width - 1) & (y > 0),
            (y > 1) & (y < height - 1) & (x > 0),
        ],
        -1,
    )
    return places + 0.25 * along.sign() * inside.to(maps.dtype)


class Blur(nn.Module):
    """OpenCV's Gaussian blur of maps (B, K, H, W) with zeros about them, peaks kept as high.

    Args:
        kernel_size: Odd; the standard deviation follows from it as in ``cv2.GaussianBlur``.
    """

    def __init__(self, kernel_size: int):
        super().__init__()
        sigma = 0.3 * ((kernel_size - 1) * 0.5 - 1) + 0.8
        at = torch.arange(kernel_size, dtype=torch.float64) - (kernel_size - 1) / 2
        weights = torch.exp(-(at**2) / (2 * sigma**2))
        self.register_buffer('weights', (weights / weights.sum()).float(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """The blurred maps."""
        keypoints, height, width = maps.shape[1:]
        size = len(self.weights)
        flat = maps.reshape(-1, 1, height, width)
        flat = F.conv2d(flat, self.weights.view(1, 1, 1, size), padding=(0, size // 2))
        flat = F.conv2d(flat, self.weights.view(1, 1, size, 1), padding=(size // 2, 0))
        blurred = flat.reshape(-1, keypoints, height, width)
        return blurred * (maps.amax((2, 3), True) / blurred.amax((2, 3), True))


def newton_step(places: Tensor, logs: Tensor, reach: int) -> Tensor:
    """Places moved to the top of the parabola through the logarithms about them (DARK).

    Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR
    2020, https://arxiv.org/abs/1910.06278.

    Args:
        places: (B, K, 2).
        logs: Logarithms of blurred heatmaps (B, K, H, W).
        reach: Second derivatives along an axis are read from so many pixels away: 2 as
            ``MSRAHeatmap`` does, which leaves places near the border alone; 1 as ``UDPHeatmap``.
    """
    height, width = logs.shape[2:]

    def at(dx: int, dy: int) -> Tensor:
        return _read(logs, places, dx, dy)

    far = reach * reach
    here = at(0, 0)
    gx, gy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    hxx = (at(reach, 0) - 2 * here + at(-reach, 0)) / far
    hyy = (at(0, reach) - 2 * here + at(0, -reach)) / far
    if reach == 1:  # UDP's mixed derivative
        hxy = 0.5 * (
            at(1, 1) - at(1, 0) - at(0, 1) + 2 * here - at(-1, 0) - at(0, -1) + at(-1, -1)
        )
        eps = torch.finfo(torch.float32).eps
        hxx, hyy = hxx + eps, hyy + eps
    else:
        hxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    det = hxx * hyy - hxy * hxy
    flat = det == 0
    det = torch.where(flat, torch.ones_like(det), det)
    step = torch.stack([hyy * gx - hxy * gy, hxx * gy - hxy * gx], -1) / det[..., None]
    x, y = places.unbind(-1)
    moved = ~flat
    if reach == 2:
        moved = moved & (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return places - step * moved[..., None].to(step.dtype)


class HeatmapDecoder(nn.Module):
    """Heatmaps (B, K, H, W) to keypoints in pixels of the input (B, K, 2) and scores (B, K).

    Args:
        codec: MMPose's; see :func:`decodable`.
    """

    def __init__(self, codec):
        super().__init__()
        self.udp = isinstance(codec, UDPHeatmap)
        self.dark = self.udp or codec.unbiased
        self.blur = Blur(codec.blur_kernel_size) if self.dark else None
        (w, h), (cells_x, cells_y) = codec.input_size, codec.heatmap_size
        step = (w / (cells_x - 1), h / (cells_y - 1)) if self.udp else (w / cells_x, h / cells_y)
        self.register_buffer('step', torch.tensor(step), persistent=False)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """As the codec's ``decode``."""
        places, scores = peaks(maps)
        if self.dark:
            blurred = self.blur(maps)
            logs = blurred.clamp(1e-3, 50.0).log() if self.udp else blurred.clamp(min=1e-10).log()
            places = newton_step(places, logs, reach=1 if self.udp else 2)
        else:
            places = quarter_shift(places, maps)
        return places * self.step, scores


def decodable(codec) -> Optional[str]:
    """Why :class:`HeatmapDecoder` cannot decode a codec's heatmaps; None if it can."""
    if type(codec) is UDPHeatmap and codec.heatmap_type == 'gaussian':
        return None
    if type(codec) is MSRAHeatmap:
        return None
    return f'model.head.decoder.type={type(codec).__name__} is not one of MSRAHeatmap, UDPHeatmap'
