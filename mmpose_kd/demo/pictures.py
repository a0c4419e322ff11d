"""Pictures of a run with OKDHP: its curves, and what every branch sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel

#: one colour per branch, told apart also by colour-blind readers
COLOURS = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00')


def draw_curves(records: Sequence[dict], file: Path, metric: str = 'coco/AP') -> None:
    """Losses over the iterations, and the metric of every output over the epochs.

    Args:
        records: What was logged: :func:`mmpose_kd.records.newest_records`.
        file: Picture to write.
        metric: Name of the metric of the deployed branch; others are found by their prefix.
    """
    train = [r for r in records if 'loss' in r]
    val = [r for r in records if metric in r]
    figure = Figure(figsize=(11, 4), layout='constrained')
    losses, metrics = figure.subplots(1, 2)
    for key in sorted({key for r in train for key in r if 'loss' in key}):
        points = [(r['step'], r[key]) for r in train if key in r]
        losses.plot(*zip(*points), label=key, linewidth=2.5 if key == 'loss' else 1)
    losses.set(xlabel='iteration', title='training loss', yscale='log')
    losses.legend(fontsize=8)
    names = sorted({k for r in val for k in r if k.endswith(f'/{metric}')})
    for key in names:
        output = key[: -len(metric) - 1]
        points = [(r['step'], r[key]) for r in val if key in r]
        style = (
            {'color': 'black', 'linestyle': '--'}
            if output == 'ensemble'
            else {'color': COLOURS[int(output[6:]) % len(COLOURS)]}
        )
        metrics.plot(*zip(*points), marker='o', label=output, **style)
    metrics.set(xlabel='epoch', title=f'validation {metric}')
    metrics.set_ylim(bottom=0)
    metrics.xaxis.set_major_locator(MaxNLocator(integer=True))
    metrics.legend(fontsize=8)
    figure.savefig(file, dpi=110)


@torch.no_grad()
def draw_panel(
    model: BaseModel, student: BaseModel, dataset: BaseDataset, indices: Sequence[int], file: Path
) -> None:
    """One row per person: ground truth, each branch, the ensemble, attention, the student.

    Args:
        model: The model in training, with an ``OKDHPHead``.
        student: The exported plain model.
        dataset: Validation data, packed with ground truth (``PackPoseInputs``).
        indices: Which persons.
        file: Picture to write.
    """
    packed = pseudo_collate([dataset[i] for i in indices])
    batch = model.eval().data_preprocessor(packed, False)
    feats = model.extract_feat(batch['inputs'])
    heatmaps = model.head.forward_branches(feats)
    ensemble, attention = model.head.forward_ensemble(feats, heatmaps)
    predicted = student.eval().test_step(packed)

    branches = len(heatmaps)
    titles = ['ground truth', *(f'branch {t}' for t in range(branches)), 'ensemble']
    titles += ['attention of the FAU', 'student']
    widths = [1] * (branches + 2) + [1.3, 1]
    figure = Figure(figsize=(1.9 * sum(widths), 2.6 * len(indices)), layout='constrained')
    axes = figure.subplots(len(indices), len(titles), squeeze=False, width_ratios=widths)
    meta = dataset.metainfo
    for row, sample in enumerate(predicted):
        image = packed['inputs'][row].permute(1, 2, 0).numpy()[..., ::-1]  # BGR to RGB
        height, width = image.shape[:2]
        gt = sample.gt_instances
        _draw_pose(
            axes[row, 0],
            image,
            _to_input(gt.keypoints[0], sample),
            meta,
            gt.keypoints_visible[0] > 0,
        )
        for column, maps in enumerate([*heatmaps, ensemble], start=1):
            axes[row, column].imshow(image // 3 + 130)
            axes[row, column].imshow(
                maps[row].amax(0).clamp(0, 1), cmap='inferno', alpha=0.75, vmin=0, vmax=1,
                extent=(0, width, height, 0), interpolation='bilinear',
            )  # fmt: skip
        _draw_attention(
            axes[row, -2], attention[row].numpy(), meta, labels=row == len(indices) - 1
        )
        found = sample.pred_instances
        _draw_pose(
            axes[row, -1], image, _to_input(found.keypoints[0], sample), meta,
            found.keypoint_scores[0] > 0.2,
        )  # fmt: skip
        for column, axis in enumerate(axes[row]):
            if row == 0:
                axis.set_title(titles[column], fontsize=10)
            if column != len(titles) - 2:
                axis.set_axis_off()
    figure.savefig(file, dpi=100)


def _to_input(keypoints: np.ndarray, sample) -> np.ndarray:
    """Image pixels (K, 2) to pixels of the network's input."""
    info = sample.metainfo
    scale = np.asarray(info['input_scale'])
    offset = np.asarray(info['input_center']) - 0.5 * scale
    return (keypoints - offset) / scale * np.asarray(info['input_size'])


def _draw_pose(axis, image, keypoints, meta, shown) -> None:
    axis.imshow(image)
    for (a, b), colour in zip(meta['skeleton_links'], meta['skeleton_link_colors']):
        if shown[a] and shown[b]:
            axis.plot(*keypoints[[a, b]].T, color=np.array(colour) / 255, linewidth=2)
    axis.scatter(
        *keypoints[shown].T, s=8, color='white', edgecolors='black', linewidths=0.5, zorder=3
    )
    axis.set_xlim(0, image.shape[1])
    axis.set_ylim(image.shape[0], 0)


def _draw_attention(axis, attention, meta, labels: bool) -> None:
    """Stacked bars: the share (T, K) of each branch, keypoint by keypoint."""
    places = np.arange(attention.shape[1])
    bottom = np.zeros(attention.shape[1])
    for t, share in enumerate(attention):
        axis.bar(places, share, bottom=bottom, width=0.9, color=COLOURS[t % len(COLOURS)])
        axis.text(0, bottom[0] + share[0] / 2, str(t), ha='center', va='center', color='white')
        bottom += share
    axis.set_yticks([0, 1])
    axis.set_xticks(places if labels else [])
    if labels:
        names = [meta['keypoint_id2name'][k].replace('_', ' ') for k in places]
        axis.set_xticklabels(names, rotation=90, fontsize=6)
