"""The labels of two representations: encoded together by the pipeline, read again by a head."""

from __future__ import annotations

from typing import Optional

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import KEYPOINT_CODECS
from mmpose.structures import PoseDataSample
from torch import Tensor

from ..core.checks import built_by, checked_bool, refusal
from ..core.head_output import taught_weights
from .reading import pixel_size

# names of the labels that a sample carries beside those of the deployed head
HEATMAPS, WEIGHTS = 'cross_heatmaps', 'cross_weights'
# the deployed codec's weights and the data set's, before anything multiplies them
OWN, DATASET = 'cross_own_weights', 'cross_dataset_weights'
NAMES = (HEATMAPS, WEIGHTS, OWN, DATASET)


@KEYPOINT_CODECS.register_module()
class CrossRepresentationLabel(BaseKeypointCodec):
    """Two stock codecs as one: what the deployed head needs, and heatmaps for :class:`OCDHead`.

    MMPose's ``GenerateTarget`` accepts a list of codecs, but then packs two weights for each
    keypoint, which no head reads.

    Encoded: everything that the deployed codec encodes, under its own names and packed as it
    asks, ``keypoint_weights`` among it; and, packed beside the labels,

    - ``cross_heatmaps`` (1, K, H, W), float32, Gaussians of height 1;
    - ``cross_weights`` (1, K), the heatmaps' own weights. They differ from the deployed codec's
      where a keypoint lies just outside the picture, and are 0, with an empty map, where the
      annotation is broken (NaN);
    - ``cross_own_weights`` and ``cross_dataset_weights`` (1, K), the deployed codec's weights and
      the data set's, 1 where it has another number of keypoints (``KeypointConverter``).
      ``GenerateTarget(use_dataset_keypoint_weights=True)`` multiplies ``keypoint_weights``
      alone; by these :func:`heatmap_samples` sees it, and follows.

    Decoding is the deployed codec's. An exported config has the deployed codec alone.

    Args:
        deploy (dict): Config of the deployed head's codec, which encodes one person:
            ``RegressionLabel``, ``IntegralRegressionLabel``, ``SimCCLabel``.
        heatmap (dict): Config of the heatmap head's: ``MSRAHeatmap`` or ``UDPHeatmap``, of the
            same ``input_size``.
        use_dataset_keypoint_weights (bool): Multiply the data set's keypoint weights to
            ``cross_weights`` whatever ``GenerateTarget`` does. Not needed: they follow
            ``GenerateTarget.use_dataset_keypoint_weights``.

    Raises:
        ValueError: The codecs do not go together, or the second makes no heatmaps of Gaussians.
    """

    def __init__(self, deploy: dict, heatmap: dict, use_dataset_keypoint_weights: bool = False):
        super().__init__()
        self.deploy = built_by(KEYPOINT_CODECS, deploy, 'codec.deploy')
        self.heatmap = built_by(KEYPOINT_CODECS, heatmap, 'codec.heatmap')
        pixel_size(self.heatmap, 'codec.heatmap')
        if isinstance(self.deploy, CrossRepresentationLabel):
            raise ValueError('codec.deploy is a CrossRepresentationLabel: give a stock codec')
        sizes = [tuple(_input_size(codec)) for codec in (self.deploy, self.heatmap)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f'codec.deploy.input_size={sizes[0]}, codec.heatmap.input_size={sizes[1]}: both '
                'see the same picture, give one size'
            )
        labels = self.deploy.label_mapping_table
        if not labels:
            raise ValueError(
                f'codec.deploy.type={deploy["type"]!r} makes no labels: give RegressionLabel, '
                'IntegralRegressionLabel or SimCCLabel'
            )
        if {*NAMES} & {*labels, *labels.values()}:
            raise ValueError(
                f'codec.deploy.type={deploy["type"]!r} has labels named {", ".join(NAMES)}: '
                'these names are taken'
            )
        self.use_dataset_keypoint_weights = checked_bool(
            use_dataset_keypoint_weights, 'codec.use_dataset_keypoint_weights'
        )
        self.label_mapping_table = {**labels, **{name: name for name in NAMES}}
        self.field_mapping_table = self.deploy.field_mapping_table
        self.instance_mapping_table = self.deploy.instance_mapping_table
        self.auxiliary_encode_keys = set(self.deploy.auxiliary_encode_keys)
        self.auxiliary_encode_keys.add('dataset_keypoint_weights')

    def encode(
        self, keypoints: np.ndarray, keypoints_visible: Optional[np.ndarray] = None, **auxiliary
    ) -> dict:
        """Both targets of one person.

        Args:
            keypoints: (1, K, 2) in input pixels.
            keypoints_visible: (1, K).
            auxiliary: What the deployed codec asks for in ``auxiliary_encode_keys``.
        """
        own = {key: auxiliary[key] for key in self.deploy.auxiliary_encode_keys}
        encoded = dict(self.deploy.encode(keypoints, keypoints_visible, **own))
        beside = self.heatmap.encode(keypoints, keypoints_visible)
        weights = beside['keypoint_weights']
        # some codecs pass on the type of keypoints_visible, of KeypointConverter float64
        own = encoded['keypoint_weights'] = encoded['keypoint_weights'].astype(np.float32)
        dataset = self._dataset_weights(auxiliary.get('dataset_keypoint_weights'), own)
        if self.use_dataset_keypoint_weights:
            weights, dataset = weights * dataset, np.ones_like(own)
        maps = beside['heatmaps'].astype(np.float32)
        # where the deployed codec gives a broken keypoint weight 0, this one may make NaN of it
        sound = np.isfinite(maps).all((1, 2)) & np.isfinite(weights).all(0)
        encoded[HEATMAPS] = np.where(sound[:, None, None], maps, np.float32(0))[None]
        encoded[WEIGHTS] = np.where(sound, weights, 0).astype(np.float32)
        encoded[OWN] = own.copy()
        encoded[DATASET] = dataset.astype(np.float32)
        return encoded

    def _dataset_weights(self, given: Optional[np.ndarray], own: np.ndarray) -> np.ndarray:
        """The data set's weights as one for each of ``own`` (1, K)."""
        if given is None:
            return np.ones_like(own)
        if np.size(given) == own.size:
            return np.broadcast_to(given, own.shape)
        if self.use_dataset_keypoint_weights:
            give = (
                f'the data set has weights for {np.size(given)} keypoints, the pipeline makes '
                f'{own.size} of them (KeypointConverter): leave it out'
            )
            raise refusal('codec.use_dataset_keypoint_weights', True, give)
        return np.ones_like(own)

    def decode(self, *encoded):
        """Of the deployed codec."""
        return self.deploy.decode(*encoded)

    def batch_decode(self, *encoded):
        """Of the deployed codec."""
        return self.deploy.batch_decode(*encoded)

    @property
    def support_batch_decoding(self) -> bool:
        """Whether the deployed codec decodes batches."""
        return self.deploy.support_batch_decoding

    @staticmethod
    def plain(cfg: dict) -> dict:
        """What stands in an exported config: the deployed codec."""
        return cfg['deploy']


def _input_size(codec: BaseKeypointCodec) -> tuple[int, int]:
    """Width and height of the input that the deployed head's codec is made for."""
    for holder in (codec, getattr(codec, 'keypoint_codec', None)):
        if hasattr(holder, 'input_size'):
            return holder.input_size
    raise ValueError(
        f'codec.deploy is a {type(codec).__name__}, which has no input_size: give '
        'RegressionLabel, IntegralRegressionLabel or SimCCLabel'
    )


def heatmap_samples(
    samples: list[PoseDataSample],
    key: str = 'OCDHead',
    size: Optional[tuple[int, int]] = None,
) -> tuple[list[PoseDataSample], Tensor]:
    """Samples as a stock heatmap head reads them: its heatmaps, and the weights of these.

    Args:
        samples: From a pipeline with :class:`CrossRepresentationLabel`.
        key: Who needs them, for messages.
        size: Width and height of the heatmaps that the head makes. None: they are not compared.

    Returns:
        Those samples, and of the ones given :func:`taught_weights`, the deployed head's (B, K).

    Raises:
        ValueError: The pipeline's codec makes no heatmaps, or some of another size.
    """
    found = []
    for sample in samples:
        labels = sample.gt_instance_labels
        if HEATMAPS not in labels:
            raise ValueError(
                f'train_dataloader.dataset.pipeline: {key} needs GenerateTarget with '
                "encoder=dict(type='CrossRepresentationLabel', deploy=..., heatmap=...)"
            )
        made = tuple(labels[HEATMAPS].shape[:1:-1])
        if size is not None and made != tuple(size):
            raise ValueError(
                f'train_dataloader.dataset.pipeline: GenerateTarget.encoder.heatmap makes maps of '
                f'{made}, head.heatmap.decoder is for {tuple(size)}: give both the same codec'
            )
        one = PoseDataSample(gt_fields=PixelData(heatmaps=labels[HEATMAPS][0]))
        one.gt_instance_labels = InstanceData(keypoint_weights=labels[WEIGHTS])
        found.append(one)
    if all(OWN in sample.gt_instance_labels for sample in samples):
        labels = [sample.gt_instance_labels for sample in samples]
        return found, _follow_dataset_weights(found, labels)
    return found, taught_weights(samples)


def _follow_dataset_weights(found: list[PoseDataSample], labels: list[InstanceData]) -> Tensor:
    """Multiply the data set's weights where the pipeline has multiplied them to the other target.

    One pipeline makes a batch: a single weight that is no longer the codec's own tells it. All
    is done in place in one tensor, as on a GPU each operator is a launch.

    Returns:
        The deployed head's weights (B, K), broken ones as 0.
    """
    names = 'keypoint_weights', OWN, DATASET, WEIGHTS
    rows = torch.cat([one[name] for name in names for one in labels])  # (4 B, K)
    packed, own, dataset, weights = rows.chunk(4)
    rows[: -len(weights)].nan_to_num_(0.0, 0.0, 0.0)
    weights.mul_(dataset.masked_fill_((packed == own).all(), 1.0))
    for sample, mine in zip(found, weights.split([len(one[OWN]) for one in labels])):
        sample.gt_instance_labels.keypoint_weights = mine
    return packed
