"""What a pose head puts out, whichever it is, its labels, and predictions of several outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Callable, Optional, Union

import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from mmpose.models import heads
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from .checks import refusal

# Older MMPose lacks some. A subclass with a forward() of its own may return something else.
HEADS = {
    'heatmap': ('HeatmapHead', 'CPMHead', 'ViPNASHead'),
    'bins': ('SimCCHead', 'RTMCCHead', 'RTMWHead'),
    'coordinates': ('RegressionHead', 'RLEHead', 'IntegralRegressionHead', 'DSNTHead'),
}

NEAR = 0.05  # of the picture's width and height


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


@contextmanager
def in_channels_explained(head: nn.Module, feats, key: str) -> Iterator[None]:
    """Turn torch's error, where a head gets other channels than it has, into one with the key.

    Args:
        head: A head that is run inside.
        feats: What it gets, a feature (B, C, ...) or several, of which it reads the last.
        key: Name of the config key of the head.

    Raises:
        ValueError: In the place of torch's error, if ``in_channels`` is the reason.
    """
    try:
        yield
    except RuntimeError as error:
        wanted = getattr(head, 'in_channels', None)
        last = feats if isinstance(feats, Tensor) else feats[-1]
        fits = (last.shape[1], last[0].numel())  # heads of linear layers read all places
        if isinstance(wanted, int) and wanted not in fits:
            give = f'it gets maps of {last.shape[1]} channels, give {last.shape[1]}'
            raise refusal(f'{key}.in_channels', wanted, give) from error
        raise


@contextmanager
def bfloat16_explained() -> Iterator[None]:
    """Turn numpy's error about bfloat16, while stock losses are computed, into one with the key.

    Raises:
        TypeError: In the place of numpy's.
    """
    try:
        yield
    except TypeError as error:
        if 'BFloat16' not in str(error):
            raise
        raise TypeError(
            "optim_wrapper.dtype='bfloat16': MMPose's heads compute the accuracy of training in "
            "numpy, which has no bfloat16: give dtype='float16', or with a HeatmapHead "
            'train_cfg=dict(compute_acc=False) in the model that has it; no other head can '
            'leave it out'
        ) from error


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


def ground_truth(kind: str, data_samples: Sequence) -> list[Tensor]:
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
        output: From :func:`read_output` or :func:`ground_truth`.
    """
    if kind == 'coordinates':
        return output[0]
    if kind == 'bins':
        return torch.stack([axis.argmax(-1) / axis.shape[-1] for axis in output], -1)
    maps = output[0]
    height, width = maps.shape[2:]
    place = maps.flatten(2).argmax(-1)
    return torch.stack([place % width / width, place // width / height], -1)


def heatmap_grid(head: Optional[nn.Module]) -> Optional[str]:
    """At which share of the picture pixel i of W of a head's maps lies.

    Args:
        head: A head that makes heatmaps, or coordinates of maps.

    Returns:
        ``'i / W'``, ``'i / (W - 1)'`` (UDP), or None where it is not known.
    """
    codec = getattr(head, 'decoder', None)
    codec = getattr(codec, 'heatmap_codec', codec)  # of integral regression
    if isinstance(codec, UDPHeatmap):
        return 'i / (W - 1)'
    return 'i / W' if isinstance(codec, MSRAHeatmap) else None


def near(found: Tensor, labels: Tensor) -> Tensor:
    """Which keypoints (B, K) are within 5 % of width and height of their labels.

    Args:
        found, labels: (B, K, 2), from :func:`positions`.
    """
    return (found - labels).abs().amax(-1) <= NEAR


def flip_test(
    forward: Callable[..., Sequence[Tensor]],
    feats,
    samples: Sequence[PoseDataSample],
    test_cfg: dict,
) -> Sequence[Tensor]:
    """Heatmaps of several outputs, averaged with the mirrored picture's if ``flip_test`` is set.

    Args:
        forward: From the features of a picture to heatmaps (B, K, H, W), one per output.
        feats: Features, or with ``flip_test`` a pair of them (plain, mirrored).
        samples: Know the ``flip_indices`` of the keypoints.
        test_cfg: ``flip_test``, ``flip_mode`` and ``shift_heatmap`` as in ``HeatmapHead``.
    """
    if not test_cfg.get('flip_test', False):
        return forward(feats)
    plain, mirrored = (forward(one) for one in feats)
    return [
        0.5
        * (
            maps
            + flip_heatmaps(
                flipped,
                flip_mode=test_cfg.get('flip_mode', 'heatmap'),
                flip_indices=samples[0].metainfo['flip_indices'],
                shift_heatmap=test_cfg.get('shift_heatmap', False),
            )
        )
        for maps, flipped in zip(plain, mirrored)
    ]


def attach_prediction(
    sample: PoseDataSample, name: str, instances: InstanceData, test_cfg: dict
) -> None:
    """Store one output's prediction in ``sample.pred_<name>``, as ``pred_instances`` would be.

    Args:
        sample: As MMPose's pipeline packs it; see :func:`input_place`.
        name: Name of the output, such as ``'branch1'``.
        instances: Keypoints in input pixels; moved to image pixels here.
        test_cfg: The model's; ``output_keypoint_indices`` is respected.
    """
    centre, scale = input_place(sample)
    instances.keypoints[..., :2] = (
        instances.keypoints[..., :2] / sample.metainfo['input_size'] * scale + centre - 0.5 * scale
    )
    if 'keypoints_visible' not in instances:
        instances.keypoints_visible = instances.keypoint_scores
    chosen = test_cfg.get('output_keypoint_indices')
    if chosen is not None:
        for key, value in instances.all_items():
            if key.startswith('keypoint'):
                instances.set_field(value[:, chosen], key)
    instances.bboxes = sample.gt_instances.bboxes
    instances.bbox_scores = sample.gt_instances.bbox_scores
    sample.set_field(instances, f'pred_{name}')


def input_place(sample: PoseDataSample) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size (2,) of a sample's crop, in pixels of the image.

    MMPose 1.1 has them beside the boxes only, newer ones in the sample's facts.
    """
    info = sample.metainfo
    if 'input_scale' in info:
        return np.asarray(info['input_center']), np.asarray(info['input_scale'])
    boxes = sample.gt_instances
    return np.asarray(boxes.bbox_centers[0]), np.asarray(boxes.bbox_scales[0])


def label_weights(samples: list[PoseDataSample]) -> Tensor:
    """Keypoint weights (B, K) of the deployed head's labels; of several levels the last one's."""
    weights = [sample.gt_instance_labels.keypoint_weights for sample in samples]
    if weights[0].ndim == 3:  # (levels, 1, K), of GenerateTarget(multilevel=True)
        weights = [weight[-1] for weight in weights]
    return torch.cat(weights)


def taught_weights(samples: list[PoseDataSample]) -> Tensor:
    """:func:`label_weights` for a distillation loss: 0 where they are NaN or infinite.

    Broken annotations have such weights, and a stock loss that ignores weights never sees them.
    """
    return label_weights(samples).nan_to_num(0.0, 0.0, 0.0)
