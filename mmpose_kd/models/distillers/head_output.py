"""What a pose head puts out, whichever of MMPose's it is: heatmaps, SimCC bins or coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpose.models import heads
from torch import Tensor, nn

# Older MMPose lacks some. A subclass with a forward() of its own may return something else.
HEADS = {
    'heatmap': ('HeatmapHead', 'CPMHead', 'ViPNASHead'),
    'simcc': ('SimCCHead', 'RTMCCHead', 'RTMWHead'),
    'coordinates': ('RegressionHead', 'RLEHead', 'IntegralRegressionHead', 'DSNTHead'),
}


def head_kind(head: nn.Module, key: str) -> str:
    """``'heatmap'``, ``'simcc'`` or ``'coordinates'``.

    A head of another package, or one of MMPose's with a ``forward`` of its own, can say what it
    returns by an attribute ``output_kind``.

    Args:
        head: The head that is deployed.
        key: Name of the config key that asks, for messages.

    Raises:
        ValueError: It is not known what the head puts out.
    """
    kind = getattr(head, 'output_kind', None)
    if kind is None:
        known = {
            getattr(heads, name).forward: kind
            for kind, names in HEADS.items()
            for name in names
            if hasattr(heads, name)
        }
        kind = known.get(getattr(type(head), 'forward', None))
    codec = getattr(head, 'decoder', None)
    if kind not in HEADS or getattr(codec, 'heatmap_type', 'gaussian') == 'combined':
        names = ', '.join(name for names in HEADS.values() for name in names)
        raise ValueError(
            f'{key} does not know what model.head.type={type(head).__name__} puts out: give one '
            f'of {names} (with heatmaps, not offsets), or let the head have an attribute '
            f'output_kind, one of {list(HEADS)}'
        )
    return kind


def read_output(kind: str, returned) -> list[Tensor]:
    """The tensors that matter of what a head's ``forward`` returned.

    Args:
        kind: From :func:`head_kind`.
        returned: As it came.

    Returns:
        ``'heatmap'``: the heatmaps (B, K, H, W) that the head predicts with (of stages the last);
        ``'simcc'``: logits (B, K, bins) of x and of y; ``'coordinates'``: (B, K, 2) in shares of
        the picture's width and height.
    """
    if kind == 'heatmap':
        return [returned if isinstance(returned, Tensor) else returned[-1]]
    if kind == 'simcc':
        return list(returned[:2])
    # integral heads return heatmaps too, RLE four numbers of which two are coordinates
    return [(returned if isinstance(returned, Tensor) else returned[0])[..., :2]]


def targets(kind: str, data_samples: Sequence) -> list[Tensor]:
    """The ground truth in the form of :func:`read_output`."""
    if kind == 'heatmap':
        return [torch.stack([sample.gt_fields.heatmaps for sample in data_samples])]
    labels = [sample.gt_instance_labels for sample in data_samples]
    simcc = ('keypoint_x_labels', 'keypoint_y_labels')
    names = simcc if kind == 'simcc' else ('keypoint_labels',)
    return [torch.cat([one.get(name) for one in labels]) for name in names]


def positions(kind: str, output: Sequence[Tensor]) -> Tensor:
    """Where the keypoints are, (B, K, 2) x and y in shares of width and height.

    Args:
        kind: From :func:`head_kind`.
        output: From :func:`read_output` or :func:`targets`.
    """
    if kind == 'coordinates':
        return output[0]
    if kind == 'simcc':
        return torch.stack([axis.argmax(-1) / axis.shape[-1] for axis in output], -1)
    maps = output[0]
    height, width = maps.shape[2:]
    place = maps.flatten(2).argmax(-1)
    return torch.stack([place % width / width, place // width / height], -1)
