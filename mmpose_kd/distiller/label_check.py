"""Whether a teacher knows the labels: seen in the first batches that it teaches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..core.head_output import ground_truth, near, positions, taught_weights

KEYPOINTS = 2000  # that are looked at, labelled or not


class UselessTeacherError(ValueError):
    """A teacher would teach errors; the message says what was measured."""


class LabelCheck:
    """Compares what a teacher finds with what needs no teacher: each keypoint's mean place.

    A keypoint is found when it is within 5 % of the picture's width and height of its label. A
    teacher with random weights, with keypoints in another order or trained for other pictures
    finds fewer than the mean places of the same batches do. It costs no forward pass, and waits
    for the device once.

    Args:
        key: Name of the teacher's config key, for messages.
    """

    def __init__(self, key: str):
        self.key = key
        self.done = False
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(
        self, kind: str, output: Sequence[Tensor], data_samples: list, weight: Optional[Tensor]
    ) -> None:
        """Look at a batch; the last one that is needed decides.

        Args:
            kind: Of the teacher's output, see :func:`~mmpose_kd.core.head_output.head_kind`.
            output: For the student's keypoints, in the form of
                :func:`~mmpose_kd.core.head_output.read_output`.
            data_samples: The batch's B samples with labels of any kind.
            weight: Keypoint weights (B, K), 0 for one that is not taught. None: the labels'.

        Raises:
            UselessTeacherError: The teacher finds fewer than the mean places do, or none.
        """
        labels = label_positions(data_samples)
        found = positions(kind, output)
        if self.done or labels is None or labels.shape != found.shape:
            return
        weight = taught_weights(data_samples) if weight is None else weight
        self._batches.append((found.detach(), labels, weight > 0))
        if sum(batch[2].numel() for batch in self._batches) >= KEYPOINTS:
            self.done = True
            self._decide()

    def _decide(self) -> None:
        found, labels, labelled = (torch.cat(parts).cpu() for parts in zip(*self._batches))
        self._batches.clear()
        shown = labelled[..., None]  # (B, K, 1)
        labels = torch.where(shown, labels.float(), torch.zeros(()))
        others = shown.sum(0) - 1  # a label says nothing of how well it is guessed itself
        mean = (labels.sum(0) - labels) / others.clamp(min=1)  # (B, K, 2)
        labelled = labelled & (others[..., 0] > 0)
        count = int(labelled.sum())
        if not count:
            return
        own = float((near(found, labels) & labelled).sum()) / count
        guessed = float((near(mean, labels) & labelled).sum()) / count
        said = (
            f'{self.key} finds {100 * own:.1f} % of the first {count} labelled keypoints (within '
            f"5 % of the picture), each keypoint's mean place {100 * guessed:.1f} %"
        )
        if own < guessed or not own:
            raise UselessTeacherError(
                f'{said}: it would teach errors. Give a checkpoint that was trained for these '
                f'keypoints and pictures; for another order of keypoints {self.key}.keypoints; '
                f'or, to train with it all the same, {self.key}.check_labels=False'
            )
        print_log(said, 'current', logging.INFO)


def label_positions(data_samples: list) -> Optional[Tensor]:
    """Where the labels of a batch are, (B, K, 2) in shares of width and height.

    None without labels of a known kind.
    """
    sample = data_samples[0]
    labels = sample.get('gt_instance_labels', {})
    fields = sample.get('gt_fields', {})
    for kind, holder, name, ndim in (
        ('coordinates', labels, 'keypoint_labels', 3),
        ('bins', labels, 'keypoint_x_labels', 3),
        ('heatmap', fields, 'heatmaps', 4),
    ):
        if isinstance(holder.get(name), Tensor):  # of several levels it is a list
            truth = ground_truth(kind, data_samples)
            if all(x.ndim == ndim for x in truth):
                return positions(kind, truth)
    return None
