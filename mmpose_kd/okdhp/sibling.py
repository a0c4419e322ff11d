"""A light branch on finer features of the backbone, beside one that is the whole network."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor, nn

from ..core.recipe import input_size_of, type_name
from .splits import image_channels
from .trunk import SharedTrunk

WIDTH = 64
DECONV = (256, 256, 256), (4, 4, 4)  # HeatmapHead's own, if nothing is said of them


def light_sibling(model: dict) -> Optional[dict]:
    """An entry of ``OKDHPHead.branches``: its head reads a finer map than the deployed one.

    That is the output of the backbone's last step whose maps are twice as high and wide as its
    last ones; its head has one deconvolution less than the deployed one, of 64 channels at most.

    This is ours, not the paper's, whose branches are alike or deeper than the deployed one.

    Args:
        model: Config of a stock model with a ``HeatmapHead``.

    Returns:
        None where there is no such step, the head is of another type or enlarges nothing, or
        its maps have another size than it would make of the last step (it reads another map).

    Raises:
        Exception: What the backbone raises; a config may be wrong in any way.
    """
    head, size = model['head'], input_size_of(model['head'].get('decoder'))
    channels, kernels = _deconvolutions(head)
    if type_name(head) != 'HeatmapHead' or size is None or not channels:
        return None
    maps = _finest_maps(model['backbone'], size)
    (height, width) = maps[next(reversed(maps))].shape[2:]
    finer = [name for name, one in maps.items() if one.shape[2:] == (2 * height, 2 * width)]
    wanted = head['decoder'].get('heatmap_size')
    scale = 2 ** len(channels)
    if not finer or (wanted is not None and tuple(wanted) != (width * scale, height * scale)):
        return None
    stop = finer[-1]
    decoder = dict(
        in_channels=maps[stop].shape[1],
        deconv_out_channels=tuple(min(c, WIDTH) for c in channels[1:]) or None,
        deconv_kernel_sizes=kernels[1:] or None,
    )
    return dict(stop=stop, head=decoder, **(dict(neck=None) if model.get('neck') else {}))


def _finest_maps(backbone: dict, size: tuple[int, int]) -> dict[str, Tensor]:
    """The output of each step for one picture, of several resolutions the finest."""
    with torch.device('meta'), torch.no_grad():
        trunk: nn.Module = SharedTrunk(backbone, 'end').eval()
        steps = trunk(torch.empty(1, image_channels(trunk), size[1], size[0])).steps
    return {n: state[0] if isinstance(state, tuple) else state for n, state in steps.items()}


def _deconvolutions(head: dict) -> tuple[tuple, tuple]:
    channels, kernels = (
        head.get(f'deconv_{name}', default)
        for name, default in zip(('out_channels', 'kernel_sizes'), DECONV)
    )
    return tuple(channels or ()), tuple(kernels or ())
