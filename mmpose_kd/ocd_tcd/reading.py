"""What heatmaps say in other representations: coordinates, and distributions along each axis."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from mmpose.codecs.base import BaseKeypointCodec
from torch import Tensor

from ..core.loss import full_precision, upcast


def pixel_size(codec: BaseKeypointCodec, key: str = 'heatmap_codec') -> tuple[float, float]:
    """How far apart two neighbouring heatmap pixels are, as a share of the input's size.

    In both of MMPose's grids pixel 0 lies at input pixel 0, so that ``i`` times this number is
    the normalised coordinate of pixel i, in the unit of ``RegressionLabel`` (x / w):

    - ``MSRAHeatmap``: pixel i lies at input pixel i w / W, so 1 / W;
    - ``UDPHeatmap``: pixel i lies at input pixel i (w - 1) / (W - 1), so (w - 1) / (w (W - 1)).

    This follows the codecs' ``encode``, which is what both targets are made with.

    Args:
        codec: The heatmaps' codec, with ``input_size`` (w, h) and ``heatmap_size`` (W, H).
        key: Name of the config key, for messages.

    Returns:
        The numbers along x and y.

    Raises:
        ValueError: The codec does not make one Gaussian for each keypoint.
    """
    known = isinstance(codec, (MSRAHeatmap, UDPHeatmap))
    if not known or getattr(codec, 'heatmap_type', 'gaussian') != 'gaussian':
        kind = f'{type(codec).__name__}{" (combined)" if known else ""}'
        raise ValueError(
            f'{key} is a {kind}: give MSRAHeatmap, or UDPHeatmap with '
            "heatmap_type='gaussian', which make one Gaussian for each keypoint"
        )
    sizes = zip(codec.input_size, codec.heatmap_size)
    if isinstance(codec, MSRAHeatmap):
        return tuple(1 / n for _, n in sizes)
    return tuple((size - 1) / (size * (n - 1)) for size, n in sizes)


class Window(NamedTuple):
    """What is read around each of a map's H W pixels, in tables: one look-up for each in a step.

    Attributes:
        places: x, y (H W, 2) of the pixels.
        around: Numbers (H W, N) in the flat map of the pixels around each.
        inside: Which of them count (H W, N); outside the map others are read for them.
        moments: 1, dx, dy (N, 3) of each.
    """

    places: Tensor
    around: Tensor
    inside: Tensor
    moments: Tensor

    @classmethod
    def of(cls, height: int, width: int, side: int = 7, device=None) -> Window:
        """A square of side x side pixels, side odd, in maps of this size; made on the device."""
        one = torch.arange(side, device=device) - side // 2
        steps = torch.stack([one.repeat(side), one.repeat_interleave(side)], -1)  # (N, 2)
        index = torch.arange(height * width, device=device)
        places = torch.stack([index % width, index // width], -1)
        others = torch.stack([width - 1 - places[:, 0], height - 1 - places[:, 1]], -1)
        room = torch.minimum(places, others)  # to the nearer border
        inside = (steps.abs() <= room[:, None]).all(-1)
        jumps = steps[:, 1] * width + steps[:, 0]
        around = (index[:, None] + jumps).clamp(0, height * width - 1)
        moments = torch.cat([torch.ones_like(steps[:, :1]), steps], -1)
        return cls(places.float(), around, inside, moments.float())


@torch.no_grad()
def decode_heatmaps(
    heatmaps: Tensor, power: int = 4, window: Optional[Window] = None
) -> tuple[Tensor, Tensor]:
    """Sub-pixel places and heights of the peaks; constants, read without any loop.

    The place is the centre of mass of ``(value / peak) ** power`` in a window around the arg-max,
    values below 0 counted as 0. The power makes a Gaussian narrower, so that a small window
    holds all of it, and silences the background. At a border the window shrinks to what
    lies on both sides of the arg-max: half a bump would draw the place inwards. There the place
    is that of the arg-max's pixel, at most half a pixel off.

    A Gaussian of sigma 1 to 3 is found to 0.1 pixel, if it is 2 pixels from the border.

    Args:
        heatmaps: (B, K, H, W), any range and precision.
        power: See above.
        window: Of maps of this size. None: 7 x 7 pixels, made anew.

    Returns:
        Coordinates x, y (B, K, 2) in heatmap pixels, and peaks (B, K), in float32 at least. A
        map with no value above 0 gives its arg-max.
    """
    maps = upcast(heatmaps)
    flat = maps.flatten(2)
    peaks, index = flat.max(-1)  # (B, K)
    window = window or Window.of(*maps.shape[2:], device=maps.device)

    values = flat.gather(-1, window.around[index]).clamp(min=0)  # (B, K, N)
    mass = (values / peaks.clamp(min=1e-12)[..., None]).pow(power) * window.inside[index]
    with full_precision(maps):
        total, moved = (mass @ window.moments.to(mass.dtype)).split((1, 2), -1)
    return window.places[index] + moved / total.clamp(min=1e-12), peaks


def render_gaussians(coords: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Gaussians of height 1, differentiable in their places.

    Args:
        coords: x, y (B, K, 2) in heatmap pixels.
        size: Width and height W, H of the heatmaps.
        sigma: In heatmap pixels.

    Returns:
        Heatmaps (B, K, H, W).
    """
    columns, rows = (
        torch.exp(-((torch.arange(n, device=coords.device) - c[..., None]) ** 2) / (2 * sigma**2))
        for n, c in zip(size, coords.unbind(-1))
    )
    return rows[..., :, None] * columns[..., None, :]


def interpolation(length: int, bins: int, pixel: float) -> Tensor:
    """Weights (bins, length) that read a row of pixels at every bin, by cubic interpolation.

    Catmull-Rom splines; beyond the last pixel its value is held.

    Args:
        length: Number of pixels.
        bins: Number of bins.
        pixel: Distance of two pixels in bins; pixel 0 lies at bin 0.
    """
    place = (torch.arange(bins, dtype=torch.float64) / pixel).clamp(max=length - 1)
    left = place.floor()
    t = (place - left)[:, None]
    weights = torch.cat(
        [
            -t / 2 + t**2 - t**3 / 2,
            1 - 2.5 * t**2 + 1.5 * t**3,
            t / 2 + 2 * t**2 - 1.5 * t**3,
            (t**3 - t**2) / 2,
        ],
        -1,
    )
    index = (left.long()[:, None] + torch.arange(-1, 3)).clamp(0, length - 1)
    return torch.zeros(bins, length, dtype=torch.float64).scatter_add_(1, index, weights).float()


def both_axes(along_x: Tensor, along_y: Tensor) -> Tensor:
    """Two matrices of :func:`interpolation` in one, for :func:`marginals`.

    Args:
        along_x, along_y: (bins of x, W) and (bins of y, H).

    Returns:
        (W + H, 2, N), where N is the larger number of bins. A bin that an axis does not have
        reads 0.
    """
    bins = max(len(along_x), len(along_y))
    one, two = (F.pad(m.T, (0, bins - len(m))) for m in (along_x, along_y))  # (W, N), (H, N)
    return torch.stack([F.pad(one, (0, 0, 0, len(two))), F.pad(two, (0, 0, len(one), 0))], 1)


@torch.no_grad()
def marginals(heatmaps: Tensor, to_bins: Tensor, power: Optional[Tensor] = None) -> Tensor:
    """The heatmaps summed over rows and over columns, read at the bins of each axis; constants.

    Args:
        heatmaps: (B, K, H, W); values below 0 count as 0.
        to_bins: (W + H, 2, N), see :func:`both_axes`.
        power: Of x and y what the marginals, divided by their peaks, are raised to (2, 1). A
            Gaussian becomes narrower by its square root. None: 1.

    Returns:
        The marginals (B, K, 2, N) with peak 1 (0 everywhere for an empty map), in float32 at
        least.
    """
    maps = upcast(heatmaps).clamp(min=0)
    sums = torch.cat([maps.sum(2), maps.sum(3)], -1)  # (B, K, W + H)
    with full_precision(maps):  # in half a low peak would be 0
        rows = sums @ to_bins.to(maps.dtype).flatten(1)
    rows = rows.unflatten(-1, to_bins.shape[1:]).clamp(min=0)
    rows = rows / rows.amax(-1, keepdim=True).clamp(min=1e-12)
    return rows if power is None else rows.pow(power)


def matching_power(heatmap_sigma: float, pixel: float, simcc_sigma: float) -> float:
    """Power that makes a Gaussian heatmap's marginal as wide as the SimCC label.

    Args:
        heatmap_sigma: In heatmap pixels.
        pixel: Distance of two heatmap pixels in bins.
        simcc_sigma: In bins.
    """
    power = (heatmap_sigma * pixel / simcc_sigma) ** 2
    return power if math.isfinite(power) else 1.0
