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
        tail, self._steps = build_piece(copy.deepcopy(backbone), split, shared=False)
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
        _, outputs = run_steps(self.backbone, self._steps, feats.state, feats.outputs)
        if hasattr(self, 'neck'):
            outputs = self.neck(outputs)
        return self.head(outputs)


def merge_branches(common: dict, changes: Sequence[dict]) -> list[dict]:
    """Each branch's ``backbone``, ``neck`` and ``head``: the common ones with its changes.

    Args:
        common: Configs that all branches start from.
        changes: Per branch, what differs; merged as MMEngine merges a child config.
    """
    merged = []
    for change in changes:
        config = Config(copy.deepcopy(common))
        config.merge_from_dict(dict(change))
        merged.append({key: config.get(key) for key in common})
    return merged


def check_shapes(configs: Sequence[dict], split: str, keys: Sequence[str]) -> dict[str, int]:
    """Compare the heatmaps that branches would make, with each other and with their codecs.

    Args:
        configs: ``backbone``, ``neck`` and ``head`` config of each branch.
        split: Where the trunk ends.
        keys: Name of the config key of each branch's head, for messages.

    Returns:
        Channels of each shared step (of the finest map where there are several).

    Raises:
        ValueError: The heatmaps differ in keypoint count or size, or from the codec's.
    """
    shapes: list[tuple[int, ...]] = []
    for t, (config, key) in enumerate(zip(configs, keys)):
        if config in configs[:t]:
            shapes.append(shapes[configs.index(config)])
            continue
        decoder = config['head'].get('decoder') or {}
        size = tuple(decoder.get('input_size', (256, 256)))
        channels, shape = infer_shapes(config, split, size, key)
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
def infer_shapes(
    config: dict, split: str, input_size: tuple[int, int], key: str = 'head'
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Shapes in a trunk and a branch, found without computing anything (meta tensors).

    Args:
        config: ``backbone``, ``head`` and ``neck`` configs of the branch.
        split: Where the trunk ends.
        input_size: Width and height of the image, in pixels.
        key: Name of the config key of ``head``, for messages only.

    Returns:
        Channels of each shared step (of the finest map where there are several), and
        (K, H, W) of the heatmaps.
    """
    with torch.device('meta'):
        trunk = SharedTrunk(config['backbone'], split).eval()
        branch = Branch(split=split, **config, key=key)
        branch.eval()
        feats = trunk(torch.empty(1, 3, input_size[1], input_size[0]))
        heatmaps = branch(feats)
    channels = {
        name: (state[0] if isinstance(state, tuple) else state).shape[1]
        for name, state in feats.steps.items()
    }
    return channels, tuple(heatmaps.shape[1:])
