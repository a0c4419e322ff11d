"""One branch of an online-distillation head: a whole pose estimator from the split on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import Tensor

from ..backbones.shared_trunk import SharedTrunk, TrunkFeatures
from ..backbones.splits import build_piece, run_steps


class Branch(BaseModule):
    """The rest of a stock backbone, an optional stock neck, and a stock heatmap head.

    Args:
        backbone (dict): Config of the stock backbone, the same as the trunk's.
        split (str): Where the trunk ends.
        head (dict): Config of a stock ``HeatmapHead`` or a subclass of it.
        neck (dict, optional): Config of a stock neck.
        key (str): Name of the config key of ``head``, for messages only.

    Raises:
        TypeError: The head is not a heatmap head with one output.
    """

    def __init__(
        self,
        backbone: dict,
        split: str,
        head: dict,
        neck: Optional[dict] = None,
        key: str = 'head',
    ):
        super().__init__()
        tail, self._kept = build_piece(copy.deepcopy(backbone), split, shared=False)
        self.backbone = tail
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)
        if not isinstance(self.head, HeatmapHead):
            raise TypeError(
                f'{key}.type={type(self.head).__name__}: a branch predicts heatmaps, give '
                'HeatmapHead or a subclass of it'
            )

    def forward(self, feats: TrunkFeatures) -> Tensor:
        """Heatmaps of this branch.

        Args:
            feats: Output of the trunk.

        Returns:
            Heatmaps (B, K, H, W).
        """
        _, outputs = run_steps(self.backbone, self._kept, feats.state, feats.outputs)
        if hasattr(self, 'neck'):
            outputs = self.neck(outputs)
        return self.head(outputs)


def merge_branches(common: dict, changes: Sequence[dict]) -> list[dict]:
    """Each branch's ``backbone``, ``neck`` and ``head``: the common ones with its changes.

    Args:
        common: Configs that all branches start from.
        changes: Per branch, what differs; merged as MMEngine merges a child config.

    Raises:
        ValueError: A change is not of one of these three.
    """
    merged = []
    for t, change in enumerate(changes):
        unknown = set(change) - set(common)
        if unknown:
            raise ValueError(
                f'head.branches.{t} has {sorted(unknown)}: a branch can change {list(common)}'
            )
        config = Config(copy.deepcopy(common))
        config.merge_from_dict(dict(change))
        merged.append({key: config.get(key) for key in common})
    return merged


def check_branches(
    backbone: dict, configs: Sequence[dict], split: str, keys: Sequence[str]
) -> dict[str, int]:
    """Build trunk and branches without weights, and compare what has to fit together.

    Args:
        backbone: Config of the stock backbone that the trunk is made of.
        configs: ``backbone``, ``neck`` and ``head`` config of each branch.
        split: Where the trunk ends.
        keys: Name of the config key of each branch's head, for messages.

    Returns:
        Channels of each shared step (of the finest map where there are several).

    Raises:
        ValueError: A branch changes the shared part, or the branches' codecs or heatmaps differ
            from each other, or the heatmaps from the codec's.
        TypeError: A head is not a heatmap head with one map per keypoint.
    """
    decoder = configs[0]['head'].get('decoder') or {}
    size = tuple(decoder.get('input_size', (256, 256)))
    shapes: list[tuple[int, ...]] = []
    channels = {}
    for t, (config, key) in enumerate(zip(configs, keys)):
        if config in configs[:t]:
            shapes.append(shapes[configs.index(config)])
            continue
        if (config['head'].get('decoder') or {}) != decoder:
            raise ValueError(
                f'{key}.decoder differs from that of branch 0: all branches learn one target and '
                'are read by one codec'
            )
        if decoder.get('heatmap_type') == 'combined':
            raise TypeError(
                f"{key}.decoder.heatmap_type='combined': maps of offsets cannot be weighed into "
                "an ensemble, give 'gaussian'"
            )
        channels, shape = _infer_shapes(backbone, config, split, size, t, key)
        made = shape[:0:-1]  # width, height
        wanted = tuple(decoder.get('heatmap_size', made))
        if made != wanted:
            raise ValueError(
                f'branch {t} makes heatmaps of {made} (width, height) from an input of {size}, '
                f'{key}.decoder.heatmap_size is {wanted}: change the head or the codec'
            )
        shapes.append(shape)
    if len(set(shapes)) > 1:
        raise ValueError(
            f'head.branches: heatmaps of (K, H, W) = {shapes}; the ensemble needs one keypoint '
            'count and one heatmap size'
        )
    return channels


@torch.no_grad()
def _infer_shapes(
    backbone: dict, config: dict, split: str, input_size: tuple[int, int], t: int, key: str
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Channels of each shared step and (K, H, W) of branch t, on meta tensors: no arithmetic."""
    with torch.device('meta'):
        trunk = SharedTrunk(backbone, split).eval()
        if str(SharedTrunk(config['backbone'], split)) != str(trunk):
            raise ValueError(
                f'head.branches.{t}.backbone changes the shared part of the backbone (up to '
                f'split={split!r}): a branch can only change what comes after it'
            )
        branch = Branch(split=split, **config, key=key)
        branch.eval()
        feats = trunk(torch.empty(1, 3, input_size[1], input_size[0]))
        heatmaps = branch(feats)
    if not isinstance(heatmaps, Tensor) or heatmaps.ndim != 4:
        raise TypeError(
            f'{key}.type={type(branch.head).__name__}: a branch has one output, its heatmaps; '
            'give HeatmapHead or a subclass that returns just these'
        )
    channels = {
        name: (state[0] if isinstance(state, tuple) else state).shape[1]
        for name, state in feats.steps.items()
    }
    return channels, tuple(heatmaps.shape[1:])
