"""Where the pixels of a heatmap lie in the picture."""

from __future__ import annotations

from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from mmpose.codecs.base import BaseKeypointCodec


def pixel_size(codec: BaseKeypointCodec, key: str = 'heatmap.decoder') -> tuple[float, float]:
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
