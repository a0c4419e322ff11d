"""What a pose head puts out, whichever it is: heatmaps, bins of the two axes, or coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmpose.models import heads
from torch import Tensor, nn

# Older MMPose lacks some. A subclass with a forward() of its own may return something else.
HEADS = {
    'heatmap': ('HeatmapHead', 'CPMHead', 'ViPNASHead'),
    'bins': ('SimCCHead', 'RTMCCHead', 'RTMWHead'),
    'coordinates': ('RegressionHead', 'RLEHead', 'IntegralRegressionHead', 'DSNTHead'),
}


def head_kind(head: nn.Module) -> Optional[str]:
    """``'heatmap'``, ``'bins'`` (of SimCC) or ``'coordinates'``; None if it is not known.

    It is known of MMPose's heads of these kinds and of subclasses that leave ``forward`` as it
    is. Another head can say what it returns by an attribute ``output_kind``. Heatmaps that are
    combined with offsets are not known.

    Args:
        head: A head as it is deployed.
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
    combined = getattr(codec, 'heatmap_type', 'gaussian') == 'combined'
    return kind if kind in HEADS and not combined else None


def names_of(*kinds: str) -> str:
    """MMPose's heads of some kinds, for messages."""
    return ', '.join(name for kind in kinds for name in HEADS[kind])


def num_keypoints(head: Optional[nn.Module]) -> Optional[int]:
    """K of a head; None where it does not say."""
    return getattr(head, 'out_channels', getattr(head, 'num_joints', None))


def read_output(kind: str, returned) -> list[Tensor]:
    """The tensors that matter of what a head's ``forward`` returned.

    Args:
        kind: From :func:`head_kind`.
        returned: As it came.

    Returns:
        ``'heatmap'``: the heatmaps (B, K, H, W) that the head predicts with (of stages the last);
        ``'bins'``: logits (B, K, bins) of x and of y; ``'coordinates'``: (B, K, 2) in shares of
        the picture's width and height.
    """
    if kind == 'heatmap':
        return [returned if isinstance(returned, Tensor) else returned[-1]]
    if kind == 'bins':
        return list(returned[:2])
    # integral heads return heatmaps too, RLE four numbers of which two are coordinates
    return [(returned if isinstance(returned, Tensor) else returned[0])[..., :2]]


def prediction(kind: str, returned) -> Union[Tensor, tuple[Tensor, Tensor]]:
    """:func:`read_output` as losses take it: a tensor, or of bins the pair x and y."""
    output = read_output(kind, returned)
    return tuple(output) if kind == 'bins' else output[0]


def targets(kind: str, data_samples: Sequence) -> list[Tensor]:
    """The ground truth in the form of :func:`read_output`."""
    if kind == 'heatmap':
        return [torch.stack([sample.gt_fields.heatmaps for sample in data_samples])]
    labels = [sample.gt_instance_labels for sample in data_samples]
    axes = ('keypoint_x_labels', 'keypoint_y_labels')
    names = axes if kind == 'bins' else ('keypoint_labels',)
    return [torch.cat([one.get(name) for one in labels]) for name in names]


def positions(kind: str, output: Sequence[Tensor]) -> Tensor:
    """Where the keypoints are, (B, K, 2) x and y in shares of width and height.

    Args:
        kind: From :func:`head_kind`.
        output: From :func:`read_output` or :func:`targets`.
    """
    if kind == 'coordinates':
        return output[0]
    if kind == 'bins':
        return torch.stack([axis.argmax(-1) / axis.shape[-1] for axis in output], -1)
    maps = output[0]
    height, width = maps.shape[2:]
    place = maps.flatten(2).argmax(-1)
    return torch.stack([place % width / width, place // width / height], -1)
